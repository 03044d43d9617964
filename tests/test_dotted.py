"""Tables in tables, by dotted key."""

from kilnet.dotted import by_dotted_key


def test_what_lies_in_tables_has_a_key_with_dots():
    tree = {"a": 1, "b": {"c": [2], "d": {"e": None}}, "f": {}}
    assert list(by_dotted_key(tree)) == [("a", 1), ("b.c", [2]), ("b.d.e", None)]
