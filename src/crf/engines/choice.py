"""Choose an engine by name and device."""

from __future__ import annotations

from src.crf.engines.engine import ENGINES, Engine, EngineName


def choose_engine(name: str, device: str) -> tuple[EngineName, str]:
    """Return the name of the engine that refines scores on a device, and the reason for the choice.

    With "auto", the torch engine refines scores on a GPU, so that they stay there.

    Args:
        name: auto, or the name of an engine.
        device: where the scores are, such as cpu or cuda:0.

    Raises:
        ValueError: if the name is unknown, or the native engine is not available.
    """
    if name == "auto" and device != "cpu":
        return "torch", f"auto: the scores are on {device}"
    if name in ("auto", "native"):
        from src.crf.engines import native_engine

        missing = native_engine.missing_reason()
        if missing is None:
            reason = "auto: the compiled engine is available" if name == "auto" else "as configured"
            return "native", f"{reason}, {native_engine.level()}"
        if name == "auto":
            return "torch", f"auto: no native engine, {missing}"
        raise ValueError(f"engine=native is not available, {missing}; or choose engine=torch")
    for engine in ENGINES:
        if engine == name:
            return engine, "as configured"
    raise ValueError(f"engine={name!r} is unknown: choose auto, {', '.join(ENGINES)}")


def make_engine(name: EngineName) -> Engine:
    """Return the engine of this name; no other engine is imported."""
    if name == "native":
        from src.crf.engines.native_engine import NativeEngine

        return NativeEngine()
    if name == "torch":
        from src.crf.engines.torch_engine import TorchEngine

        return TorchEngine()
    if name == "pydensecrf":
        from src.crf.engines.pydensecrf_engine import PydensecrfEngine

        return PydensecrfEngine()
    from src.crf.engines.exact_engine import ExactEngine

    return ExactEngine()
