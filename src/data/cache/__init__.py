"""Decoded samples in one memory-mapped file."""
