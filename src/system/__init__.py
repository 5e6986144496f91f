"""The machine below: files, processes, hardware."""
