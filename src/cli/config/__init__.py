"""Check a composed config and fill it in: structure, paths, checkpoints, resumed runs, values."""
