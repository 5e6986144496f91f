"""DenseCRF: scores and an image in, refined probabilities or labels out, whichever engine does the work."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from src.crf import inputs
from src.crf.engines import Engine, make_engine
from src.crf.engines.torch_engine import PIXELS_AT_A_TIME, TorchEngine
from src.crf.parameters import Parameters

log = logging.getLogger(__name__)

Image = Shaped[Tensor, "3 height width"]
Scores = Float[Tensor, "classes height width"]


class DenseCRF:
    """A fully connected CRF with a bilateral and a Gaussian kernel, Potts compatibility, mean field. No gradients:
    they flow through DenseCRFModule.

    Args: see Parameters; engine is one of auto, native, torch, pydensecrf, exact.
    Source: Krähenbühl & Koltun, NIPS 2011; the paper's DeepLab uses w2 = sg = 3 and 10 iterations.
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
    ) -> None:
        self.parameters = Parameters(w1, sxy, srgb, w2, sg, iterations, prune)
        self._auto = engine == "auto"
        self._engine, reason = make_engine(engine)
        self._on_gpu: Engine | None = None
        if self._engine.name == "pydensecrf" and prune > 0:
            raise ValueError(f"engine=pydensecrf cannot prune (prune={prune}): set prune=0, or choose another engine")
        log.info("dense CRF engine: %s (%s)", self._engine.name, reason)

    @property
    def engine_name(self) -> str:
        """The engine that serves scores on the CPU. With engine=auto, scores on a GPU go to the torch engine."""
        return self._engine.name

    @property
    def workers(self) -> str:
        """How RefinementPool may run many images at once: "threads", "processes" or "one"."""
        return self._engine.workers

    def __call__(self, image: Any, probabilities: Any = None, *, logits: Any = None) -> Any:
        """Q, in the shape, type and place of the given probabilities or logits.

        image: uint8 or float RGB of 0..255, 3 x H x W, a batch of them, or a list of images of different sizes.
        probabilities or logits: classes x H x W, a batch, or a list alike. Tensors or NumPy arrays.
        Raises ValueError where sizes differ or values cannot be a distribution.
        """
        if (probabilities is None) == (logits is None):
            raise ValueError("give either probabilities or logits=..., one of the two")
        scores = logits if probabilities is None else probabilities
        if isinstance(scores, Sequence) or getattr(scores, "ndim", 3) == 4:
            _check_batch(image, scores)
            engine = self.engine_for(scores) if isinstance(scores, Tensor) and isinstance(image, Tensor) else None
            if isinstance(engine, TorchEngine) and scores.device.type != "cpu":
                return self._refine_batch(engine, image, scores, logits is None)
            results = [
                self(one, scores[i]) if logits is None else self(one, logits=scores[i]) for i, one in enumerate(image)
            ]
            if isinstance(scores, Sequence):
                return results
            return torch.stack(results) if isinstance(scores, Tensor) else np.stack(results)
        if isinstance(scores, np.ndarray):
            return self._refine(_tensor(image), _tensor(scores), logits is None).numpy()
        return self._refine(_tensor(image), scores, logits is None)

    def refine(self, image: Any, score_map: Any, stride: int = 8) -> Tensor:
        """The label map of one image, from the network's score map: the fast way to evaluate.

        score_map: logits, classes x h x w, cell (i, j) on pixel (i * stride, j * stride); it is up-sampled
        bilinearly (align_corners=True) and cut to the image, as the engine goes.
        Returns labels, height x width, uint8 (int64 for more than 256 classes), where the score map was.
        """
        image, score_map = inputs.checked_image(_tensor(image)), inputs.checked_logits(_tensor(score_map), "score_map")
        inputs.check_covers((image.shape[1], image.shape[2]), score_map, stride)
        engine = self.engine_for(score_map)
        labels = engine.refine_labels(
            image.to(score_map.device), score_map.detach().float().contiguous(), stride, self.parameters
        )
        return labels.to(torch.uint8 if len(score_map) <= 256 else torch.int64)

    def _refine(self, image: Image, scores: Scores, are_probabilities: bool) -> Scores:
        image, logits = _prepared(image, scores, are_probabilities)
        q = self.engine_for(logits).refine(image, logits, self.parameters)
        return q.to(device=scores.device, dtype=scores.dtype)

    def _refine_batch(self, engine: TorchEngine, images: Tensor, scores: Tensor, are_probabilities: bool) -> Tensor:
        """As many images at a time as fill a GPU, and no more: memory is bounded."""
        count = max(1, PIXELS_AT_A_TIME // images[0, 0].numel())
        parts = []
        for part in zip(images.split(count), scores.split(count), strict=True):
            ready = [_prepared(image, one, are_probabilities) for image, one in zip(*part, strict=True)]
            stacked, logits = (torch.stack(tensors) for tensors in zip(*ready, strict=True))
            parts.append(engine.refine_batch(stacked, logits, self.parameters).to(scores.dtype))
        return torch.cat(parts)

    def engine_for(self, scores: Tensor) -> Engine:
        """What refines them: with engine=auto the torch engine on a GPU, for the work stays where the scores are."""
        if not self._auto or scores.device.type == "cpu" or self._engine.name == "torch":
            return self._engine
        if self._on_gpu is None:
            self._on_gpu, _ = make_engine("torch")
            log.info("dense CRF engine: torch (auto: the scores are on %s)", scores.device)
        return self._on_gpu

    def __repr__(self) -> str:
        p = self.parameters
        return (
            f"DenseCRF(w1={p.w1:g}, sxy={p.sxy}, srgb={p.srgb:g}, w2={p.w2:g}, sg={p.sg:g}, "
            f"iterations={p.iterations}, prune={p.prune:g}, engine={self.engine_name})"
        )


def _prepared(image: Image, scores: Scores, are_probabilities: bool) -> tuple[Image, Scores]:
    """Checked: the image and float32 logits, where the scores are."""
    image = inputs.checked_image(image)
    logits = inputs.checked_logits(scores, "probabilities" if are_probabilities else "logits")
    inputs.check_same_size(image, logits)
    if are_probabilities:
        logits = inputs.logits_from(logits)
    return image.to(logits.device), logits.detach().float().contiguous()


def _tensor(array: Any) -> Tensor:
    return array if isinstance(array, Tensor) else torch.as_tensor(np.ascontiguousarray(array))


def _check_batch(images: Any, scores: Any) -> None:
    if not (isinstance(images, Sequence) or getattr(images, "ndim", 0) == 4) or len(images) != len(scores):
        shape = f"a list of {len(images)}" if isinstance(images, Sequence) else f"of shape {tuple(images.shape)}"
        raise ValueError(f"scores are a batch of {len(scores)}, image is {shape}: give one image for each")
