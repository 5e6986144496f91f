"""Inference on whole images: in one pass, at several scales, mirrored, or in sliding windows."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from src.models.geometry import padded_side, resize_aligned, upsample_scores

Network = Callable[[Tensor], Tensor]


class Inference:
    """Computes the scores of whole images from one or several views.

    A view is the image at one scale, mirrored or not. The result is the mean over the views of every pixel's class
    probabilities. In sliding windows, a pixel in several windows takes the mean of their probabilities.

    Args:
        scales: factors on the image's sides, one for each view.
        flip: add the mirror image of every view.
        window: side in pixels of a sliding window, for images that do not fit into memory; a side of 8k + 1 needs no
            padding. None for the whole image at once.
        step: pixels from one window to the next; None for two thirds of the window.

    Raises:
        ValueError: if a scale, the window or the step is no positive number, or the windows would leave gaps.
    """

    def __init__(
        self,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: int | None = None,
        step: int | None = None,
    ) -> None:
        for name, pixels in (("window", window), ("step", step)):
            if pixels is not None and (isinstance(pixels, bool) or not isinstance(pixels, int)):
                raise ValueError(f"{name}={pixels}: must be a whole number of pixels, or null")
        is_list = isinstance(scales, Sequence) and not isinstance(scales, str)
        if not is_list or not all(map(is_number, scales)):
            raise ValueError(f"scales={list(scales) if is_list else scales}: must be numbers, such as [0.75,1,1.25]")
        if not scales or not all(0 < scale < float("inf") for scale in scales):
            raise ValueError(f"scales={list(scales)}: must be positive factors, such as [0.75,1,1.25]")
        if window is not None and window < 1:
            raise ValueError(f"window={window}: must be positive, or null for whole images")
        self.scales, self.flip, self.window = tuple(scales), flip, window
        self.step = step if step is not None else max(1, (window or 1) * 2 // 3)
        if window is not None and not 1 <= self.step <= window:
            raise ValueError(f"step={step}: must lie between 1 and window={window}")

    def __call__(
        self, network: Network, image: Shaped[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes rows columns"]:
        """Return the scores of images in RGB, 0..255, uint8 or float.

        From one pass, these are the network's score map; otherwise the logarithm of the mean probabilities at every
        pixel of the padded image. ``geometry.upsample_scores`` and the CRF take both.
        """
        height, width = size = image.shape[-2:]
        if self.scales == (1.0,) and not self.flip and self.fits_window(height, width):
            return network(image).float()
        image = image.float()
        total: Tensor | float = 0.0
        for scale in self.scales:
            scaled = resize_aligned(image, [round(scale * (side - 1)) + 1 for side in size])
            total = total + resize_aligned(self.predict_view(network, scaled), size)
            if self.flip:
                total = total + resize_aligned(self.predict_view(network, scaled.flip(-1)).flip(-1), size)
        mean = torch.as_tensor(total) / (len(self.scales) * (1 + self.flip))
        log = mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
        return F.pad(log, (0, padded_side(width) - width, 0, padded_side(height) - height), mode="replicate")

    def fits_window(self, height: int, width: int) -> bool:
        """Tell whether an image of this size is predicted in one pass."""
        return self.window is None or self.window >= max(height, width)

    def predict_view(
        self, network: Network, image: Shaped[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Return the class probabilities of every pixel of one view, in windows if it does not fit into one."""
        height, width = size = image.shape[-2:]
        if self.fits_window(height, width):
            return predict_probabilities(network, image)
        rows, columns = (self.windows(side) for side in size)
        total: Tensor | None = None
        count = torch.zeros(size, device=image.device)
        for row in rows:
            for column in columns:
                part = predict_probabilities(network, image[..., row, column])
                if total is None:
                    total = part.new_zeros(*part.shape[:2], *size)
                total[..., row, column] += part
                count[row, column] += 1
        assert total is not None
        return total / count

    def windows(self, side: int) -> list[slice]:
        """Return the windows along a side of so many pixels; the last one ends where the side ends."""
        assert self.window is not None
        last = max(0, side - self.window)
        starts = [*range(0, last, self.step), last]
        return [slice(start, min(side, start + self.window)) for start in starts]


def is_number(value: object) -> bool:
    """Tell whether a value is a number; a bool does not count."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def predict_probabilities(
    network: Network, image: Shaped[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch classes height width"]:
    """Return the class probabilities of every pixel, in float32, from one pass of the network."""
    return upsample_scores(network(image).float(), image.shape[-2:]).softmax(dim=1)
