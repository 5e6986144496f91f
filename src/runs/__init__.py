"""A run's folder: its lock, its records, its checkpoint files and its loggers."""
