"""The jobs of a multirun and the table of their results."""
