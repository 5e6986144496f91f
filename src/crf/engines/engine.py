"""One interface for every engine, and the choice between them."""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from src.crf.parameters import Parameters

ENGINES = ("native", "torch", "pydensecrf", "exact")


class Engine(Protocol):
    """Mean field on one image. Inputs are checked: finite float32 logits and an image of the same size.

    `workers` says how RefinementPool runs many images: "threads" (releases the interpreter lock, one image per
    core), "one" (uses all cores or the GPU by itself) or "processes" (holds the lock).
    """

    name: str
    workers: str

    def refine(
        self,
        image: Shaped[Tensor, "3 height width"],
        logits: Float[Tensor, "classes height width"],
        parameters: Parameters,
    ) -> Float[Tensor, "classes height width"]: ...

    def refine_labels(
        self,
        image: Shaped[Tensor, "3 height width"],
        score_map: Float[Tensor, "classes rows columns"],
        stride: int,
        parameters: Parameters,
    ) -> UInt8[Tensor, "height width"] | Shaped[Tensor, "height width"]: ...


def make_engine(name: str) -> tuple[Engine, str]:
    """The engine of that name and the reason for it. Imports only what it returns."""
    if name == "auto":
        from src.crf.engines import native_engine

        if native_engine.missing() is None:
            return native_engine.NativeEngine(), f"auto: compiled kernels are there, {native_engine.level()}"
        from src.crf.engines.torch_engine import TorchEngine

        return TorchEngine(), f"auto: no native engine, {native_engine.missing()}"
    if name == "native":
        from src.crf.engines import native_engine

        reason = native_engine.missing()
        if reason is not None:
            raise ValueError(f"engine=native is not available, {reason}; or choose engine=torch")
        return native_engine.NativeEngine(), f"as asked, {native_engine.level()}"
    if name == "torch":
        from src.crf.engines.torch_engine import TorchEngine

        return TorchEngine(), "as asked"
    if name == "pydensecrf":
        from src.crf.engines.pydensecrf_engine import PydensecrfEngine

        return PydensecrfEngine(), "as asked"
    if name == "exact":
        from src.crf.engines.exact_engine import ExactEngine

        return ExactEngine(), "as asked"
    raise ValueError(f"engine={name!r} is unknown: choose auto, {', '.join(ENGINES)}")
