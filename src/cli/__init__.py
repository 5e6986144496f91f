"""The command line: compose a config, check it, run a recipe, and explain errors."""
