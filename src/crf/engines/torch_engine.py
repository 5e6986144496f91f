"""The engine that runs anywhere torch does, CPU or GPU; nothing to build beforehand."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, reduce
from operator import add

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from src.crf.inputs import upsample
from src.crf.lattice.features import bilateral_features, position_features
from src.crf.lattice.permutohedral import Lattice
from src.crf.mean_field import Softmax, are_kept, mean_field, pruned_mean_field, softmax, softmax_in_place
from src.crf.parameters import Parameters


class TorchEngine:
    name = "torch"
    workers = "one"

    def refine(self, image: Tensor, logits: Tensor, parameters: Parameters) -> Tensor:
        if logits.is_cuda:  # dropping columns would save little, and have the kernel compiled for every number of them
            return self.refine_batch(image[None], logits[None], parameters)[0]
        p = parameters
        message = _message(kernels_of(image[None], p, (p.w1, p.w2)))
        unary = _by_pixel(logits)
        q = pruned_mean_field(unary, message, p.iterations, p.prune_below(len(logits)), _normalise(p, logits.device))
        return q.T.reshape(logits.shape)

    def refine_batch(self, images: Tensor, logits: Tensor, parameters: Parameters) -> Tensor:
        """refine for images of one size at once: fills a GPU, where one image does not. batch x classes x H x W."""
        p, (batch, classes, height, width) = parameters, logits.shape
        message = _message(kernels_of(images, p, (p.w1, p.w2)))
        # A GPU reads rows of whole sectors, 8 floats, faster. A column of -inf stays 0 in Q.
        unary = pad(_by_pixel(logits), (0, -classes % 8), value=-torch.inf)
        if p.prune > 0:
            # Every image drops other classes: they stay as columns, which neither send nor receive.
            log_p = unary.log_softmax(1).view(batch, -1, unary.shape[1])
            kept = are_kept(log_p, p.prune_below(classes)).to(unary.dtype)
            message = _masked(message, kept.repeat_interleave(height * width, 0))
        q = mean_field(unary, message, p.iterations, _normalise(p, logits.device))
        return q[:, :classes].reshape(batch, height, width, classes).permute(0, 3, 1, 2).contiguous()

    def refine_labels(self, image: Tensor, score_map: Tensor, stride: int, parameters: Parameters) -> Tensor:
        size = (image.shape[1], image.shape[2])
        return self.refine(image, upsample(score_map, size, stride), parameters).argmax(0)


def _by_pixel(logits: Float[Tensor, "*batch classes height width"]) -> Float[Tensor, "pixels classes"]:
    """The largest of every pixel is taken away. Written by pixel at once: a CPU turns a finished matrix slowly."""
    last = logits.movedim(-3, -1)
    return torch.sub(last, last.amax(-1, keepdim=True), out=last.new_empty(last.shape)).view(-1, last.shape[-1])


def _normalise(p: Parameters, device: torch.device) -> Softmax:
    """Of noise, and of stars, messages were found to be 1.4 times the weights at most: with these as small as here, exp
    stays far from 88, where it overflows. A GPU has it all in one kernel."""
    return softmax_in_place if device.type == "cpu" and p.w1 + p.w2 <= 16 else softmax


def _message(kernels: list[Lattice]) -> Callable[[Tensor], Tensor]:
    return reduce(add, kernels).filter if kernels else torch.zeros_like


def _masked(message: Callable[[Tensor], Tensor], kept: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda q: message(q * kept) * kept


def kernels_of(
    images: Tensor, p: Parameters, weights: tuple[float, float], dtype: torch.dtype = torch.float32
) -> list[Lattice]:
    """The bilateral and the Gaussian kernel of a batch of images (batch x 3 x height x width), normalised and times
    their weights; none for weight 0. Its points are the pixels, image by image."""
    batch, _, height, width = images.shape
    bilateral, gaussian = weights
    kernels = []
    if bilateral > 0:
        features = torch.cat([bilateral_features(image, p.sy, p.sx, p.srgb) for image in images])
        number = torch.arange(batch, device=images.device).repeat_interleave(height * width)
        kernels.append(Lattice(features, dtype, number).normalise(bilateral))
    if gaussian > 0:
        build = _gaussian if batch * height * width <= PIXELS_AT_A_TIME else _gaussian.__wrapped__
        kernels.append(build(batch, height, width, p.sg, gaussian, images.device, dtype))
    return kernels


PIXELS_AT_A_TIME = 1 << 22  # of a batch; its Gaussian lattice takes about 200 MB, and larger ones are not kept


@lru_cache(maxsize=4)
def _gaussian(
    batch: int, height: int, width: int, sg: float, weight: float, device: torch.device, dtype: torch.dtype
) -> Lattice:
    """Depends on the size of the images alone, and those of a set have few."""
    position = position_features(height, width, sg, sg, device).repeat(batch, 1)
    number = torch.arange(batch, device=device).repeat_interleave(height * width)
    return Lattice(position, dtype, number).normalise(weight)
