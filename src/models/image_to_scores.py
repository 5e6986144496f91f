"""The network as other programs want it: an image in, scores of its size out, in one graph that serves all sizes."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.models.deeplab import DeepLab
from src.models.geometry import padded_side, resize_aligned


class ImageToScores(nn.Module):
    """Normalisation, padding, network, up-sampling and cropping; ``geometry.upsample_scores`` for exporters.

    Args:
        network: is used as it is.
    """

    def __init__(self, network: DeepLab) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Logits of every pixel; ``image`` is RGB in 0..255, uint8 or float."""
        height, width = image.shape[-2:]
        scores = resize_aligned(self.network(image).float(), (padded_side(height), padded_side(width)))
        # A slice would tie the graph to sizes that need padding, or to those that need none.
        rows, columns = (torch.arange(side, device=scores.device) for side in (height, width))
        return scores.index_select(2, rows).index_select(3, columns)
