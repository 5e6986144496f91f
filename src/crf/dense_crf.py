"""The dense CRF, which turns an image and scores into refined probabilities or a label map."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict, replace
from typing import Any, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from src.crf import inputs
from src.crf.engines import Engine, EngineName, WorkerKind, choose_engine, make_engine
from src.crf.engines.torch_engine import MAX_BATCH_PIXELS, TorchEngine
from src.crf.parameters import Parameters

log = logging.getLogger(__name__)

Image = Shaped[Tensor, "3 height width"]
Scores = Float[Tensor, "classes height width"]
Images = Tensor | np.ndarray | Sequence[Tensor] | Sequence[np.ndarray]
S = TypeVar("S", Tensor, np.ndarray, list[Tensor], list[np.ndarray])  # results have the type of the scores


class DenseCRF:
    """A fully connected CRF with a bilateral and a Gaussian kernel and mean-field inference.

    It computes no gradients; use ``DenseCRFModule`` to train through a CRF. DeepLab uses w2 = sg = 3 and 10 iterations.

    Source: Krähenbühl & Koltun, NIPS 2011.

    Args:
        w1, sxy, srgb, w2, sg, iterations, prune, bias, compatibility: see ``Parameters``.
        engine: auto, native, torch, pydensecrf or exact.

    Raises:
        ValueError: if a parameter is out of range, the engine is unknown, or the native engine is not available.
        ImportError: if engine=pydensecrf is chosen, and its package is not installed.
    """

    def __init__(
        self,
        w1: float = 5.0,
        sxy: float | tuple[float, float] = 50.0,
        srgb: float = 10.0,
        w2: float = 3.0,
        sg: float = 3.0,
        iterations: int = 10,
        prune: float = 0.0,
        engine: str = "auto",
        bias: Sequence[float] | None = None,
        compatibility: Sequence[Sequence[float]] | None = None,
    ) -> None:
        self.parameters = Parameters(
            w1=w1, sxy=sxy, srgb=srgb, w2=w2, sg=sg, iterations=iterations, prune=prune, bias=bias,
            compatibility=compatibility,
        )  # fmt: skip
        self.choice = engine
        self.engines: dict[EngineName, Engine] = {}  # those made so far
        self.engine = self.engine_on("cpu")
        self.check_pruning()

    @property
    def engine_name(self) -> EngineName:
        """The name of the engine that refines scores on the CPU.

        With engine=auto, the torch engine refines scores that are on a GPU.
        """
        return self.engine.name

    @property
    def workers(self) -> WorkerKind:
        """How ``RefinementPool`` runs several images at once: "threads", "processes" or "one"."""
        return self.engine.workers

    def with_parameters(self, **values: Any) -> DenseCRF:
        """Return a copy of this CRF with these values of ``Parameters`` changed.

        Raises:
            ValueError: if a value is out of range, or the engine cannot prune.
        """
        changed = copy(self)
        changed.parameters = replace(self.parameters, **values)
        changed.check_pruning()
        return changed

    def check_pruning(self) -> None:
        """Raise a ValueError if the engine cannot prune and is told to."""
        if self.engine.name == "pydensecrf" and (prune := self.parameters.prune) > 0:
            raise ValueError(f"engine=pydensecrf cannot prune (prune={prune}): set prune=0, or choose another engine")

    @overload
    def __call__(self, image: Images, probabilities: S, *, threads: int | None = None) -> S: ...

    @overload
    def __call__(self, image: Images, *, logits: S, threads: int | None = None) -> S: ...

    def __call__(self, image: Any, probabilities: Any = None, *, logits: Any = None, threads: int | None = None) -> Any:
        """Return Q, the refined distribution over classes at every pixel.

        Give either ``probabilities`` or ``logits``. Both may be tensors or NumPy arrays.

        Args:
            image: RGB, uint8 or float in 0..255: 3 x H x W, a batch of images, or a list of images of different sizes.
            probabilities: classes x H x W, a batch or a list, like ``image``; sums to 1 over the classes.
            logits: the same shapes, not normalised.
            threads: number of cores that the native engine uses for one image; None for as many as torch uses. It
                affects only the order of sums, and thus the last digits of Q.

        Returns:
            Q with the shape, dtype and device of the given probabilities or logits.

        Raises:
            ValueError: if the sizes differ, the values are not a distribution, or the parameters are for another
                number of classes.
        """
        if (probabilities is None) == (logits is None):
            raise ValueError("give either probabilities or logits=..., not both or neither")
        scores = logits if probabilities is None else probabilities
        if isinstance(scores, Sequence) or getattr(scores, "ndim", 3) == 4:
            check_batch(image, scores)
            if isinstance(image, Tensor) and (engine := self.batch_engine(scores)):
                return self.refine_batch(engine, image, scores, logits is None)
            refined = [
                self(image[i], scores[i], threads=threads)
                if logits is None
                else self(image[i], logits=scores[i], threads=threads)
                for i in range(len(scores))
            ]
            if isinstance(scores, Sequence):
                return refined
            return torch.stack(refined) if isinstance(scores, Tensor) else np.stack(refined)
        if isinstance(scores, np.ndarray):
            return self.refine_image(as_tensor(image), as_tensor(scores), logits is None, threads).numpy()
        return self.refine_image(as_tensor(image), scores, logits is None, threads)

    def refine_labels(self, image: Any, score_map: Any, stride: int = 8, threads: int | None = None) -> Tensor:
        """Return the label map of one image, or those of a batch, from the network's score maps.

        This is faster than ``__call__``: the engine itself up-samples the scores (bilinear, align_corners=True) and
        crops them to the image.

        Args:
            image: RGB, uint8 or float in 0..255, 3 x height x width, or a batch.
            score_map: logits, classes x rows x columns, or a batch; cell (i, j) is at pixel (i * stride, j * stride).
            stride: pixels between two cells of the score map.
            threads: see ``__call__``.

        Returns:
            Labels, height x width, on the score map's device; uint8, or int64 for more than 256 classes.

        Raises:
            ValueError: if the score map does not cover the image, contains values that are not finite, or the
                parameters are for another number of classes.
        """
        if getattr(score_map, "ndim", 3) == 4:
            check_batch(image, score_map)
            if isinstance(image, Tensor) and (engine := self.batch_engine(score_map)):
                return self.refine_label_batch(engine, image, score_map, stride)
            pairs = zip(image, score_map, strict=True)
            return torch.stack([self.refine_labels(*pair, stride, threads) for pair in pairs])
        image, unary = self.prepare_score_map(as_tensor(image), as_tensor(score_map), stride)
        labels = self.engine_for(unary).refine_labels(image, unary, stride, self.parameters, thread_count(threads))
        return as_labels(labels, len(unary))

    def refine(self, image: Any, score_map: Any, stride: int = 8, threads: int | None = None) -> Tensor:
        """The former name of ``refine_labels``; deprecated."""
        warnings.warn("DenseCRF.refine is now named refine_labels", DeprecationWarning, stacklevel=2)
        return self.refine_labels(image, score_map, stride, threads)

    def refine_image(self, image: Image, scores: Scores, are_probabilities: bool, threads: int | None) -> Scores:
        """Return Q of one image, with the dtype and device of its scores."""
        image, logits = self.prepare(image, scores, are_probabilities)
        q = self.engine_for(logits).refine(image, logits, self.parameters, thread_count(threads))
        return q.to(device=scores.device, dtype=scores.dtype)

    def refine_batch(self, engine: TorchEngine, images: Tensor, scores: Tensor, are_probabilities: bool) -> Tensor:
        """Return Q of a batch on a GPU."""

        def refine_chunk(images: Tensor, scores: Tensor) -> Tensor:
            pairs = [self.prepare(*pair, are_probabilities) for pair in zip(images, scores, strict=True)]
            stacked, logits = (torch.stack(tensors) for tensors in zip(*pairs, strict=True))
            return engine.refine_batch(stacked, logits, self.parameters).to(scores.dtype)

        return in_chunks(refine_chunk, images, scores)

    def refine_label_batch(self, engine: TorchEngine, images: Tensor, score_maps: Tensor, stride: int) -> Tensor:
        """Return the label maps of a batch on a GPU."""

        def label_chunk(images: Tensor, score_maps: Tensor) -> Tensor:
            pairs = [self.prepare_score_map(*pair, stride) for pair in zip(images, score_maps, strict=True)]
            logits = torch.stack([inputs.upsample_to(*pair, stride) for pair in pairs])
            q = engine.refine_batch(torch.stack([image for image, _ in pairs]), logits, self.parameters)
            return as_labels(q.max(1).indices, q.shape[1])

        return in_chunks(label_chunk, images, score_maps)

    def prepare(self, image: Image, scores: Scores, are_probabilities: bool) -> tuple[Image, Scores]:
        """Check an image and its scores; return the image and float32 logits, both on the scores' device."""
        image = inputs.check_image(image)
        logits = inputs.check_logits(scores, "probabilities" if are_probabilities else "logits")
        inputs.check_same_size(image, logits)
        if are_probabilities:
            logits = inputs.log_probabilities(logits)
        return image.to(logits.device), self.add_bias(logits)

    def prepare_score_map(self, image: Image, score_map: Scores, stride: int) -> tuple[Image, Scores]:
        """Check an image and its score map; return the image and float32 logits, both on the score map's device."""
        image, score_map = inputs.check_image(image), inputs.check_logits(score_map, "score_map")
        inputs.check_covers((image.shape[1], image.shape[2]), score_map, stride)
        return image.to(score_map.device), self.add_bias(score_map)

    def add_bias(self, logits: Tensor) -> Tensor:
        """Return logits plus the bias of each class, in the form that engines take."""
        self.parameters.check_classes(len(logits))
        unary = logits.detach().float()
        if self.parameters.bias is not None:
            unary = unary + unary.new_tensor(self.parameters.bias)[:, None, None]
        return unary.contiguous()

    def engine_for(self, scores: Tensor) -> Engine:
        """Return the engine that refines these scores."""
        return self.engine_on(str(scores.device))

    def engine_on(self, device: str) -> Engine:
        """Return the engine that refines scores on a device; log the choice of each engine once."""
        name, reason = choose_engine(self.choice, device)
        if name not in self.engines:
            self.engines[name] = make_engine(name)
            log.info("dense CRF engine: %s (%s)", name, reason)
        return self.engines[name]

    def batch_engine(self, scores: Any) -> TorchEngine | None:
        """Return the engine if it refines a batch of these scores faster than one image after the other."""
        engine = self.engine_for(scores) if isinstance(scores, Tensor) and inputs.is_on_gpu(scores) else None
        return engine if isinstance(engine, TorchEngine) else None

    def __repr__(self) -> str:
        given = {name: value for name, value in asdict(self.parameters).items() if value is not None}
        values = {name: value if isinstance(value, tuple) else f"{value:g}" for name, value in given.items()}
        return f"DenseCRF({', '.join(f'{name}={v}' for name, v in values.items())}, engine={self.engine_name})"


