"""Tell Hydra where the config files are: the package's conf/, then ./conf. Each file is parsed once."""

from __future__ import annotations

import os
from copy import deepcopy
from typing import ClassVar

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin

from src.cli.conf_folder import conf_folders


class UserConf(SearchPathPlugin):
    """A Hydra plugin that adds ./conf, if it exists and is not the package's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append ./conf (called by Hydra)."""
        for folder in conf_folders()[1:]:
            search_path.append(provider="working directory", path=str(folder))


class ParsedOnce(FileConfigSource):
    """Hydra's source of YAML files, which parses each file once: a command composes its config three times."""

    parsed: ClassVar[dict[tuple[str, int, int], ConfigResult]] = {}

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the content of a file (called by Hydra); it is parsed again if the file has changed."""
        path = os.path.join(self.path, self._normalize_file_name(config_path))
        state = os.stat(path)
        key = path, state.st_mtime_ns, state.st_size
        if key not in self.parsed:
            self.parsed[key] = super().load_config(config_path)
        return deepcopy(self.parsed[key])  # Hydra changes what it loads


def register_config_sources() -> None:
    """Register both with Hydra; call this before a config is composed."""
    Plugins.instance().register(UserConf)
    SourcesRegistry.instance().types[ParsedOnce.scheme()] = ParsedOnce  # register() would keep Hydra's own
