"""DeepLab V1: a backbone at stride 8 and a head."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.models.backbones.backbone import Backbone
from src.models.geometry import upsample_scores
from src.models.heads.head import Head


class DeepLab(nn.Module):
    """Image in, scores out: at an eighth of the image's size, or at the size itself where the head says so.

    Args:
        backbone: gives a list of feature maps and names their ``channels``.
        head: called with the backbone's channels and ``num_classes``, gives the module that turns the maps into scores.
        num_classes: background included.
        frozen_norm: keep statistics, weights and biases of every BatchNorm as they are, for pretrained networks that
            see small batches, and for a second stage whose trunk is to stay as it is.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Callable[[Sequence[int], int], Head],
        num_classes: int,
        frozen_norm: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head(backbone.channels, num_classes)
        self.num_classes = num_classes
        self.frozen_norms = [
            m for m in self.modules() if frozen_norm and isinstance(m, nn.modules.batchnorm._BatchNorm)
        ]
        for norm in self.frozen_norms:
            norm.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "DeepLab":
        super().train(mode)
        for norm in self.frozen_norms:
            norm.eval()
        return self

    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes rows columns"]:
        """Logits on the score map; ``image`` is RGB in 0..255, uint8 or float, of any size.

        ``geometry.upsample_scores`` brings them to the image's size.
        """
        return self.head(self.backbone(image))

    @torch.inference_mode()
    def predict(self, image: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Class probabilities of every pixel, at the image's own size."""
        return upsample_scores(self(image).float(), image.shape[-2:]).softmax(dim=1)
