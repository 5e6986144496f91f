"""The --help page: what a command does, its keys, its groups and their choices, all read from conf/."""

import textwrap

from omegaconf import OmegaConf

from src.cli.conf_folder import CONF
from src.cli.conf_groups import choices, commented_keys, groups
from src.system.command_name import as_typed

MORE = """\
More: --cfg job prints the whole config, --cfg job --resolve the config with all references replaced by their values,
and --info defaults the files that it is composed of. HYDRA_FULL_ERROR=1 prints the traceback of an error."""


def help_page(name: str) -> str:
    """Return what ``python -m src.NAME --help`` prints.

    Hydra's own help takes a second longer, because it composes the config and lists all of Hydra's groups.
    """
    about = OmegaConf.load(CONF / f"{name}.yaml").hydra.help
    usage = f"Usage: {as_typed(name)} [GROUP=CHOICE ...] [KEY=VALUE ...]"
    examples = about.footer.replace(f"python -m src.{name}", as_typed(name))
    return "\n\n".join([f"{about.header}\n{usage}", *settings(name), examples, MORE])


def settings(name: str) -> list[str]:
    """Return titled lists of the keys and groups in conf/NAME.yaml."""
    found = commented_keys(CONF / f"{name}.yaml")
    keys = [f"{f'{key}={value}':<30}  {comment}".rstrip() for key, value, comment in found if key != "command"]
    lines = [
        textwrap.fill(f"{group}: {', '.join(choices(group))}", 118, subsequent_indent="  ", break_on_hyphens=False)
        for group in groups(name)
    ]
    parts = {"Keys, their defaults and what they mean": keys, "Groups and their choices": lines}
    return [f"{title}\n\n" + "\n".join(part) for title, part in parts.items() if part]
