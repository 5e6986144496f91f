from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.crf.samples import data_folder, read_image


@pytest.fixture(scope="session")
def voc_image() -> Tensor:
    paths = sorted((data_folder() / "voc2012_mini" / "JPEGImages").glob("*.jpg"))
    if not paths:
        pytest.skip(f"no VOC images under {data_folder()}: set DEEPLAB_DATA")
    return read_image(paths[0])


@pytest.fixture(scope="session")
def camvid_image() -> Tensor:
    paths = sorted((data_folder() / "camvid" / "val").glob("*"))
    if not paths:
        pytest.skip(f"no camvid images under {data_folder()}: set DEEPLAB_DATA")
    return read_image(paths[0])


@pytest.fixture(scope="session")
def small_image() -> Tensor:
    """Return an image of 40 x 52 pixels with two textured regions and a gradient; it needs no data."""
    random = torch.Generator().manual_seed(3)
    image = torch.randint(0, 30, (3, 40, 52), generator=random)
    image[:, :, 26:] += 120
    image[1] += torch.linspace(0, 90, 40).long()[:, None]
    return image.to(torch.uint8)
