"""The network in the form that is exported: one graph from an image of any size to the scores of its pixels."""

import torch
from jaxtyping import Float, Shaped
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
