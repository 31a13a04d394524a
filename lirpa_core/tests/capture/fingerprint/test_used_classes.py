"""What code may read of the classes of plain objects."""

import types

from lirpa_core.capture.fingerprint.used_classes import UsedClasses


class Base:
    rate = 1.0
    other = 2.0

    def __call__(self, x):
        return x

    def __repr__(self):
        return ""


class Derived(Base):
    def forward(self, x):
        return x


def found(used):
    return {(kind.__name__, name) for kind, name in used.unlooked()}


def test_what_is_named_and_what_operators_call_is_given_once():
    used = UsedClasses()
    used.add(Derived())
    assert found(used) == {("Base", "__call__"), ("Derived", "forward")}
    used.reads(["rate"])
    assert found(used) == {("Base", "rate")}
    assert not found(used)


def test_classes_of_the_standard_library_are_not_the_users():
    used = UsedClasses()
    used.add(types.SimpleNamespace())
    used.add([])
    assert not used.classes
