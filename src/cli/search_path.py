"""Add ./conf to Hydra's search path, after the package's conf/."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from src.cli.conf_folder import conf_folders


class UserConf(SearchPathPlugin):
    """A Hydra plugin that adds ./conf, if it exists and is not the package's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append ./conf (called by Hydra)."""
        for folder in conf_folders()[1:]:
            search_path.append(provider="working directory", path=str(folder))


def register_search_path() -> None:
    """Register the plugin with Hydra; call this before a config is composed."""
    Plugins.instance().register(UserConf)
