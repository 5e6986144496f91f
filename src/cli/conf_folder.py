"""Find the folders of config files (the package's conf/, then ./conf) and the commands that have one."""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
INSTALLED = (PACKAGE / "conf").is_dir()  # pip installs conf/ inside the package; in a checkout it is next to src/
CONF = PACKAGE / "conf" if INSTALLED else PACKAGE.parent / "conf"
USER_CONF = Path.cwd() / "conf"  # read at the start, because a job may change the working directory (hydra.job.chdir)


def conf_folders() -> list[Path]:
    """Return the config folders: the package's, whose files take precedence, then ./conf if it exists."""
    return [CONF, *([USER_CONF] if USER_CONF.is_dir() and not USER_CONF.samefile(CONF) else [])]


def commands() -> list[str]:
    """Return the sorted names of the commands; each has a module in src/ and a YAML file in conf/."""
    return sorted(path.stem for path in CONF.glob("*.yaml") if (PACKAGE / f"{path.stem}.py").is_file())


def writable_conf() -> Path:
    """Return the folder that commands write YAML to: conf/ of a checkout, or ./conf for an installed package."""
    return USER_CONF if INSTALLED else CONF
