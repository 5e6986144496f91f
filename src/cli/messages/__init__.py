"""Turn errors into one line: what is wrong, and what to write instead."""
