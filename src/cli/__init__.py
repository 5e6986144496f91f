"""The command line: compose a config, check it, run a recipe, explain what went wrong."""
