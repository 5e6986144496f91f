"""Keep decoded samples in one memory-mapped file."""