def thread_count(threads: int | None) -> int:
    """Return the number of cores to use for an image; None for as many as torch uses."""
    if threads is not None and threads < 1:
        raise ValueError(f"threads={threads}: give 1 or more, or None for as many as torch uses")
    return threads or torch.get_num_threads()


def in_chunks(function: Callable[[Tensor, Tensor], Tensor], images: Tensor, scores: Tensor) -> Tensor:
    """Return a function's results for a batch, in chunks of at most ``MAX_BATCH_PIXELS``, which limits the memory."""
    count = max(1, MAX_BATCH_PIXELS // images[0, 0].numel())
    return torch.cat([function(*chunk) for chunk in zip(images.split(count), scores.split(count), strict=True)])


def as_labels(indices: Tensor, classes: int) -> Tensor:
    """Return class indices as uint8, or as int64 for more than 256 classes."""
    return indices.to(torch.uint8 if classes <= 256 else torch.int64)


def as_tensor(array: Any) -> Tensor:
    """Return a NumPy array as a tensor; a tensor as it is."""
    return array if isinstance(array, Tensor) else torch.as_tensor(np.ascontiguousarray(array))


def check_batch(images: Any, scores: Any) -> None:
    """Raise a ValueError if a batch of scores has not one image for each."""
    if not (isinstance(images, Sequence) or getattr(images, "ndim", 0) == 4) or len(images) != len(scores):
        shape = f"a list of {len(images)}" if isinstance(images, Sequence) else f"of shape {tuple(images.shape)}"
        raise ValueError(f"scores are a batch of {len(scores)}, image is {shape}: give one image for each")
