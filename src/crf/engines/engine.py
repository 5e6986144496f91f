"""The interface of the engines."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from src.crf.parameters import Parameters

EngineName = Literal["native", "torch", "pydensecrf", "exact"]
WorkerKind = Literal["threads", "one", "processes"]

ENGINES: tuple[EngineName, ...] = get_args(EngineName)


class Engine(Protocol):
    """An implementation of mean-field inference on one image.

    Callers check the inputs: the logits are finite float32 numbers, and the image has the same size. ``threads`` is the
    number of cores to use for the image; engines whose libraries manage their own threads ignore it.

    Attributes:
        name: the value of ``engine`` that selects this engine.
        workers: how ``RefinementPool`` runs many images: "threads" (the engine releases the interpreter lock and uses
            one core per image), "one" (it uses all cores or the GPU) or "processes" (it holds the lock).
    """

    name: EngineName
    workers: WorkerKind

    def refine(
        self,
        image: Shaped[Tensor, "3 height width"],
        logits: Float[Tensor, "classes height width"],
        parameters: Parameters,
        threads: int,
    ) -> Float[Tensor, "classes height width"]:
        """Return Q of one image."""
        ...

    def refine_labels(
        self,
        image: Shaped[Tensor, "3 height width"],
        score_map: Float[Tensor, "classes rows columns"],
        stride: int,
        parameters: Parameters,
        threads: int,
    ) -> UInt8[Tensor, "height width"] | Shaped[Tensor, "height width"]:
        """Return the label map of one image; cell (i, j) of its score map is at pixel (i * stride, j * stride)."""
        ...
