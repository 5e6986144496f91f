"""Convert the labels of other tools into a data set of the folder layout."""

from src.data.convert.convert import Conversion, FaultyLabels, convert

__all__ = ["Conversion", "FaultyLabels", "convert"]
