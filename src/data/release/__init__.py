"""Fetch, check, unpack and convert the releases of data sets."""

from src.data.release.release import Archive, Release
from src.data.release.sbd import MergeSBD

__all__ = ["Archive", "MergeSBD", "Release"]
