"""The command line: compose a config, check it, run an entry point, and explain errors.

- ``deeplab``, ``command``, ``arguments``, ``run``: from the arguments of a command to its entry point.
- ``run_folder``: the folder of a run, until the run has begun.
- ``compose``: the same config in Python.
- ``config``: what a composed config goes through; ``complete`` has the steps.
- ``messages``: errors in one line, with the remedy.
- ``sweep``: the jobs of a multirun.
- ``conf_folder``, ``conf_groups``, ``config_sources``, ``resolvers``: the YAML files in conf/.
- ``overrides``, ``references``, ``recompose``: what several of these need.
- ``help_page``: the page of --help. ``crf_presets``: the presets that commands write.
"""
