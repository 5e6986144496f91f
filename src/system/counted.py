"""Numbers with their nouns, as messages and tables write them."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number and its noun: "1 image", "2,000 images", "0 classes"; the plural of the noun is with s if "".

    The noun may be followed by a verb: counted(1, "mask is", "masks are").
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
