"""Decimate VGG's fully connected layers fc6 and fc7 to convolutions (paper, section 3.2)."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from src.models.backbones.backbone import copy_weight
from src.models.deeplab import DeepLab
from src.models.heads.fully_connected import FCHead
from src.system.errors import UserError

FC_INPUT, FC_CHANNELS = (512, 7, 7), 4096  # input shape and outputs of VGG's fc6
TAPS = {7: (0, 1, 2, 3, 4, 5, 6), 4: (0, 2, 4, 6), 3: (0, 3, 6)}  # by kernel size: the rows and columns of fc6 to keep


def find_fc_head(model: DeepLab) -> FCHead | None:
    """Return the head that has fc6 and fc7, even if it is the trunk of another head; None if there is none."""
    return next((module for module in model.head.modules() if isinstance(module, FCHead)), None)


def load_fc(head: FCHead, fc6_weight: Tensor, fc6_bias: Tensor, fc7_weight: Tensor, fc7_bias: Tensor) -> None:
    """Load VGG's fc6 and fc7 into a head, decimated to its kernel and channels.

    Raises:
        UserError: if they cannot be decimated to this kernel and number of channels.
    """
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
    """Return the weight of VGG's fc6 with evenly spaced outputs, rows and columns only.

    Rows and columns {0, 2, 4, 6} are kept for a kernel of 4, and {0, 3, 6} for a kernel of 3.
    """
    check_elements(weight, (FC_CHANNELS, *FC_INPUT), "fc6")
    taps = torch.tensor(TAPS[kernel])
    full = weight.reshape(FC_CHANNELS, *FC_INPUT)[:: FC_CHANNELS // channels]
    return full[:, :, taps][:, :, :, taps]


def decimate_fc7(weight: Tensor, channels: int) -> Float[Tensor, "channels channels 1 1"]:
    """Return the weight of VGG's fc7 with evenly spaced outputs only, and with the inputs that fc6 still has."""
    check_elements(weight, (FC_CHANNELS, FC_CHANNELS), "fc7")
    step = FC_CHANNELS // channels
    return weight.reshape(FC_CHANNELS, FC_CHANNELS)[::step, ::step, None, None]


def check_elements(weight: Tensor, shape: tuple[int, ...], name: str) -> None:
    """Raise ``UserError`` unless a weight has as many elements as ``shape``."""
    if weight.numel() != int(np.prod(shape)):
        raise UserError(f"{name} has shape {tuple(weight.shape)}, VGG's has {shape}")
