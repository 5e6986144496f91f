"""A run's folder: its records, its checkpoint files, its loggers, and the settings that a resumed run keeps."""
