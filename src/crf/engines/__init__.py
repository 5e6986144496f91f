"""The engines, implementations of mean-field inference with one interface."""

from src.crf.engines.choice import choose_engine, make_engine
from src.crf.engines.engine import ENGINES, Engine, EngineName, WorkerKind

__all__ = ["ENGINES", "Engine", "EngineName", "WorkerKind", "choose_engine", "make_engine"]
