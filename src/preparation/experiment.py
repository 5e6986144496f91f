"""Write a proposal as conf/experiment/NAME.yaml."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from src.preparation.proposal import Proposal, Setting
from src.system.command_name import as_typed


def experiment_yaml(proposal: Proposal, name: str) -> str:
    """Return the content of conf/experiment/NAME.yaml."""
    lines = [
        "# @package _global_",
        f"# A starting point for {name}, proposed from its fingerprint; change any line.",
        f"#   {as_typed('train')} experiment={name}",
        *(f"# {remark}" for remark in proposal.remarks),
        "defaults:",
        *(f"  - override /{key}: {commented(setting)}" for key, setting in proposal.groups.items()),
        *nested_lines(proposal.values),
    ]
    return "\n".join(lines) + "\n"


def nested_lines(values: dict[str, Setting]) -> Iterator[str]:
    """Yield the YAML lines that set values at dotted keys."""
    before: list[str] = []
    for key in sorted(values, key=lambda key: (key.split(".")[0], key.count("."), key)):
        *parents, last = key.split(".")
        if parents[:1] != before[:1]:
            yield ""
        for depth, parent in enumerate(parents):
            if before[: depth + 1] != parents[: depth + 1]:
                yield f"{'  ' * depth}{parent}:"
        before = parents
        yield f"{'  ' * len(parents)}{last}: {commented(values[key])}"


def commented(setting: Setting) -> str:
    """Return a value as YAML, with its reason as a comment."""
    text = yaml.safe_dump(setting.value, default_flow_style=True).removesuffix("...\n").strip()
    return f"{text} # {setting.reason}" if setting.reason else text
