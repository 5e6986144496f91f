"""The page that --help prints: what a command does, its keys, its groups and their choices, as conf/ has them."""

import re
import textwrap

from omegaconf import DictConfig, OmegaConf

from src.cli.conf_folder import CONF, conf_folders

KEY = re.compile(r"^(?!command:)(\w+): (\S.*?)(?:\s+# (.*))?$", re.MULTILINE)  # of the top level, with its comment


MORE = """\
More: --cfg job prints the whole config, --info defaults how it came about, -c job --resolve with all references
filled in. HYDRA_FULL_ERROR=1 shows where an error comes from."""


def help_page(name: str) -> str:
    """Return what ``python -m src.NAME --help`` prints.

    Hydra would print it from a template too, but composes the config and lists every group of its own first: a second.
    """
    about = OmegaConf.load(CONF / f"{name}.yaml").hydra.help
    usage = f"Usage: python -m src.{name} [GROUP=CHOICE ...] [KEY=VALUE ...]"
    return "\n\n".join([f"{about.header}\n{usage}", *settings(name), about.footer, MORE])


def settings(name: str) -> list[str]:
    """Return the titled lists of what conf/NAME.yaml lets a user set: its keys, then its groups."""
    found = KEY.findall((CONF / f"{name}.yaml").read_text())
    keys = [f"{f'{key}={value}':<30}  {comment}".rstrip() for key, value, comment in found]
    lines = [
        textwrap.fill(f"{group}: {', '.join(choices(group))}", 118, subsequent_indent="  ", break_on_hyphens=False)
        for group in groups(name)
    ]
    parts = {"Keys, their defaults and what they mean": keys, "Groups and their choices": lines}
    return [f"{title}\n\n" + "\n".join(part) for title, part in parts.items() if part]


def groups(name: str) -> list[str]:
    """What conf/NAME.yaml lets a user choose from."""
    entries = [entry for entry in OmegaConf.load(CONF / f"{name}.yaml").defaults if isinstance(entry, DictConfig)]
    return sorted({str(group).removeprefix("optional ") for entry in entries for group in entry} - {"hydra", "paths"})


def choices(group: str) -> list[str]:
    """Return the names of a group's YAML files, ./conf's among them; one that others only build on begins with _."""
    return sorted({path.stem for folder in conf_folders() for path in (folder / group).glob("[!_]*.yaml")})
