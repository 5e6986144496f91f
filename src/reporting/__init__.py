"""Finished runs side by side: read, compared, drawn on one page."""
