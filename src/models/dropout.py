"""Dropout that does not slow a CPU down."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """``nn.Dropout``; on the CPU eight elements of its mask come from one 64-bit draw, where torch takes one draw each.

    There ``p`` is rounded to a multiple of 1/256, which 0.5 and 0.125 are. Elsewhere it is torch's own, and where it is
    compiled, which torch's own goes through in one graph with the layers around it.
    """

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        threshold = round(256 * self.p)
        if not self.training or input.device.type != "cpu" or threshold in (0, 256) or torch.compiler.is_compiling():
            return super().forward(input)
        words = torch.empty((input.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        dense = torch.empty_like(input, device="meta")  # for its strides: channels-last stays channels-last
        draws = words.view(torch.uint8)[: input.numel()].as_strided(input.shape, dense.stride())
        return input * (draws >= threshold) * (256 / (256 - threshold))
