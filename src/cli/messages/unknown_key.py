"""Explain keys that do not exist or cannot be set, and suggest the key that was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from src.cli.conf_folder import CONF, commands
from src.cli.conf_groups import choices, groups, is_group
from src.cli.overrides import as_written, key_of, valid_choices
from src.cli.references import REFERENCE
from src.system.dotted_keys import walk
from src.system.suggestions import did_you_mean


def explain_unknown_key(key: str, command: str, overrides: Sequence[str]) -> str:
    """Return an error message that lists the existing keys next to ``key``; "" if the key exists.

    The keys come from the config with the groups that the overrides choose.
    """
    chosen = choices_of(command, overrides)
    defaults = compose_choices(command, chosen)
    default_choices = defaults.pop("hydra").runtime.choices
    if reason := explain_blocked_key(key, OmegaConf.to_container(defaults)):
        return f"{key}: {reason}"
    parent, last, siblings = find_level(key, command, defaults)
    if last in siblings:
        group = key.partition(".")[0]
        if key == group or parent or group not in groups(command) or keys_below(group, defaults):
            return ""
        has_it = choices_with(key, command) or f", which has no keys; choose another {group}"
        return f"{key}: no such key{name_choices(key, chosen, default_choices)}{has_it}"
    level = f"{parent or 'Top level'} has: {', '.join(siblings)}"
    if not parent and (reason := explain_key_of_other_command(key, command, defaults)):
        return f"{reason} {level}"
    if hint := suggest_elsewhere(key, last, command, defaults):  # which is sure, so that no list is needed
        return f"{key}: no such key{name_choices(key, chosen, {})}.{hint}"
    hint = did_you_mean(last, siblings)
    others = "" if hint else choices_with(key, command)
    return f"{key}: no such key{name_choices(key, chosen, {} if hint else default_choices)}{others}.{hint} {level}"


def choices_with(key: str, command: str) -> str:
    """Return "; GROUP=CHOICE|CHOICE has it", the choices of its group that have a key; "" if there are none."""
    group, _, nested = key.partition(".")
    if not nested or group not in groups(command):
        return ""
    parent, _, last = key.rpartition(".")
    names = []
    for name in choices(group):
        with suppress(Exception):  # a broken file of the user's, which has nothing to do with the key
            if last in keys_below(parent, compose_choices(command, [f"{group}={name}"])):
                names.append(name)
    return f"; {group}={'|'.join(names)} has it" if names else ""


def choices_of(command: str, overrides: Sequence[str]) -> list[str]:
    """Return the overrides that choose from groups of a command; choosing from another command's would fail again."""
    known = {*groups(command), "hydra", "paths"}
    return [o for o in valid_choices(overrides) if o.startswith("+") or key_of(o).partition("/")[0] in known]


def find_level(key: str, command: str, defaults: DictConfig) -> tuple[str, str, list[str]]:
    """Return the deepest part of a key that exists, the next part, and the keys (and groups) that exist next to it."""
    parent, _, last = key.rpartition(".")
    while not (siblings := keys_below(parent, defaults)) and parent:
        parent, _, last = parent.rpartition(".")
    if "." not in key:
        siblings += [group for group in groups(command) if group not in siblings]
    return parent, last, siblings


def explain_key_of_other_command(key: str, command: str, defaults: DictConfig) -> str:
    """Return which other commands have the first part of a key; "" if none has it, or this command too."""
    first = key.partition(".")[0]
    owners = commands_with(first)
    if not owners or command in owners:
        return ""
    found = nested_keys(first, defaults)[:3]
    hint = f" Did you mean {' or '.join(found)}?" if found else ""
    kind, verb = ("group" if is_group(first) else "key"), ("has" if len(owners) == 1 else "have")
    return f"{key}: not a {kind} of {command}; {join_names(owners)} {verb} it.{hint}"


