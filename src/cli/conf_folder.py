"""Where YAML is looked for: in the package's own conf/, then in ./conf."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
INSTALLED = (PACKAGE / "conf").is_dir()  # pip install copies conf/ into the package; in a checkout it is beside src/
CONF = PACKAGE / "conf" if INSTALLED else PACKAGE.parent / "conf"
USER_CONF = Path.cwd() / "conf"  # of where the process starts; a job may change its folder (hydra.job.chdir)


def conf_folders() -> list[Path]:
    """Return the folders that hold YAML groups: the package's, whose files win, then ./conf where it is another."""
    return [CONF, *([USER_CONF] if USER_CONF.is_dir() and not USER_CONF.samefile(CONF) else [])]


def writable_conf() -> Path:
    """Return the folder that takes YAML written by a command: conf/ of a checkout; ./conf for an installed package."""
    return USER_CONF if INSTALLED else CONF
