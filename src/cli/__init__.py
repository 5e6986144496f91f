"""The command line: compose a config, check it, run an entry point, and explain errors."""
