"""Export a trained network for other programs: to one file, or to a folder for the Hugging Face hub."""

from src.prediction.export.export import export

__all__ = ["export"]
