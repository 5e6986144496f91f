"""VGG's fully connected layers as convolutions: fc6 and fc7 decimated to any shape of Table 2 (paper, section 3.1)."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from src.errors import UserError
from src.models.backbones.backbone import copy_weight
from src.models.deeplab import DeepLab
from src.models.heads.fully_connected import FCHead

FC_INPUT, FC_CHANNELS = (512, 7, 7), 4096  # of VGG's fc6 on pool5
TAPS = {7: (0, 1, 2, 3, 4, 5, 6), 4: (0, 2, 4, 6), 3: (0, 3, 6)}  # which of fc6's seven rows and columns stay


def fc_head(model: DeepLab) -> FCHead | None:
    """The head with fc6 and fc7, also inside MSc."""
    return next((module for module in model.head.modules() if isinstance(module, FCHead)), None)


def load_fc(head: FCHead, fc6_weight: Tensor, fc6_bias: Tensor, fc7_weight: Tensor, fc7_bias: Tensor) -> None:
    """VGG's fc6 and fc7 as the head's convolutions, decimated to its kernel and channels."""
    kernel, channels = head.fc6.kernel_size[0], head.fc6.out_channels
    if kernel not in TAPS or FC_CHANNELS % channels:
        raise UserError(
            f"VGG's fc6 cannot be decimated to kernel={kernel} and channels={channels}: the kernel may be 7, 4 or 3, "
            f"the channels a divisor of {FC_CHANNELS}"
        )
    copy_weight(head.fc6.weight, decimate_fc6(fc6_weight, kernel, channels), "fc6")
    copy_weight(head.fc7.weight, decimate_fc7(fc7_weight, channels), "fc7")
    step = FC_CHANNELS // channels
    copy_weight(head.fc6.bias, fc6_bias.flatten()[::step], "fc6's bias")
    copy_weight(head.fc7.bias, fc7_bias.flatten()[::step], "fc7's bias")


def decimate_fc6(weight: Tensor, kernel: int, channels: int) -> Float[Tensor, "channels inputs kernel kernel"]:
    """Every so many of 4096 outputs, and of the 7x7 taps rows and columns {0, 2, 4, 6} or {0, 3, 6} (section 3.1)."""
    check_elements(weight, (FC_CHANNELS, *FC_INPUT), "fc6")
    taps = torch.tensor(TAPS[kernel])
    full = weight.reshape(FC_CHANNELS, *FC_INPUT)[:: FC_CHANNELS // channels]
    return full[:, :, taps][:, :, :, taps]


def decimate_fc7(weight: Tensor, channels: int) -> Float[Tensor, "channels channels 1 1"]:
    """Every so many outputs, and the inputs that fc6 still gives."""
    check_elements(weight, (FC_CHANNELS, FC_CHANNELS), "fc7")
    step = FC_CHANNELS // channels
    return weight.reshape(FC_CHANNELS, FC_CHANNELS)[::step, ::step, None, None]


def check_elements(weight: Tensor, shape: tuple[int, ...], name: str) -> None:
    if weight.numel() != int(np.prod(shape)):
        raise UserError(f"{name} has shape {tuple(weight.shape)}, VGG's has {shape}")
