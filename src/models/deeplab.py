"""DeepLab V1: a backbone at output stride 8 and a head."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from src.crf import DenseCRF
from src.models.backbones.backbone import Backbone
from src.models.crf_layer import CRFLayer
from src.models.geometry import upsample_scores
from src.models.heads.head import Head


class DeepLab(nn.Module):
    """A network that turns an image into scores: a backbone, and a head on its feature maps.

    Args:
        backbone: turns an image into a list of feature maps; ``channels`` gives their numbers of channels.
        head: builds the head, from the backbone's ``channels`` and ``num_classes``.
        num_classes: number of classes, background included.
        frozen_norm: freeze the statistics, weights and biases of every BatchNorm layer: for a pretrained network with
            small batches, or for a second stage of training, which keeps its trunk unchanged.
        crf: builds the CRF to train the network through, from ``num_classes``; None for none.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Callable[[Sequence[int], int], Head],
        num_classes: int,
        frozen_norm: bool = False,
        crf: Callable[[int], CRFLayer] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head(backbone.channels, num_classes)
        self.num_classes = num_classes
        self.crf = crf(num_classes) if crf else None
        self.frozen_norms = [
            m for m in self.modules() if frozen_norm and isinstance(m, nn.modules.batchnorm._BatchNorm)
        ]
        for norm in self.frozen_norms:
            norm.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "DeepLab":
        """Set training mode; frozen BatchNorm layers stay in evaluation mode."""
        super().train(mode)
        for norm in self.frozen_norms:
            norm.eval()
        return self

    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes rows columns"]:
        """Return the score map (logits) of images in RGB, 0..255, uint8 or float, of any size.

        Most heads give a score map at an eighth of the padded image's size; ``MSc`` at test time and
        ``FullResolutionHead`` give one at the padded image's size. ``geometry.upsample_scores`` brings either to the
        image's size.

        In training, a network with a CRF returns the score map of the CRF. At test time, it returns its own, and
        the caller runs the CRF: ``with_learned`` returns one with the learned parameters.
        """
        scores = self.head(self.backbone(image))
        return self.crf(image, scores) if self.training and self.crf is not None else scores

    def with_learned(self, crf: DenseCRF) -> DenseCRF:
        """Return ``crf`` with the parameters that this network learned; unchanged if it was trained without a CRF."""
        return crf if self.crf is None else self.crf.update(crf)

    @torch.inference_mode()
    def predict(self, image: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        """Return the class probabilities of every pixel, at the image's size, in float32, without a CRF."""
        return upsample_scores(self(image).float(), image.shape[-2:]).softmax(dim=1)
