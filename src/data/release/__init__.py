"""Data sets as they are released: fetched, checked, unpacked and converted."""

from src.data.release.release import Archive, Release
from src.data.release.sbd import MergeSBD

__all__ = ["Archive", "MergeSBD", "Release"]
