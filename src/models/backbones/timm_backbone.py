"""Networks of timm as backbones; this needs an extra: pip install "deeplab-v1[timm]"."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from src.labels import STRIDE
from src.models.backbones.backbone import Backbone, WeightsError
from src.models.geometry import pad_to_grid, score_side
from src.system.errors import UserError
from src.system.suggestions import did_you_mean

PROBE = 65  # side in pixels of the image that a new backbone is tried on


class Timm(Backbone):
    """A model of timm that returns feature maps (``features_only``) at output stride 8.

    Args:
        name: a name of ``timm.list_models()``.
        weights: "none", or "imagenet" for timm's pretrained weights of this model.
        mean, std, bgr: see ``Backbone``; None for the values in timm's configuration of the model.

    Raises:
        UserError: if timm is not installed or has no such model, or the model has no maps at stride 8.
    """

    def __init__(
        self,
        name: str,
        weights: str = "none",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr: bool | None = None,
    ) -> None:
        if weights not in ("none", "imagenet"):
            raise UserError(f"weights={weights}: must be none or imagenet for a backbone of timm")
        net = create_model(name, pretrained=False)
        card = getattr(net, "pretrained_cfg", None) or getattr(net, "default_cfg", None) or {}
        mean = mean or [255 * float(value) for value in card.get("mean", (0.485, 0.456, 0.406))]
        std = std or [255 * float(value) for value in card.get("std", (0.229, 0.224, 0.225))]
        super().__init__(weights, mean, std, bool(bgr))
        self.name = name
        self.net = net
        self.channels = (3, *net.feature_info.channels())
        self.strides = (1, *net.feature_info.reduction())
        # Not every model maps sides of 8k + 1 pixels to k + 1 values, as geometry.py requires: try it.
        with torch.no_grad():
            last = net.eval()(torch.zeros(1, 3, PROBE, PROBE, device=next(net.parameters()).device))[-1]
        net.train()
        if self.strides[-1] != STRIDE or tuple(last.shape[1:]) != (self.channels[-1], *2 * (score_side(PROBE),)):
            raise UserError(
                f"name={name}: its last map is {tuple(last.shape[1:])} for {PROBE} pixels, not "
                f"{score_side(PROBE)} a side; take a convolutional model with output_stride=8, such as a ResNet"
            )

    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Return the normalised, padded image and the model's feature maps."""
        padded = pad_to_grid(self.normalize(image))
        return [padded, *self.net(padded)]

    def load_timm_weights(self) -> None:
        """Load timm's pretrained weights of the model, from its cache or the network.

        Raises:
            WeightsError: if they cannot be fetched.
        """
        try:
            self.net.load_state_dict(create_model(self.name, pretrained=True).state_dict())
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(
                f"weights=imagenet: timm could not get {self.name} ({reason}); go online once, or set weights=none"
            ) from error


def create_model(name: str, pretrained: bool) -> Any:
    """Return timm's model that gives feature maps at output stride 8.

    Raises:
        UserError: if timm is not installed, has no such model, or cannot make it so.
    """
    try:
        import timm
    except (ImportError, RuntimeError, OSError) as error:  # also if torchvision was built for another PyTorch
        raise UserError(
            f'name={name}: needs timm, which cannot be imported ({error}): pip install "deeplab-v1[timm]"'
        ) from error
    if not timm.is_model(name):
        hint = did_you_mean(name, timm.list_models()) or " timm.list_models() names all"
        raise UserError(f"name={name}: timm has no such model.{hint}")
    try:
        return timm.create_model(name, pretrained=pretrained, features_only=True, output_stride=STRIDE)
    except (RuntimeError, AssertionError, TypeError) as error:
        if pretrained:
            raise
        reason = str(error) or "its stride cannot be chosen"
        raise UserError(f"name={name}: timm cannot give its features at stride 8 ({reason})") from error
