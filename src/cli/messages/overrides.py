"""Explain overrides that Hydra cannot parse or compose, and suggest what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf

from src.cli.conf_folder import CONF
from src.cli.config.structure import find_blocked_key, is_group, key_of
from src.cli.deeplab import commands
from src.cli.help_page import choices, groups
from src.system.address_secrets import hide_secrets
from src.system.dotted_keys import walk


def explain_syntax(error: OverrideParseException) -> str:
    """Return why an override cannot be parsed, and how to write it."""
    if "=" not in error.override:
        return f"{error.override}: not KEY=VALUE; write KEY=VALUE or GROUP=CHOICE, such as head=largefov"
    reason = one_line(str(error).split("See https")[0])
    is_public = hide_secrets(error.override) == error.override
    quoted = quote_value(error.override) if is_public else "'KEY=\"VALUE\"'"
    return f"{error.override}: not KEY=VALUE as Hydra reads it ({reason}); quote odd values: {quoted}"


def explain_composition(error: BaseException, name: str, overrides: Sequence[str]) -> str:
    """Return why the overrides do not fit the config: an unknown choice or key, or a value of the wrong type.

    Hydra has no exception classes for these errors, so they are recognised by their messages.
    """
    text = str(error)
    if match := re.search(r"Could not (?:find|load) '([^']+)'", text):
        group, _, choice = match[1].rpartition("/")
        if group in ("hydra/launcher", "hydra/sweeper"):
            return f'{group}={choice} is not installed: pip install "deeplab-v1[sweep]"'
        hint = f"{closest(choice, choices(group))} {group} may be: {', '.join(choices(group)) or 'nothing'}"
        return f"{group}={choice}: no such choice.{hint}"
    if match := re.search(r"Could not delete (?:from config\. )?'([^'@=]+)|Error merging override ~([^\s=]+)", text):
        key = match[1] or match[2]
        return ("" if key in groups(name) or "/" in key else no_such_key(key, name, overrides)) or explain_removal(key)
    if match := re.search(r"Multiple values for ([^.\s]+)\.", text):
        return f"{match[1]} is already chosen: remove the + before {match[1]}="
    if match := re.search(r"(?:Could not override '|Error merging override )([^'\s]+)", text):
        takes_list = "with ListConfig" in str(error.__cause__)
        key = key_of(match[1])
        reason = f"{key}: must be a list, in brackets: '{key}=[a,b]'" if takes_list else one_line(text)
        return no_such_key(key, name, overrides) or reason
    if match := re.search(r"Ambiguous value for argument '([^']+)'", text):
        several = f"{match[1]}: several values need -m (one run for each) or brackets [a,b] (a list)"
        return no_such_key(key_of(match[1]), name, overrides) or several
    return one_line(text)


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


def no_such_key(key: str, name: str, overrides: Sequence[str]) -> str:
    """Return an error message that lists the existing keys next to ``key``; "" if the key exists.

    The keys come from the config with the groups that the overrides choose.
    """
    known_groups = {*groups(name), "hydra", "paths"}  # choosing another command's group would fail again
    chosen = [o for o in choices_among(overrides) if o.startswith("+") or key_of(o).partition("/")[0] in known_groups]
    defaults = composed_defaults(name, chosen)
    group = key.partition(".")[0]
    default_choice = defaults.pop("hydra").runtime.choices.get(group)
    if fault := find_blocked_key(key, OmegaConf.to_container(defaults)):
        return f"{key}: {fault}"
    parent, _, last = key.rpartition(".")
    while not (siblings := keys_of(defaults, parent)) and parent:  # the parent does not exist either
        parent, _, last = parent.rpartition(".")
    if "." not in key:
        siblings += [other for other in groups(name) if other not in siblings]
    if last in siblings:
        return ""
    owners = [] if parent else commands_with(last)
    if owners and name not in owners:  # a similar key of this command would mislead
        found = nested_keys(last, defaults)[:3]
        hint = f" Did you mean {' or '.join(found)}?" if found else ""
        kind, verb = ("group" if is_group(last) else "key"), ("has" if len(owners) == 1 else "have")
        return (
            f"{key}: not a {kind} of {name}; {join_names(owners)} {verb} it.{hint} Top level has: {', '.join(siblings)}"
        )
    hint = suggest_key(key, last, siblings, name, defaults)
    relevant = [o for o in chosen if key_of(o) in (group, "experiment") or o.startswith("~")]
    if not relevant and not hint and default_choice and "." in key:
        relevant = [f"{group}={default_choice}"]  # which the user may not know
    context = f" with {' '.join(relevant)}" if relevant else ""
    return f"{key}: no such key{context}.{hint} {parent or 'Top level'} has: {', '.join(siblings)}"


def composed_defaults(name: str, choices: Sequence[str]) -> DictConfig:
    """Return the config of a command with choices from groups, and with Hydra's own, but without the command's name."""
    GlobalHydra.instance().clear()  # left over from a failed composition
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        defaults = hydra.compose(name, list(choices), return_hydra_config=True)
    OmegaConf.set_struct(defaults, False)
    del defaults["command"]
    return defaults


def commands_with(key: str) -> list[str]:
    """Return the commands that have a top-level key or a group of this name."""
    return [
        name
        for name in commands()
        if key in (*groups(name), *OmegaConf.load(CONF / f"{name}.yaml")) and key != "command"
    ]


def join_names(names: Sequence[str]) -> str:
    """Return names as in a sentence: "evaluate, predict and tune_crf"."""
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])


def suggest_key(key: str, last: str, siblings: Sequence[str], name: str, config: DictConfig) -> str:
    """Return a hint that suggests an existing key for one that does not exist; "" if nothing is similar.

    Args:
        key: the key as the user wrote it.
        last: the first part of the key that does not exist.
        siblings: the keys that exist at that level.
        name: name of the command.
        config: the composed config.
    """
    hint = ""
    if "." not in key:
        found = nested_keys(last, config)[:3]
        hint = f" Did you mean {' or '.join(found)}?" if found else ""
    elif last in groups(name):
        hint = f" Did you mean the group {last}={'|'.join(choices(last))}?"
    return hint or closest(last, siblings)


def nested_keys(word: str, config: DictConfig) -> list[str]:
    """Return the nested keys whose last part is a word, or else ends in it, shallowest first: lr -> optimizer.lr."""
    keys = [key for key, _ in walk(OmegaConf.to_container(config)) if "." in key and not key.startswith("hydra.")]
    exact = [key for key in keys if key.rpartition(".")[2] == word]
    exact = exact or [key for key in keys if key.rpartition(".")[2] == f"max_{word}"]  # epochs, steps, time
    found = exact or [key for key in keys if key.endswith(f"_{word}")]
    return sorted(found, key=lambda key: key.count("."))


def choices_among(overrides: Sequence[str]) -> Iterator[str]:
    """Yield the overrides that select an existing choice of a group, or remove a group.

    A list of choices is kept (logger=[csv,wandb]); for a sweep, its first choice is yielded (head=msc,vanilla:
    head=msc).
    """
    for override in overrides:
        key, _, value = override.partition("=")
        if is_group(key_of(override)):
            names = re.sub(r"^choice\(|[\[\])'\"\s]", "", value).split(",")
            if override.startswith("~"):
                yield override
            elif set(names) <= {*choices(key_of(override)), *(("",) if value == "[]" else ())}:
                yield override if value.startswith("[") else f"{key}={names[0]}"


def keys_of(config: DictConfig, key: str) -> list[str]:
    """Return the sorted keys below a key, or at the top level for ""; an empty list if it is not a mapping."""
    node = OmegaConf.select(config, key) if key else config
    return sorted(map(str, node)) if isinstance(node, DictConfig) else []


def closest(word: str, words: Iterable[str]) -> str:
    """Return a hint with the word that ``word`` misspells or begins; "" if there is none."""
    words = list(words)
    longer = [other for other in words if len(word) > 2 and other.startswith(word)]
    found = longer if len(longer) == 1 else difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f" Did you mean {found[0]}?" if found else ""


def one_line(text: str) -> str:
    """Return a message in one line: the last line of a worker's traceback, otherwise all lines joined."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if "Original Traceback" in text:
        return lines[-1].partition(": ")[2] or lines[-1]
    return "; ".join(lines)
