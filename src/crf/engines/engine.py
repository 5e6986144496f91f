"""The interface of the engines, and the choice between them."""

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


def make_engine(name: str) -> tuple[Engine, str]:
    """Return the engine of this name and the reason for the choice; no other engine is imported.

    Raises:
        ValueError: if the name is unknown, or the engine is not available.
    """
    if name == "auto":
        from src.crf.engines import native_engine

        if native_engine.missing_reason() is None:
            return native_engine.NativeEngine(), f"auto: the compiled engine is available, {native_engine.level()}"
        from src.crf.engines.torch_engine import TorchEngine

        return TorchEngine(), f"auto: no native engine, {native_engine.missing_reason()}"
    if name == "native":
        from src.crf.engines import native_engine

        reason = native_engine.missing_reason()
        if reason is not None:
            raise ValueError(f"engine=native is not available, {reason}; or choose engine=torch")
        return native_engine.NativeEngine(), f"as configured, {native_engine.level()}"
    if name == "torch":
        from src.crf.engines.torch_engine import TorchEngine

        return TorchEngine(), "as configured"
    if name == "pydensecrf":
        from src.crf.engines.pydensecrf_engine import PydensecrfEngine

        return PydensecrfEngine(), "as configured"
    if name == "exact":
        from src.crf.engines.exact_engine import ExactEngine

        return ExactEngine(), "as configured"
    raise ValueError(f"engine={name!r} is unknown: choose auto, {', '.join(ENGINES)}")
