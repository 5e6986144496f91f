"""The network in the forms that are exported: one graph from an image of any size to its scores, or to its labels."""

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from src.models.deeplab import DeepLab
from src.models.geometry import padded_side, resize_aligned


class ImageToScores(nn.Module):
    """A network with its up-sampling and cropping, as ``geometry.upsample_scores`` does them, for exporters.

    Args:
        network: the network to wrap; it is neither copied nor changed.
    """

    def __init__(self, network: DeepLab) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Return the logits of every pixel of images in RGB, 0..255, uint8 or float."""
        height, width = image.shape[-2:]
        scores = resize_aligned(self.network(image).float(), (padded_side(height), padded_side(width)))
        # A slice would restrict the graph to sizes that need padding, or to sizes that need none.
        rows, columns = (torch.arange(side, device=scores.device) for side in (height, width))
        return scores.index_select(2, rows).index_select(3, columns)


class ImageToLabels(ImageToScores):
    """A network with its up-sampling and the choice of the class, as ``geometry.predict_labels`` does it."""

    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> UInt8[Tensor, "batch height width"]:
        """Return the class of every pixel of images in RGB, 0..255, uint8 or float; the first of equal classes."""
        return super().forward(image).argmax(dim=1).to(torch.uint8)
