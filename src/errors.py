"""Faults that the user can mend."""


class UserError(Exception):
    """A wrong value, file or folder. The message names it and the remedy; commands print it without a traceback."""
