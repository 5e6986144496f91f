"""Get data sets: download public ones, import labels of other tools, check every sample."""
