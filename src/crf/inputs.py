"""Checks of the images and scores that callers pass to the CRF."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional


def check_image(image: Tensor) -> Shaped[Tensor, "3 height width"]:
    """Return an RGB image as uint8, or as float32 in 0..255.

    Raises:
        ValueError: if the shape is not 3 x height x width, or values are not in 0..255.
    """
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image has shape {tuple(image.shape)}: expected 3 x height x width (RGB, values 0..255)")
    if image.shape[1] == 0 or image.shape[2] == 0:
        raise ValueError(f"image has shape {tuple(image.shape)}: it has no pixels")
    if image.dtype == torch.uint8:
        return image
    image = image.float()
    low, high = (value.item() for value in image.aminmax())
    if not (low >= 0 and high <= 255):  # also catches NaN
        raise ValueError(
            f"image has values from {low:g} to {high:g}: the CRF needs the raw image, 0..255, "
            "not one that was normalised or had its mean subtracted"
        )
    if 0 < high <= 1:
        warnings.warn("image values lie in 0..1: the CRF's srgb counts grey levels of 0..255", stacklevel=4)
    return image


def log_probabilities(
    probabilities: Float[Tensor, "classes height width"],
) -> Float[Tensor, "classes height width"]:
    """Return the logarithm of a distribution over classes; zeros become float32's smallest normal number.

    Raises:
        ValueError: if the probabilities are negative, not finite, or do not sum to 1 at every pixel.
    """
    if not probabilities.is_floating_point():
        raise ValueError(f"probabilities are {probabilities.dtype}: expected a floating type")
    exact = probabilities.dtype in (torch.float32, torch.float64)
    p = probabilities if exact else probabilities.float()
    if not is_finite(p):
        raise ValueError("probabilities are not finite (NaN or infinity): look at the network's output")
    total = p.sum(0)
    tolerance = 1e-3 if exact else 2e-2
    if bool((p < 0).any()) or bool(((total - 1).abs() > tolerance).any()):
        low, high = total.aminmax()
        raise ValueError(
            f"probabilities are not normalised (sums over classes from {low.item():g} to {high.item():g}, "
            f"smallest entry {p.min().item():g}): pass softmax output, or pass scores as logits=..."
        )
    return p.clamp_min(torch.finfo(torch.float32).tiny).log()


def check_logits(logits: Tensor, name: str = "logits") -> Float[Tensor, "classes height width"]:
    """Check scores and return them unchanged.

    Args:
        logits: scores to check.
        name: name of the argument for the error message.

    Raises:
        ValueError: if the shape is not classes x height x width, the dtype is not a float, or values are not finite.
    """
    if logits.ndim != 3 or 0 in logits.shape:
        raise ValueError(f"{name} has shape {tuple(logits.shape)}: expected classes x height x width")
    if not logits.is_floating_point():
        raise ValueError(f"{name} is {logits.dtype}: expected a floating type")
    if not is_finite(logits):
        raise ValueError(f"{name} has values that are not finite (NaN or infinity): look at the network's output")
    return logits


def is_on_gpu(scores: Tensor) -> bool:
    """Return whether scores are on a GPU, where a batch takes less time than its images one after the other."""
    return scores.device.type != "cpu"


def is_finite(values: Tensor) -> bool:
    """Return whether all values are finite.

    The minimum and the maximum suffice, because NaN propagates to them. A mask of all values would take longer.
    """
    low, high = values.aminmax()
    return bool(torch.isfinite(low) & torch.isfinite(high))


def check_same_size(image: Tensor, scores: Tensor) -> None:
    """Raise a ValueError if the image and the scores differ in height or width."""
    if image.shape[-2:] != scores.shape[-2:]:
        raise ValueError(
            f"image is {tuple(image.shape[-2:])} but scores are {tuple(scores.shape[-2:])} (height, width): "
            "up-sample the scores to the image, or use refine_labels(image, score_map, stride)"
        )


def check_covers(size: tuple[int, int], score_map: Tensor, stride: int) -> None:
    """Raise a ValueError if the image extends beyond the last cell of its score map.

    Args:
        size: height and width of the image.
        score_map: cell (i, j) is at pixel (i * stride, j * stride).
        stride: pixels between two cells.
    """
    if stride < 1:
        raise ValueError(f"stride={stride}: give the number of pixels between two cells of the score map, 1 or more")
    reach = tuple((cells - 1) * stride + 1 for cells in score_map.shape[-2:])
    if size[0] > reach[0] or size[1] > reach[1]:
        raise ValueError(
            f"a {score_map.shape[-2]}x{score_map.shape[-1]} score map of stride {stride} reaches {reach[0]}x{reach[1]} "
            f"pixels, but the image has {size[0]}x{size[1]}: pad the image before the network, or correct stride"
        )


def upsample_to(
    image: Shaped[Tensor, "3 height width"], score_map: Float[Tensor, "classes rows columns"], stride: int
) -> Float[Tensor, "classes height width"]:
    """Return the score map up-sampled to the size of an image."""
    return upsample(score_map, (image.shape[1], image.shape[2]), stride)


def upsample(
    score_map: Float[Tensor, "classes rows columns"], size: tuple[int, int], stride: int
) -> Float[Tensor, "classes height width"]:
    """Return the score map up-sampled by its stride (bilinear, aligned corners) and cropped to the top left ``size``.

    Before cropping, the result has stride * (rows - 1) + 1 rows and stride * (columns - 1) + 1 columns.
    """
    # src.models.geometry does the same, but the CRF is a separate library and does not import it.
    reach = [(cells - 1) * stride + 1 for cells in score_map.shape[-2:]]
    full = functional.interpolate(score_map[None], reach, mode="bilinear", align_corners=True)[0]
    return full[:, : size[0], : size[1]].contiguous()
