"""Where a score sits in the image: the one place that relates pixels, labels and the stride-8 score map.

Score (i, j) is centred on pixel (8 i, 8 j). A side of n pixels is padded at its end to 8 k + 1, so that the first and
the last score fall on the first and the last pixel (321 -> 41, 513 -> 65), as in the authors' released Caffe files.
Labels shrink by taking every eighth pixel and scores grow by bilinear interpolation that aligns the corners: the two
are inverse to each other, to the pixel.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor
from torch.nn import functional as F

from src.labels import VOID

STRIDE = 8


def padded_side(pixels: int, stride: int = STRIDE) -> int:
    """The smallest ``stride * k + 1`` that holds ``pixels``: 321 -> 321, 500 -> 505."""
    return (pixels + stride - 2) // stride * stride + 1  # nothing negative: ONNX divides towards zero


def score_side(pixels: int, stride: int = STRIDE) -> int:
    """How many scores a side of ``pixels`` gives: 321 -> 41, 500 -> 64."""
    return (padded_side(pixels, stride) - 1) // stride + 1


def grid_stride(coarse: Sequence[int], fine: Sequence[int]) -> int:
    """Steps of the finer grid (height, width) between two of the coarser, whose corners coincide: 41 in 321 -> 8.

    Raises:
        ValueError: if no whole number, the same for both sides, does it.
    """
    sides = [(points - 1, of - 1) for points, of in zip(coarse, fine, strict=True)]
    stride = max([1, *(of // intervals for intervals, of in sides if intervals)])
    if any(intervals * stride != of for intervals, of in sides):
        raise ValueError(f"a grid of {coarse[0]}x{coarse[1]} has no stride on one of {fine[0]}x{fine[1]}")
    return stride


def score_stride(scores: Sequence[int], image: Sequence[int]) -> int:
    """Pixels between two scores, from both sizes (height, width): 8, or 1 for scores at full resolution.

    Raises:
        ValueError: if scores of this size do not come from an image of that size.
    """
    try:
        return grid_stride(scores, [padded_side(pixels) for pixels in image])
    except ValueError:
        raise ValueError(f"scores of {scores[0]}x{scores[1]} do not fit an image of {image[0]}x{image[1]}") from None


def pad_to_grid(
    image: Shaped[Tensor, "*batch height width"], value: float | int = 0, stride: int = STRIDE
) -> Shaped[Tensor, "*batch padded_height padded_width"]:
    """Pad the bottom and the right with ``value`` until both sides are ``stride * k + 1``."""
    height, width = image.shape[-2:]
    bottom, right = padded_side(height, stride) - height, padded_side(width, stride) - width
    # An exported graph serves every size: it pads by nothing where the graph of one size would not pad.
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or bottom or right:
        return F.pad(image, (0, right, 0, bottom), value=value)
    return image


def shrink_label(
    label: Integer[Tensor, "batch height width"], stride: int = STRIDE
) -> Integer[Tensor, "batch rows columns"]:
    """The label of every score: every ``stride``-th pixel; positions in the padding are ``VOID``."""
    return pad_to_grid(label, VOID, stride)[..., ::stride, ::stride]


def resize_aligned(
    maps: Float[Tensor, "batch channels _ _"], size: Sequence[int]
) -> Float[Tensor, "batch channels _ _"]:
    """Return maps at ``size`` (height, width): bilinear with aligned corners; themselves where they have this size."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=True)


def upsample_scores(
    scores: Float[Tensor, "batch classes rows columns"], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "batch classes height width"]:
    """Return the scores of every pixel of an image of ``size`` (height, width), without those of the padding.

    Scores that are at full resolution already (MSc at test, the tutorial's network) are cropped only.
    """
    height, width = size
    return resize_aligned(scores, (padded_side(height), padded_side(width)))[..., :height, :width]
