"""Masks with any values, of any kind and size: the correct labels, or a line that names the file."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from src.data import DatasetError, Folder

MODES = {"L": (np.uint8, 0), "P": (np.uint8, 0), "1": (bool, 0), "I;16": (np.uint16, 0),
         "RGB": (np.uint8, 3), "RGBA": (np.uint8, 4), "LA": (np.uint8, 2)}  # fmt: skip


@st.composite
def masks(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    """Draw masks with a few values from the whole range of their dtype."""
    mode = draw(st.sampled_from(sorted(MODES)))
    kind, channels = MODES[mode]
    top = {np.uint8: 255, bool: 1, np.uint16: 65535}[kind]
    some = draw(st.lists(st.one_of(st.integers(0, 3), st.just(255), st.integers(0, top)), min_size=1, max_size=4))
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    shape = (height, width, channels) if channels else (height, width)
    seed = draw(st.integers(0, 99))
    values = np.random.default_rng(seed).choice(np.clip(some, 0, top), shape)
    return mode, values.astype(kind)


bytes_or_more = st.one_of(st.integers(0, 5), st.just(255), st.integers(-2, 300))
colours = st.lists(st.integers(0, 255), min_size=3, max_size=3)
settings = st.fixed_dictionaries(
    {},
    optional={
        "void": st.one_of(st.none(), bytes_or_more, colours),
        "values": st.lists(bytes_or_more, min_size=1, max_size=4),
        "palette": st.lists(colours, min_size=1, max_size=4),
    },
)


def expected(
    mode: str, mask: np.ndarray, own: list[list[int]], classes: int, options: dict[str, Any]
) -> np.ndarray | None:
    """Return the labels, pixel by pixel, by the tables in docs/your_data.md; None if a value has no meaning.

    Args:
        own: the palette of the file, if its mode is P.
    """
    void, values = options.get("void", 255), options.get("values") or range(classes)
    colours = {tuple(colour): index for index, colour in enumerate(options.get("palette") or ())}
    if isinstance(void, list):
        colours.setdefault(tuple(void), 255)
    label = np.zeros(mask.shape[:2], int)
    for place in np.ndindex(*mask.shape[:2]):
        stored = mask[place].tolist()
        if mode in ("RGB", "RGBA"):
            found = colours.get(tuple(stored[:3]))
        else:
            value = int(stored[0] if mode == "LA" else stored)
            grey = {number: index for index, number in enumerate(values)}
            outside = {} if void is None else {255: 255} | ({void: 255} if isinstance(void, int) else {})
            found = (outside | grey).get(value)
            if options.get("palette") and not options.get("values"):
                shade = 255 * value if mode == "1" else value
                colour = own[value] if mode == "P" else [shade] * 3
                found = colours.get(tuple(colour), 255 if void == value and not isinstance(void, list) else None)
                found = None if mode == "I;16" else found
        if found is None:
            return None
        label[place] = found
    return label


@given(drawn=masks(), options=settings, classes=st.integers(1, 4), grown=st.sampled_from([0, 0, 0, 1]))
def test_labels_are_what_the_mask_means_or_it_is_named(
    folder: Path, drawn: tuple[str, np.ndarray], options: dict[str, Any], classes: int, grown: int
) -> None:
    mode, mask = drawn
    own = [*reversed(options.get("palette") or ()), *([7] * 3 for _ in range(256))][:256]
    for name in ("images", "masks"):
        (folder / name).mkdir(exist_ok=True)
    if mode == "P":
        picture = Image.fromarray(mask, "L")
        picture.putpalette(np.uint8(own).tobytes())
    else:
        picture = Image.fromarray(mask)
    for name in ("a", "b"):
        picture.save(folder / "masks" / f"{name}.png")
        Image.new("RGB", (mask.shape[1] + grown, mask.shape[0])).save(folder / "images" / f"{name}.png")
    sample, refusal = None, ""
    try:
        sample = Folder(str(folder), "train", [f"c{i}" for i in range(classes)], **options)[0]
    except DatasetError as error:
        refusal = str(error)
    if sample is None:
        assert str(folder / "masks") in refusal or any(f"{name}=" in refusal for name in options)
        assert "\n" not in refusal
        if "a.png" in refusal and not grown:
            assert expected(mode, mask, own, classes, options) is None, refusal
        return
    assert not grown
    assert sample.label.dtype == np.uint8
    assert np.array_equal(sample.label, expected(mode, mask, own, classes, options))
