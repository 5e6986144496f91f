"""Dotted keys of nested mappings, by hand."""

from src.system.dotted_keys import flattened, select, walk


def test_leaves_by_dotted_key() -> None:
    nested = {"a": {"b": 1, "c": {"d": None}}, "e": [1, {"f": 2}], "g": {}}
    assert list(flattened(nested)) == [("a.b", 1), ("a.c.d", None), ("e", [1, {"f": 2}]), ("g", {})]


def test_everything_by_dotted_key() -> None:
    assert list(walk({"a": {"b": 1}, "e": [1, {"f": 2}]})) == [
        ("a", {"b": 1}),
        ("a.b", 1),
        ("e", [1, {"f": 2}]),
        ("e.0", 1),
        ("e.1", {"f": 2}),
        ("e.1.f", 2),
    ]


def test_a_value_by_dotted_key() -> None:
    nested = {"a": {"b": 1, "c": None}, "e": [2, {"f": 3}]}
    assert [select(nested, key) for key in ("a", "a.b", "e.0", "e.1.f")] == [{"b": 1, "c": None}, 1, 2, 3]
    assert [select(nested, key) for key in ("b", "a.c", "a.b.x", "e.2", "e.f", "")] == [None] * 6
