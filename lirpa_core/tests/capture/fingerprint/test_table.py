"""Dictionaries and what they held."""

from lirpa_core.capture.fingerprint.table import Table, changed


def test_changes_by_name():
    held = {"a": 1, "b": (1, 2), "c": [1], "d": 4}
    table = Table.of(held, frozenset({"d"}))
    assert not table.changed()
    held["b"], held["d"] = (1, 2), 5
    assert not table.changed(), "an equal tuple, and a name that does not matter"
    held["c"], held["e"] = [1], 1
    del held["a"]
    assert sorted(table.changed()) == ["a", "c", "e"]
    assert changed([table]) == [table]
    table.renew()
    assert not changed([table])
    assert table.held() == held
