"""A run's folder: its records, its loggers, its checkpoints and how they are read, and the settings of a resumed run.

Also the classes that a checkpoint may name, and the networks that come with the package.
"""
