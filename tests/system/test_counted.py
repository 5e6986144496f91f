"""Numbers with their nouns."""

from src.system.counted import counted


def test_one_is_singular_and_all_others_are_plural() -> None:
    assert [counted(number, "image") for number in (0, 1, 2, 1234)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,234 images",
    ]
    assert [counted(number, "class is", "classes are") for number in (1, 3)] == ["1 class is", "3 classes are"]
