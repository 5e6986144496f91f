"""A run's folder: who may write to it, what it records, its checkpoint files and its loggers."""
