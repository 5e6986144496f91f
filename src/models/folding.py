"""Fold BatchNorm into the convolutions before it: the same scores with less work, for inference only."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

SIDE = 33  # side of the image whose forward pass shows which layers follow each other
TOLERANCE = 1e-4  # largest difference of the scores, relative to the largest score


@torch.no_grad()
def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode whose convolutions contain the BatchNorm that follows them.

    If the scores of the copy differ (for example, because the output of a convolution is used twice), return the
    network itself.
    """
    if network.training:
        raise ValueError("BatchNorm can be folded in evaluation mode only: call network.eval() first")
    like = next(network.parameters())
    noise = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, SIDE, SIDE), generator=noise, dtype=torch.uint8).to(like.device)
    folded = copy.deepcopy(network)
    pairs = find_pairs(folded, image)
    if not pairs:
        return network
    names = {module: name for name, module in folded.named_modules()}
    for conv, norm in pairs:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        parent, _, child = names[norm].rpartition(".")
        setattr(folded.get_submodule(parent), child, nn.Identity())
    scores, expected = folded(image), network(image)
    return folded if (scores - expected).abs().max() <= TOLERANCE * expected.abs().max() else network


def find_pairs(network: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return every convolution with the BatchNorm that reads its output, found in a forward pass."""
    sources: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # keep the tensor, so that its id is not reused
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def record_pair(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            sources[id(output)] = (module, output)
        elif isinstance(module, nn.BatchNorm2d) and id(inputs[0]) in sources and module.running_mean is not None:
            pairs.append((sources[id(inputs[0])][0], module))

    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]
    hooks = [layer.register_forward_hook(record_pair) for layer in layers]
    try:
        network(image)
    finally:
        for hook in hooks:
            hook.remove()
    used = [id(module) for pair in pairs for module in pair]
    return [pair for pair in pairs if all(used.count(id(module)) == 1 for module in pair)]  # without shared layers
