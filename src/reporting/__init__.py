"""Reports: read finished runs, compare them and show them on one page."""
