"""Hydra's search path: ./conf after the package's conf/."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from src.cli.conf_folder import conf_folders


class UserConf(SearchPathPlugin):
    """Add ./conf, where there is one that is not the package's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in conf_folders()[1:]:
            search_path.append(provider="working directory", path=str(folder))


def register_search_path() -> None:
    """Tell Hydra about ./conf; to be called before a config is composed."""
    Plugins.instance().register(UserConf)
