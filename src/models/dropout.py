"""Dropout that is fast on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """``nn.Dropout``, faster on a CPU: one random 64-bit number serves eight elements.

    On a CPU, ``p`` is rounded to a multiple of 1/256 (0.5 and 0.125 are exact). On other devices, and in compiled code,
    this is PyTorch's own dropout.
    """

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the input in evaluation; in training, zero each element with probability ``p`` and scale the rest."""
        threshold = round(256 * self.p)
        if not self.training or input.device.type != "cpu" or threshold in (0, 256) or torch.compiler.is_compiling():
            return super().forward(input)
        words = torch.empty((input.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        dense = torch.empty_like(input, device="meta")  # only for its strides, so that channels-last is kept
        draws = words.view(torch.uint8)[: input.numel()].as_strided(input.shape, dense.stride())
        return input * (draws >= threshold) * (256 / (256 - threshold))
