"""Files, processes and hardware: what the other packages need from the operating system."""
