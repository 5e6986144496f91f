"""Get data sets: download public ones, import labels from other tools, check every sample."""