def name_choices(key: str, chosen: Sequence[str], default_choices: Mapping[str, str]) -> str:
    """Return " with GROUP=CHOICE", the choices that decide whether a key exists; "" if there are none.

    Args:
        key: a key that does not exist.
        chosen: the choices that the user made.
        default_choices: the choices of the config by group, to name where the user made none.
    """
    group, _, nested = key.partition(".")
    relevant = [o for o in chosen if key_of(o) in (group, "experiment") or o.startswith("~")]
    if not relevant and nested and (choice := default_choices.get(group)):
        relevant = [f"{group}={choice}"]
    return f" with {' '.join(relevant)}" if relevant else ""


def compose_choices(command: str, choices: Sequence[str]) -> DictConfig:
    """Return the config of a command with choices from groups, and with Hydra's own, but without the command's name."""
    GlobalHydra.instance().clear()  # left over from a failed composition
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose(command, list(choices), return_hydra_config=True)
    OmegaConf.set_struct(config, False)
    del config["command"]
    return config


def explain_blocked_key(key: str, defaults: Any) -> str:
    """Return why a key cannot be set (it lies below a reference or a plain value); "" if it can.

    Args:
        key: a dotted key.
        defaults: the unresolved config without the override of the key, as nested dicts and lists.
    """
    node, parts = defaults, key.split(".")
    for depth, part in enumerate(parts[:-1], 1):
        if part not in node:
            return ""
        node, above = node[part], ".".join(parts[:depth])
        if reference := REFERENCE.fullmatch(str(node)):
            return f"{above} is {node}; set {'.'.join([reference[1], *parts[depth:]])}"
        if isinstance(node, list):
            if parts[depth].isdecimal() and int(parts[depth]) < len(node):
                return ""
            return f"{above} is a list; its indices are 0 to {len(node) - 1}"
        if not isinstance(node, dict):
            return f"{above} is a value ({as_written(node)}) and has no keys"
    return ""


def commands_with(key: str) -> list[str]:
    """Return the commands that have a top-level key or a group of this name."""
    return [
        command
        for command in commands()
        if key in (*groups(command), *OmegaConf.load(CONF / f"{command}.yaml")) and key != "command"
    ]


def join_names(names: Sequence[str]) -> str:
    """Return names as in a sentence: "evaluate, predict and tune_crf"."""
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])


def suggest_elsewhere(key: str, last: str, command: str, config: DictConfig) -> str:
    """Return a hint that suggests the key or group of the same name at another level; "" if there is none.

    Args:
        key: the key as the user wrote it.
        last: the first part of the key that does not exist.
        command: name of the command.
        config: the composed config.
    """
    if "." not in key:
        found = nested_keys(last, config)[:3]
        return f" Did you mean {' or '.join(found)}?" if found else ""
    return f" Did you mean the group {last}={'|'.join(choices(last))}?" if last in groups(command) else ""


def suggest_setting(option: str, value: str, command: str) -> str:
    """Return KEY=VALUE with the only key that an option may mean; "" if there are none or several.

    Args:
        option: the option as the user wrote it, such as "--max-steps".
        value: its value; "" if it has none.
        command: name of the command.
    """
    key = option.lstrip("-").replace("-", "_")
    config = compose_choices(command, [])
    parent, _, last = key.rpartition(".")
    exists = last in keys_below(parent, config) or key in groups(command)
    keys = [key] if exists else nested_keys(key, config)
    return f"{keys[0]}={value or 'VALUE'}" if len(keys) == 1 else ""


def keys_below(key: str, config: DictConfig) -> list[str]:
    """Return the sorted keys below a key, or at the top level for ""; an empty list if it is not a mapping."""
    node = OmegaConf.select(config, key) if key else config
    return sorted(map(str, node)) if isinstance(node, DictConfig) else []


def nested_keys(word: str, config: DictConfig) -> list[str]:
    """Return the nested keys whose last part is a word, or else ends in it, shallowest first: lr -> optimizer.lr."""
    keys = [key for key, _ in walk(OmegaConf.to_container(config)) if "." in key and not key.startswith("hydra.")]
    exact = [key for key in keys if key.rpartition(".")[2] == word]
    exact = exact or [key for key in keys if key.rpartition(".")[2] == f"max_{word}"]  # epochs, steps, time
    found = exact or [key for key in keys if key.endswith(f"_{word}")]
    return sorted(found, key=lambda key: key.count("."))
