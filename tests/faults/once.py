"""What happens once, over several processes."""

import os


def first(marker: str) -> bool:
    """Tell whether the marker, a file, is not there yet, and make it."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
