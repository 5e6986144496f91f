"""The engines, implementations of mean-field inference with one interface."""

from src.crf.engines.engine import ENGINES, Engine, make_engine

__all__ = ["ENGINES", "Engine", "make_engine"]
