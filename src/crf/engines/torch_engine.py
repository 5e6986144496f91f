"""The engine in torch, for CPUs and GPUs, without compiled code."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, reduce
from operator import add

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from src.crf.engines.engine import EngineName, WorkerKind
from src.crf.inputs import upsample_to
from src.crf.lattice.features import bilateral_features, position_features
from src.crf.lattice.permutohedral import Lattice
from src.crf.mean_field import (
    Softmax,
    find_kept_classes,
    mean_field,
    mix_classes,
    pruned_mean_field,
    softmax,
    softmax_in_place,
)
from src.crf.parameters import Parameters

SAFE_MESSAGE_BOUND = 16  # largest message with which exp cannot overflow; also in native/mean_field.cpp
MAX_BATCH_PIXELS = 1 << 22  # a Gaussian lattice of this size takes about 200 MB; larger ones are not cached


class TorchEngine:
    """Runs mean field on the permutohedral lattice in torch, on the device of the scores."""

    name: EngineName = "torch"
    workers: WorkerKind = "one"

    def refine(self, image: Tensor, logits: Tensor, parameters: Parameters, threads: int) -> Tensor:
        """Return Q of one image, on the device of the logits."""
        if logits.is_cuda:  # dropping columns would save little, but compile a kernel for each number of columns
            return self.refine_batch(image[None], logits[None], parameters)[0]
        p = parameters
        smooth = filter_function(build_kernels(image[None], p, (p.w1, p.w2)))
        unary, below = rows_of_pixels(logits), p.log_threshold(len(logits))
        q = pruned_mean_field(unary, smooth, p.iterations, below, p.affinity, choose_softmax(p, logits.device))
        return q.T.reshape(logits.shape)

    def refine_batch(self, images: Tensor, logits: Tensor, parameters: Parameters) -> Tensor:
        """Return Q of images of one size (batch x classes x height x width); a single image does not fill a GPU."""
        p, (batch, classes, height, width) = parameters, logits.shape
        smooth = filter_function(build_kernels(images, p, (p.w1, p.w2)))
        # A GPU is faster with rows of whole sectors (8 floats). A column of -inf stays 0 in Q.
        padding = -classes % 8
        unary = pad(rows_of_pixels(logits), (0, padding), value=-torch.inf)
        message = mix_classes(smooth, None if p.affinity is None else pad(p.affinity, (0, padding, 0, padding)))
        if (below := p.log_threshold(classes)) is not None:
            # Pruned classes differ between images, so they stay as columns that neither send nor receive messages.
            log_p = unary.log_softmax(1).view(batch, -1, unary.shape[1])
            kept = find_kept_classes(log_p, pad(below, (0, padding))).to(unary.dtype)
            message = mask_message(message, kept.repeat_interleave(height * width, 0))
        q = mean_field(unary, message, p.iterations, normalise=choose_softmax(p, logits.device))
        return q[:, :classes].reshape(batch, height, width, classes).permute(0, 3, 1, 2).contiguous()

    def refine_labels(
        self, image: Tensor, score_map: Tensor, stride: int, parameters: Parameters, threads: int
    ) -> Tensor:
        """Return the label map of one image: the argmax of Q from the up-sampled score map."""
        return self.refine(image, upsample_to(image, score_map, stride), parameters, threads).max(0).indices


def rows_of_pixels(logits: Float[Tensor, "*batch classes height width"]) -> Float[Tensor, "pixels classes"]:
    """Return the logits with one row per pixel, minus the largest value of the row.

    The difference is written directly in this layout, because transposing a matrix on a CPU is slow.
    """
    channels_last = logits.movedim(-3, -1)
    rows = channels_last.new_empty(channels_last.shape)
    return torch.sub(channels_last, channels_last.amax(-1, keepdim=True), out=rows).view(-1, rows.shape[-1])


def choose_softmax(p: Parameters, device: torch.device) -> Softmax:
    """Return the in-place softmax on a CPU if it cannot overflow, otherwise torch's.

    On images of noise and of stars, messages were at most 1.4 times ``message_bound``. With a bound of 16, exponents
    stay far below 88, where exp overflows in float32. On a GPU, torch's softmax is already a single kernel.
    """
    return softmax_in_place if device.type == "cpu" and p.message_bound <= SAFE_MESSAGE_BOUND else softmax


def filter_function(kernels: list[Lattice]) -> Callable[[Tensor], Tensor]:
    """Return a function that maps Q to the sum of w K Q over the kernels; to 0 without kernels."""
    return reduce(add, kernels).filter if kernels else torch.zeros_like


def mask_message(message: Callable[[Tensor], Tensor], kept: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a message function in which only the kept classes send and receive."""
    return lambda q: message(q * kept) * kept


def build_kernels(
    images: Tensor, p: Parameters, weights: tuple[float, float], dtype: torch.dtype = torch.float32
) -> list[Lattice]:
    """Return the bilateral and the Gaussian kernel of a batch of images, normalised and multiplied by their weights.

    Args:
        images: batch x 3 x height x width. The points of a lattice are the pixels, image after image.
        p: the parameters, for the widths of the kernels.
        weights: weights of the bilateral and the Gaussian kernel; a kernel with weight 0 is left out.
        dtype: dtype of the values to filter.
    """
    batch, _, height, width = images.shape
    bilateral, gaussian = weights
    kernels = []
    if bilateral > 0:
        features = torch.cat([bilateral_features(image, p.sy, p.sx, p.srgb) for image in images])
        number = torch.arange(batch, device=images.device).repeat_interleave(height * width)
        kernels.append(Lattice(features, dtype, number).normalise(bilateral))
    if gaussian > 0:
        build = gaussian_kernel if batch * height * width <= MAX_BATCH_PIXELS else gaussian_kernel.__wrapped__
        kernels.append(build(batch, height, width, p.sg, gaussian, images.device, dtype))
    return kernels


@lru_cache(maxsize=4)
def gaussian_kernel(
    batch: int, height: int, width: int, sg: float, weight: float, device: torch.device, dtype: torch.dtype
) -> Lattice:
    """Return the Gaussian kernel; it is cached, because it depends only on the image size, and few sizes occur."""
    position = position_features(height, width, sg, sg, device).repeat(batch, 1)
    number = torch.arange(batch, device=device).repeat_interleave(height * width)
    return Lattice(position, dtype, number).normalise(weight)
