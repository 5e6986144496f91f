"""Convert labels from other tools into a data set for ``Folder``."""

from src.data.convert.convert import Conversion, FaultyLabels, convert

__all__ = ["Conversion", "FaultyLabels", "convert"]
