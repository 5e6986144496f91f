"""Draw a contact sheet of a data set: samples that show all classes, with their labels and a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from src.data.dataset import Sample, SegmentationDataset
from src.drawing.pictures import Picture, colourise, comparison_sheet, overlay
from src.system.errors import printable

ROWS = 8  # maximum number of samples on a sheet
SIDE = 320  # longest side of a picture in pixels


def contact_sheet(datasets: Mapping[str, SegmentationDataset], examples: Sequence[tuple[str, int]]) -> Image.Image:
    """Return a sheet with a row for each sample: the image, the overlay, and the labels alone.

    Args:
        datasets: the data set of each split.
        examples: (split, index) of samples to show first; other samples fill the sheet.
    """
    others = [(split, index) for split, dataset in datasets.items() for index in range(min(ROWS, len(dataset)))]
    chosen = list(dict.fromkeys([*examples, *others]))[:ROWS]
    dataset = next(iter(datasets.values()))
    palette = np.asarray(dataset.palette)
    rows = []
    for split, index in chosen:
        sample = shrink(datasets[split][index])
        pictures: dict[str, Picture] = {
            "image": sample.image,
            "labels over it": overlay(sample.image, sample.label, palette),
            "labels (void is white)": colourise(sample.label, palette),
        }
        rows.append((printable(f"{split}: {sample.id}"), pictures))
    return comparison_sheet(rows, dataset.classes, palette)


def shrink(sample: Sample) -> Sample:
    """Return a sample whose longest side is at most ``SIDE``."""
    image, label = Image.fromarray(sample.image), Image.fromarray(sample.label)
    scale = min(1.0, SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    return Sample(pixels, np.asarray(label.resize(size, Image.Resampling.NEAREST)), sample.id)
