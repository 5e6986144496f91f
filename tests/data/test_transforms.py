"""Augmentation: image and label stay aligned, and padding is as in the paper."""

import numpy as np
import pytest

from src.data import train_transform
from src.data.transforms import MEAN_RGB


def coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image whose pixels hold their coordinates, and a label that holds the same."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y, x, y + x], 2).astype(np.uint8), ((y + x) % 200).astype(np.uint8)


def test_crop_and_mirror_move_image_and_label_alike():
    image, label = coordinates(60, 70)
    transform = train_transform(crop_size=33)
    for _ in range(10):
        out = transform(image=image, mask=label)
        assert out["image"].shape == (33, 33, 3)
        assert np.array_equal(out["image"][..., 2] % 200, out["mask"])


def test_small_images_are_padded_with_mean_and_void():
    out = train_transform(crop_size=41, mirror=False)(
        image=np.zeros((20, 30, 3), np.uint8), mask=np.zeros((20, 30), np.uint8)
    )
    void = out["mask"] == 255
    assert void.sum() == 41 * 41 - 20 * 30
    assert (out["image"][void] == MEAN_RGB).all()
    assert (out["image"][~void] == 0).all()


def test_labels_are_not_interpolated():
    label = np.zeros((50, 50), np.uint8)
    label[:, 25:] = 7
    transform = train_transform(crop_size=33, scale=(0.5, 2.0))
    for _ in range(10):
        assert set(np.unique(transform(image=np.zeros((50, 50, 3), np.uint8), mask=label)["mask"])) <= {0, 7, 255}


def test_scales_fill_the_range_and_stay_within_it():
    """The factor is measured by the side of a square in the scaled image."""
    label = np.zeros((100, 100), np.uint8)
    label[30:70, 30:70] = 1
    transform = train_transform(crop_size=300, scale=(0.5, 2.0), mirror=False)
    sides = [
        np.sqrt((transform(image=np.zeros((100, 100, 3), np.uint8), mask=label)["mask"] == 1).sum()) for _ in range(60)
    ]
    assert min(sides) >= 40 * 0.5 - 1
    assert max(sides) <= 40 * 2.0 + 1
    assert min(sides) < 30 < 60 < max(sides)


@pytest.mark.parametrize(
    ("options", "key"), [({"crop_size": 0}, "crop_size"), ({"crop_size": 9, "scale": (2.0, 1.0)}, "scale")]
)
def test_bad_values_name_the_key(options, key):
    with pytest.raises(ValueError, match=f"^{key}="):
        train_transform(**options)
