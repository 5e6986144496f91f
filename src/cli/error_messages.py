"""Turn errors from Hydra, user input and the disk into one line: what is wrong, and what to write instead."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from traceback import walk_tb

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from src.cli.argument_keys import name_keys
from src.cli.check_structure import find_blocked_key, is_group, key_of
from src.cli.conf_folder import CONF
from src.cli.help_page import choices, groups
from src.system.address_secrets import hide_secrets
from src.system.command_name import as_typed
from src.system.dotted_keys import walk
from src.system.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
TRACEBACK_HINT = "(HYDRA_FULL_ERROR=1 prints the traceback)"


def explain(error: BaseException, name: str, overrides: Sequence[str], config: DictConfig | None = None) -> str:
    """Return a one-line description of an error from Hydra, OmegaConf or user input, without secrets of addresses.

    Args:
        error: the error.
        name: name of the command.
        overrides: the overrides on the command line.
        config: config of the job that failed; None if it failed before the config was composed.
    """
    return hide_secrets(explain_by_type(error, name, overrides, config))


def explain_by_type(error: BaseException, name: str, overrides: Sequence[str], config: DictConfig | None) -> str:
    """Return the description that fits the type of an error; the arguments are those of ``explain``."""
    if not str(error).strip():
        return reason_of(error)
    if isinstance(error, InstantiationException):
        return explain_instantiation(error, config)
    if isinstance(error, UserError):
        return explain_user_error(error, config)
    if isinstance(error, OverrideParseException):
        return explain_syntax(error)
    if isinstance(error, InterpolationResolutionError):
        return explain_reference(str(error), overrides)
    return explain_composition(error, name, overrides)


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
    GlobalHydra.instance().clear()  # left over from the failed composition
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        defaults = hydra.compose(name, chosen, return_hydra_config=True)
    group = key.partition(".")[0]
    default_choice = defaults.hydra.runtime.choices.get(group)
    OmegaConf.set_struct(defaults, False)
    del defaults["hydra"], defaults["command"]
    if fault := find_blocked_key(key, OmegaConf.to_container(defaults)):
        return f"{key}: {fault}"
    parent, _, last = key.rpartition(".")
    while not (siblings := keys_of(defaults, parent)) and parent:  # the parent does not exist either
        parent, _, last = parent.rpartition(".")
    if "." not in key:
        siblings += [other for other in groups(name) if other not in siblings]
    if last in siblings:
        return ""
    hint = suggest_key(key, last, siblings, name, defaults)
    relevant = [o for o in chosen if key_of(o) in (group, "experiment") or o.startswith("~")]
    if not relevant and not hint and default_choice and "." in key:
        relevant = [f"{group}={default_choice}"]  # which the user may not know
    context = f" with {' '.join(relevant)}" if relevant else ""
    return f"{key}: no such key{context}.{hint} {parent or 'Top level'} has: {', '.join(siblings)}"


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
        hint = keys_named(last, config)
    elif last in groups(name):
        hint = f" Did you mean the group {last}={'|'.join(choices(last))}?"
    return hint or closest(last, siblings)


def keys_named(word: str, config: DictConfig) -> str:
    """Return a hint that suggests nested keys whose last part ends in a word: lr -> optimizer.lr."""
    keys = [key for key, _ in walk(OmegaConf.to_container(config)) if "." in key]
    exact = [key for key in keys if key.rpartition(".")[2] == word]
    exact = exact or [key for key in keys if key.rpartition(".")[2] == f"max_{word}"]  # epochs, steps, time
    found = exact or [key for key in keys if key.endswith(f"_{word}")]
    shallowest = sorted(found, key=lambda key: key.count("."))[:3]
    return f" Did you mean {' or '.join(shallowest)}?" if shallowest else ""


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


def explain_instantiation(error: InstantiationException, config: DictConfig | None) -> str:
    """Return the innermost cause of a failed ``instantiate``, with keys instead of arguments.

    If the message names no argument, it is prefixed with the key of the object that could not be built.
    """
    cause: BaseException = error
    while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, UserError):
        return explain_user_error(cause, config)
    reason = reason_of(cause)
    message, key = name_keys(reason, error, config) if config is not None else (reason, "")
    if message != reason:
        return message
    target = re.search(r"call to target '([^']+)'", str(error))
    where = key or (target[1] if target else "")
    return f"{where}{': ' if where else ''}{message} {TRACEBACK_HINT}"


def explain_user_error(error: UserError, config: DictConfig | None) -> str:
    """Return the message with keys instead of arguments; for a missing data set, also how to download it."""
    if config is None:
        return one_line(str(error))
    message, _ = name_keys(one_line(str(error)), error, config)
    dataset = HydraConfig.get().runtime.choices.get("dataset") if HydraConfig.initialized() else None
    if message.startswith("dataset.root=") and dataset in choices("release"):
        return f"{message}, or get the data: {as_typed('prepare')} dataset={dataset}"
    return message


def explain_reference(text: str, overrides: Sequence[str]) -> str:
    """Return why a reference ${KEY} has no value, prefixed with the overrides that contain it or remove its key."""
    missing = re.search(r"'([\w.]+)' not found", text)
    user = re.search(r"full_key: (\S+)", text)
    if missing and user and (removing := [o for o in overrides if missing[1].startswith(f"{key_of(o)}.")]):
        return f"{' '.join(removing)}: has no {missing[1]}, which {user[1]} needs"
    culprits = [o for o in overrides if "${" in o.partition("=")[2] or (missing and key_of(o) == missing[1])]
    reason = re.sub(r"^\w+ raised while resolving interpolation: ", "", one_line(text.split("full_key")[0]))
    hint = f"; the environment's variable is ${missing[1]}" if missing and missing[1] in os.environ else ""
    return f"{' '.join(culprits)}{': ' if culprits else ''}{reason.strip(chr(34))}{hint}"


def explain_start(error: BaseException, name: str, overrides: Sequence[str]) -> str:
    """Return a one-line description of an error that Hydra raises before a job starts; "" if no override caused it.

    The cause is a choice that is not a string, a list index, or a setting of a sweep's launcher or sweeper.
    """
    valid = [key_of(o) for o in choices_among(overrides)]
    if invalid := [o for o in overrides if is_group(key_of(o)) and key_of(o) not in valid and "(" not in o]:
        return " ".join(invalid) + ": a group takes the name of one of its choices; --help lists them"
    if isinstance(error, ValueError) and "invalid literal for int" in str(error):
        return next((line for o in overrides if (line := no_such_key(key_of(o), name, overrides))), "")
    if "hydra.sweeper.params" in map(key_of, overrides):
        return "hydra.sweeper.params: write what to sweep over as overrides, such as -m optimizer.lr=0.1,0.01"
    if {"-m", "--multirun"} & set(overrides):
        return f"{type(error).__name__}: {one_line(str(error))} {TRACEBACK_HINT}"
    return ""


def explain_disk(error: BaseException, begun: bool) -> str:
    """Return a one-line description of a disk or file error; "" for other errors.

    Args:
        error: the error.
        begun: whether a job has started. Before that, only the run's folder and log are created, so every ``OSError``
            is about these.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    if cause is None:
        return ""
    if begun and cause.errno not in DISK_ERRORS:
        where = f"{cause.filename}: " if cause.filename else ""
        return f"{where}{cause.strerror or reason_of(cause)} {TRACEBACK_HINT}"
    where = cause.filename or (HydraConfig.get().runtime.output_dir if HydraConfig.initialized() else "paths.log_dir")
    remedy = "make room or choose" if cause.errno in (errno.ENOSPC, errno.EDQUOT) else "choose"
    return f"{where}: {cause.strerror or reason_of(cause)}; {remedy} another paths.log_dir"


def explain_library(error: BaseException) -> str:
    """Return a one-line description of an error that Lightning or ``torch.optim`` raised; "" for other errors."""
    frames = list(walk_tb(error.__traceback__))
    raised_by = frames[-1][0].f_globals.get("__name__", "") if frames else ""
    if raised_by.startswith("torch.optim.") and isinstance(error, (ValueError, TypeError, ArithmeticError)):
        key = "scheduler" if raised_by == "torch.optim.lr_scheduler" else "optimizer"
        return f"{key}: {reason_of(error)} {TRACEBACK_HINT}"
    is_check = isinstance(error, (ValueError, TypeError, RuntimeError)) and raised_by.partition(".")[0] == "lightning"
    return f"{reason_of(error)} {TRACEBACK_HINT}" if is_check else ""


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


def reason_of(error: BaseException) -> str:
    """Return an error's message in one line, or its type if it has no message."""
    return one_line(str(error)) or f"{type(error).__name__} without a message {TRACEBACK_HINT}"


def one_line(text: str) -> str:
    """Return a message in one line: the last line of a worker's traceback, otherwise all lines joined."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if "Original Traceback" in text:
        return lines[-1].partition(": ")[2] or lines[-1]
    return "; ".join(lines)
