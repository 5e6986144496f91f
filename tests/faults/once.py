"""Let something happen once, over several processes."""

import os


def create_marker(marker: str) -> bool:
    """Create a marker file; return False if it exists already."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
