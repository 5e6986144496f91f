"""Explain overrides that Hydra cannot parse or compose, and suggest what to write instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hydra.errors import OverrideParseException
from omegaconf import ListConfig, OmegaConf

from src.cli.conf_folder import CONF
from src.cli.conf_groups import choices, groups
from src.cli.messages.unknown_key import choices_of, compose_choices, explain_unknown_key
from src.cli.overrides import key_of
from src.system.address_secrets import hide_secrets
from src.system.errors import one_line
from src.system.suggestions import did_you_mean

LISTS = ("callbacks", "logger", "experiment", "crf.sxy")  # which take a list, though the default is none

# Hydra and OmegaConf have no exception classes for these errors, so they are recognised by their messages.
NO_CHOICE = re.compile(r"Could not (?:find|load) '([^']+)'")
NO_REMOVAL = re.compile(r"Could not delete (?:from config\. )?'([^'@=]+)|Error merging override ~([^\s=]+)")
CHOSEN_TWICE = re.compile(r"Multiple values for ([^.\s]+)\.")
NO_OVERRIDE = re.compile(r"(?:Could not override '|Error merging override )([^'\s]+)")
SEVERAL_VALUES = re.compile(r"Ambiguous value for argument '([^']+)'")
NO_CONFIG = re.compile(r"Cannot find primary config '([^']*)'")
NO_CONFIG_PATH = re.compile(r"config directory '([^']*)' exists and readable")
NO_CONFIG_DIR = re.compile(r"Additional config directory '([^']*)' not found")
WRONG_KIND = re.compile(r"Cannot merge DictConfig with ListConfig[\s\S]*object_type=(list|dict)")
KINDS = {"list": "a list, in brackets: '{}=[a,b]'", "dict": "a mapping, in braces: '{}={{a: b}}'"}


def explain_syntax(error: OverrideParseException, command: str) -> str:
    """Return why an override of a command cannot be parsed, and how to write it."""
    if "=" not in error.override:
        return (
            f"{error.override}: not KEY=VALUE; write KEY=VALUE or GROUP=CHOICE, such as {example_of(command)}, and "
            "quote values that contain spaces: 'KEY=A B'"
        )
    key, _, value = error.override.partition("=")
    if value.count("[") > value.count("]"):
        return f"{error.override}: the list has no end; quote a list that contains spaces: '{key}=[A, B]'"
    reason = one_line(str(error).split("See https")[0])
    is_public = hide_secrets(error.override) == error.override
    quoted = quote_value(error.override) if is_public else "'KEY=\"VALUE\"'"
    return (
        f"{error.override}: not KEY=VALUE as Hydra reads it ({reason}); quote values with special characters: {quoted}"
    )


def example_of(command: str) -> str:
    """Return an example of an override: a choice of the head, or else the first keys without a default."""
    if "head" in groups(command):
        return "head=largefov"
    config: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{command}.yaml"))
    keys = [key for key, value in config.items() if value is None]
    return " or ".join(f"{key}=VALUE" for key in keys[:2]) or "paths.log_dir=FOLDER"


def explain_composition(error: BaseException, name: str, overrides: Sequence[str]) -> str:
    """Return why the overrides do not fit the config: an unknown choice or key, or a value of the wrong type."""
    text = str(error)
    if line := explain_config_option(text):
        return line
    if match := NO_CHOICE.search(text):
        group, choice = split_choice(match[1], overrides)
        if group in ("hydra/launcher", "hydra/sweeper"):
            return f'{group}={choice} is not installed: pip install "deeplab-v1[sweep]"'
        if group == "dataset" and "/" in choice:
            return f"dataset={choice}: no such choice; for a folder of your own: dataset=folder dataset.root={choice}"
        hint = did_you_mean(choice, choices(group))
        names = ", ".join(choices(group)) or "nothing"
        own = "" if hint else f"; conf/{group}/{choice}.yaml in this folder would define it"
        return f"{group}={choice}: no such choice.{hint} {group} may be: {names}{own}"
    if match := NO_REMOVAL.search(text):
        key = match[1] or match[2]
        is_choice = key in groups(name) or "/" in key
        return ("" if is_choice else explain_unknown_key(key, name, overrides)) or explain_removal(key)
    if match := CHOSEN_TWICE.search(text):
        return f"{match[1]} is already chosen: remove the + before {match[1]}="
    if match := NO_OVERRIDE.search(text):
        key, kind = key_of(match[1]), WRONG_KIND.search(str(error.__cause__))
        reason = f"{key}: must be {KINDS[kind[1]].format(key)}" if kind else one_line(text)
        return explain_unknown_key(key, name, overrides) or reason
    if match := SEVERAL_VALUES.search(text):
        key = key_of(match[1])
        return explain_unknown_key(key, name, overrides) or explain_several_values(key, name, overrides)
    return one_line(text)


def explain_config_option(text: str) -> str:
    """Return why Hydra cannot use an option about the place of configs, and what to write; "" for other errors."""
    if match := NO_CONFIG.search(text):
        remedy = "leave it out: the command has its own; settings are written KEY=VALUE, or in conf/GROUP/NAME.yaml"
        return f"--config-name={match[1]}: no such config; {remedy} for GROUP=NAME"
    if match := NO_CONFIG_PATH.search(text):
        return f"--config-path={match[1]}: no such folder; leave it out, or add a folder of your own with --config-dir"
    if match := NO_CONFIG_DIR.search(text):
        return f"--config-dir={match[1]}: no such folder; give one that holds GROUP/NAME.yaml, for GROUP=NAME"
    return ""


def split_choice(path: str, overrides: Sequence[str]) -> tuple[str, str]:
    """Return the group and the choice of a config file that does not exist, such as head/largefv."""
    for override in overrides:
        key, value = key_of(override), override.partition("=")[2].strip("'\"")
        if f"{key}/{value}" == path:
            return key, value  # the choice may be a path
    group, _, choice = path.rpartition("/")
    return group, choice


def explain_several_values(key: str, command: str, overrides: Sequence[str]) -> str:
    """Return how to write several values of a key or group: as a sweep or, where it takes one, as a list."""
    default = OmegaConf.select(compose_choices(command, choices_of(command, overrides)), key)
    takes_list = key in LISTS or isinstance(default, ListConfig)
    brackets = f", or brackets, for a list: '{key}=[a,b]'" if takes_list else ""
    return f"{key}: several values need -m, for one run with each{brackets}"


def explain_removal(key: str) -> str:
    """Return why ~KEY cannot remove a key that exists, and what to write instead."""
    if names := choices(key):
        return f"~{key}: cannot be removed; choose {key}={'|'.join(names)}"
    return f"~{key}: has no value of its own, so it cannot be removed; leave it out, or set {key}=VALUE"


def quote_value(override: str) -> str:
    """Return an override quoted for both the shell and Hydra; in a plain list, each value is quoted."""
    key, _, value = override.partition("=")
    if re.search(r"['\"\\{]|\[.*\[", value):  # partly quoted, or nested
        return "'KEY=\"VALUE\"'"
    if value.startswith("[") and value.endswith("]"):
        return f"""'{key}=[{",".join(f'"{part.strip()}"' for part in value[1:-1].split(",") if part.strip())}]'"""
    return f"""'{key}="{value}"'"""
