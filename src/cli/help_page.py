"""The part of --help that is the command's own: its keys, its groups and their choices, as conf/ has them."""

import re
import textwrap

from omegaconf import DictConfig, OmegaConf

from src.cli.conf_folder import CONF, conf_folders

KEY = re.compile(r"^(?!command:)(\w+): (\S.*?)(?:\s+# (.*))?$", re.MULTILINE)  # of the top level, with its comment


def help_page(name: str) -> str:
    """What conf/NAME.yaml lets a user set."""
    settings = KEY.findall((CONF / f"{name}.yaml").read_text())
    keys = [f"{f'{key}={value}':<30}  {comment}".rstrip() for key, value, comment in settings]
    lines = [
        textwrap.fill(f"{group}: {', '.join(choices(group))}", 118, subsequent_indent="  ", break_on_hyphens=False)
        for group in groups(name)
    ]
    parts = {"Keys, their defaults and what they mean": keys, "Groups and their choices": lines}
    page = "\n\n".join(f"{title}\n\n" + "\n".join(part) for title, part in parts.items() if part)
    return page.replace("$", "$$")  # Hydra fills in a template


def groups(name: str) -> list[str]:
    """What conf/NAME.yaml lets a user choose from."""
    entries = [entry for entry in OmegaConf.load(CONF / f"{name}.yaml").defaults if isinstance(entry, DictConfig)]
    return sorted({str(group).removeprefix("optional ") for entry in entries for group in entry} - {"hydra", "paths"})


def choices(group: str) -> list[str]:
    """Return the names of a group's YAML files, ./conf's among them; one that others only build on begins with _."""
    return sorted({path.stem for folder in conf_folders() for path in (folder / group).glob("[!_]*.yaml")})
