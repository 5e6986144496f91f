"""Any network of timm as a backbone; an extra: pip install "deeplab-v1[timm]"."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from src.errors import UserError
from src.models.backbones.backbone import Backbone
from src.models.geometry import STRIDE, pad_to_grid, score_side

PROBE = 65  # pixels a side of the image that a new backbone is tried on


class Timm(Backbone):
    """A model of timm that can give its feature maps (``features_only``) at output stride 8.

    Args:
        name: as in ``timm.list_models()``.
        weights: "none", or "imagenet" for timm's own pretrained weights of that name.
        mean, std, bgr: see ``Backbone``; None follows the model's card in timm.

    Raises:
        UserError: if timm is not installed, knows no such model, or the model has no maps at stride 8.
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
        net = create(name, pretrained=False)
        card = getattr(net, "pretrained_cfg", None) or getattr(net, "default_cfg", None) or {}
        mean = mean or [255 * float(value) for value in card.get("mean", (0.485, 0.456, 0.406))]
        std = std or [255 * float(value) for value in card.get("std", (0.229, 0.224, 0.225))]
        super().__init__(weights, mean, std, bool(bgr))
        self.name = name
        self.net = net
        self.channels = (3, *net.feature_info.channels())
        self.strides = (1, *net.feature_info.reduction())
        # Not every model keeps the grid 8 k + 1 that the geometry stands on: ask it.
        with torch.no_grad():
            last = net.eval()(torch.zeros(1, 3, PROBE, PROBE, device=next(net.parameters()).device))[-1]
        net.train()
        if self.strides[-1] != STRIDE or tuple(last.shape[1:]) != (self.channels[-1], *2 * (score_side(PROBE),)):
            raise UserError(
                f"name={name}: its last map is {tuple(last.shape[1:])} for {PROBE} pixels, not "
                f"{score_side(PROBE)} a side; take a convolutional model with output_stride=8, such as a ResNet"
            )

    def forward(self, image: Shaped[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """The normalised image and the model's feature maps."""
        padded = pad_to_grid(self.normalize(image))
        return [padded, *self.net(padded)]

    def load_own(self) -> None:
        """timm's weights of that name, fetched or from its cache.

        Raises:
            UserError: if they cannot be had.
        """
        try:
            self.net.load_state_dict(create(self.name, pretrained=True).state_dict())
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"weights=imagenet: timm could not get {self.name} ({reason}); go online once, or set weights=none"
            ) from error


def create(name: str, pretrained: bool) -> Any:
    try:
        import timm
    except (ImportError, RuntimeError, OSError) as error:  # also a torchvision that is built for another torch
        raise UserError(
            f'name={name}: needs timm, which cannot be imported ({error}): pip install "deeplab-v1[timm]"'
        ) from error
    if not timm.is_model(name):
        close = get_close_matches(name, timm.list_models(), n=1)
        hint = f"did you mean {close[0]}?" if close else "timm.list_models() names them"
        raise UserError(f"name={name}: timm has no such model; {hint}")
    try:
        return timm.create_model(name, pretrained=pretrained, features_only=True, output_stride=STRIDE)
    except (RuntimeError, AssertionError, TypeError) as error:
        if pretrained:
            raise
        reason = str(error) or "its stride cannot be chosen"
        raise UserError(f"name={name}: timm cannot give its features at stride 8 ({reason})") from error
