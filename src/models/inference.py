"""How a network looks at a whole image: once, or at several scales, mirrored, and in windows."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from src.models.geometry import padded_side, resize_aligned, upsample_scores

Network = Callable[[Tensor], Tensor]


class Inference:
    """Scores of whole images, from one look or from several.

    Every look (a scale, mirrored or not) gives class probabilities of every pixel, and the mean over the looks counts.
    Within a look, pixels that several windows see take the mean of these windows.

    Args:
        scales: factors on the image's sides.
        flip: look at the mirror image as well.
        window: longest side in pixels that the network sees at once, for images that do not fit into memory; 8 k + 1
            fits the score map. None: the whole image.
        step: pixels from one window to the next; None: two thirds of the window.

    Raises:
        ValueError: if a scale, the window or the step is not positive, or windows would leave gaps.
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
                raise ValueError(f"{name}={pixels}: must be a whole number of pixels, or None (null)")
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales={list(scales)}: must be positive factors, such as [0.75,1,1.25]")
        if window is not None and window < 1:
            raise ValueError(f"window={window}: must be positive, or None (null) for whole images")
        self.scales, self.flip, self.window = tuple(scales), flip, window
        self.step = step if step is not None else max(1, (window or 1) * 2 // 3)
        if window is not None and not 1 <= self.step <= window:
            raise ValueError(f"step={step}: must lie between 1 and window={window}")

    def __call__(
        self, network: Network, image: Shaped[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes rows columns"]:
        """Scores on the network's own map, or from several looks the log of mean probabilities at every pixel of the
        padded image: either way ``geometry.upsample_scores`` brings them to the image, and the CRF takes them.
        """
        height, width = size = image.shape[-2:]
        if self.scales == (1.0,) and not self.flip and self.covers(height, width):
            return network(image).float()
        image = image.float()
        total: Tensor | float = 0.0
        for scale in self.scales:
            scaled = resize_aligned(image, [round(scale * (side - 1)) + 1 for side in size])
            total = total + resize_aligned(self.look(network, scaled), size)
            if self.flip:
                total = total + resize_aligned(self.look(network, scaled.flip(-1)).flip(-1), size)
        mean = torch.as_tensor(total) / (len(self.scales) * (1 + self.flip))
        log = mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
        return F.pad(log, (0, padded_side(width) - width, 0, padded_side(height) - height), mode="replicate")

    def covers(self, height: int, width: int) -> bool:
        return self.window is None or self.window >= max(height, width)

    def look(
        self, network: Network, image: Shaped[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Probabilities of every pixel, from as many windows as it takes."""
        height, width = size = image.shape[-2:]
        if self.covers(height, width):
            return probabilities(network, image)
        rows, columns = (self.spans(side) for side in size)
        total: Tensor | None = None
        seen = torch.zeros(size, device=image.device)
        for row in rows:
            for column in columns:
                part = probabilities(network, image[..., row, column])
                if total is None:
                    total = part.new_zeros(*part.shape[:2], *size)
                total[..., row, column] += part
                seen[row, column] += 1
        assert total is not None
        return total / seen

    def spans(self, side: int) -> list[slice]:
        """Where the windows lie along a side; the last one ends with it."""
        assert self.window is not None
        last = max(0, side - self.window)
        starts = [*range(0, last, self.step), last]
        return [slice(start, min(side, start + self.window)) for start in starts]


def probabilities(
    network: Network, image: Shaped[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch classes height width"]:
    return upsample_scores(network(image).float(), image.shape[-2:]).softmax(dim=1)
