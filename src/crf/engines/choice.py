"""Choose an engine by name."""

from __future__ import annotations

from src.crf.engines.engine import ENGINES, Engine


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
