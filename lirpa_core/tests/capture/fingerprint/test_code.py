"""What code reads."""

from lirpa_core.capture.fingerprint.code import globals_in, makes_names, modules_in, names_in

RATE = 1.0


def reads(model):
    import math

    def inner():
        return RATE * model.scale

    return inner() + math.pi


def test_globals_attributes_and_imports():
    assert globals_in(reads.__code__) == ("RATE",)
    assert modules_in(reads.__code__) == ("math",)
    assert {"RATE", "scale", "pi"} <= set(names_in(reads.__code__))


def test_names_that_code_makes():
    assert makes_names({"x", "getattr"})
    assert not makes_names({"x", "get"})
