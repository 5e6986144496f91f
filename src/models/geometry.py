"""The geometry of score maps: all relations between pixels, labels and scores at stride 8.

Score (i, j) is centred on pixel (8i, 8j). An image is padded at the bottom and the right to sides of 8k + 1 pixels, so
that the first and the last score lie on the first and the last pixel (321 -> 41, 513 -> 65), as in the authors'
released Caffe files. Labels are shrunk by taking every eighth pixel. Scores are up-sampled by bilinear interpolation
with aligned corners. Shrinking undoes up-sampling: an up-sampled score lies on the pixel whose label it was trained
with.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor
from torch.nn import functional as F

from src.labels import STRIDE, VOID


def padded_side(pixels: int, stride: int = STRIDE) -> int:
    """Return the smallest ``stride * k + 1`` that is at least ``pixels``: 321 -> 321, 500 -> 505."""
    return (pixels + stride - 2) // stride * stride + 1  # avoids negative numbers: ONNX's division truncates


def score_side(pixels: int, stride: int = STRIDE) -> int:
    """Return the number of scores along a side of ``pixels``: 321 -> 41, 500 -> 64."""
    return (padded_side(pixels, stride) - 1) // stride + 1


def grid_stride(coarse: Sequence[int], fine: Sequence[int]) -> int:
    """Return the stride of a coarse grid on a fine one, in points of the fine grid; their corners coincide.

    A grid of 41 points has stride 8 on one of 321 points, because 40 * 8 = 320.

    Args:
        coarse, fine: points of each grid (height, width).

    Raises:
        ValueError: if no integer is the stride along both sides.
    """
    sides = [(few - 1, many - 1) for few, many in zip(coarse, fine, strict=True)]
    stride = max([1, *(many // few for few, many in sides if few)])
    if any(few * stride != many for few, many in sides):
        raise ValueError(f"a grid of {coarse[0]}x{coarse[1]} points has no stride on one of {fine[0]}x{fine[1]}")
    return stride


def score_stride(scores: Sequence[int], image: Sequence[int]) -> int:
    """Return the number of pixels between two scores: 8, or 1 for scores at full resolution.

    Args:
        scores, image: sizes (height, width) of the score map, and of the image before padding.

    Raises:
        ValueError: if a score map of this size cannot belong to an image of that size.
    """
    try:
        return grid_stride(scores, [padded_side(pixels) for pixels in image])
    except ValueError:
        raise ValueError(f"scores of {scores[0]}x{scores[1]} do not fit an image of {image[0]}x{image[1]}") from None


def pad_to_grid(
    image: Shaped[Tensor, "*batch height width"], value: float | int = 0, stride: int = STRIDE
) -> Shaped[Tensor, "*batch padded_height padded_width"]:
    """Return the image padded with ``value`` at the bottom and the right, to sides of ``stride * k + 1``."""
    height, width = image.shape[-2:]
    bottom, right = padded_side(height, stride) - height, padded_side(width, stride) - width
    # An exported graph has to work for every size, so it always contains the padding, even by 0 pixels.
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or bottom or right:
        return F.pad(image, (0, right, 0, bottom), value=value)
    return image


def shrink_label(
    label: Integer[Tensor, "batch height width"], stride: int = STRIDE
) -> Integer[Tensor, "batch rows columns"]:
    """Return the label of every score, which is every ``stride``-th pixel; ``VOID`` in the padding."""
    return pad_to_grid(label, VOID, stride)[..., ::stride, ::stride]


def resize_aligned(
    maps: Float[Tensor, "batch channels _ _"], size: Sequence[int]
) -> Float[Tensor, "batch channels _ _"]:
    """Return maps resized to ``size`` (height, width), by bilinear interpolation with aligned corners.

    Maps that already have this size are returned unchanged.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=True)


def upsample_scores(
    scores: Float[Tensor, "batch classes rows columns"], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "batch classes height width"]:
    """Return the scores of every pixel of an image of ``size`` (height, width), without those of the padding.

    Scores at full resolution (``MSc`` at test time, ``FullResolutionHead``) are only cropped.
    """
    height, width = size
    return resize_aligned(scores, (padded_side(height), padded_side(width)))[..., :height, :width]


def predict_labels(
    scores: Float[Tensor, "batch classes rows columns"], size: tuple[int, int] | torch.Size
) -> Integer[Tensor, "batch height width"]:
    """Return the class with the largest score of every pixel of an image of ``size`` (height, width).

    On a CPU, ``Tensor.max`` takes a fifth of the time of ``Tensor.argmax``; both return the first of equal classes.
    """
    return upsample_scores(scores, size).max(dim=1).indices
