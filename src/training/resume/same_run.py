"""Check that a resumed run has the settings of the run that wrote its checkpoint."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.models.weights.torch_file import read_state
from src.runs.moved_names import with_new_names
from src.runs.resumed_settings import IGNORED, REFUSED
from src.system.dotted_keys import flattened
from src.system.errors import UserError
from src.training.memory_format import saved_memory_format
from src.training.segmenter import Segmenter

log = logging.getLogger(__name__)

OPTIONAL_PART = re.compile(r"(crf|callbacks\.\w+)\._target_")  # parts that one of two runs may lack
# Settings that a checkpoint restores, regardless of the config
RESTORED = ("classes", "optimizer", "scheduler", "memory_format")

# The entries of a checkpoint that Lightning reads when it resumes, with their types
RESUMABLE = {
    **dict.fromkeys(("hyper_parameters", "state_dict", "loops", "callbacks"), dict),
    **dict.fromkeys(("optimizer_states", "lr_schedulers"), list),
    **dict.fromkeys(("epoch", "global_step"), int),
}


def check_same_run(checkpoint: str, segmenter: Segmenter, config: DictConfig) -> Mapping[str, Any]:
    """Compare a run with the run that wrote a checkpoint, log harmless differences, and return the checkpoint.

    The checkpoint stores the settings of the network, the optimiser and the schedule. The other settings are in
    config.yaml in the run's folder, if it still exists.

    Args:
        checkpoint: path of the checkpoint.
        segmenter: the Segmenter of the run that resumes.
        config: the config of the run that resumes.

    Returns:
        The content of the checkpoint.

    Raises:
        UserError: if the file is not a checkpoint, or a difference would change the network or the remaining steps.
    """
    content = read_state(Path(checkpoint))
    if lacking := [key for key, kind in RESUMABLE.items() if not isinstance(content.get(key), kind)]:
        raise UserError(
            f"ckpt={checkpoint}: not a checkpoint to resume from (it has no {', '.join(lacking)}); to load "
            "only its weights, use init_from="
        )
    record = Path(checkpoint).parent.parent / "config.yaml"
    configs = (OmegaConf.load(record) if record.is_file() else config, config)
    plain = [OmegaConf.to_container(each, resolve=True) for each in configs]
    nested = with_new_names([content["hyper_parameters"], segmenter.hparams, *plain])
    saved, current, config_before, config_now = (dict(flattened(settings)) for settings in nested)
    saved["memory_format"] = saved_memory_format(content)
    current["memory_format"] = saved["memory_format"] if config.memory_format == "auto" else config.memory_format
    check_restored_settings(checkpoint, saved, current, differing_parts(content["state_dict"], segmenter.state_dict()))
    check_other_settings(checkpoint, config_before, config_now)
    return content


def check_restored_settings(
    checkpoint: str, before: Mapping[str, Any], now: Mapping[str, Any], differing: Collection[str]
) -> None:
    """Check that a resumed run keeps the settings that the checkpoint stores.

    Args:
        checkpoint: path of the checkpoint.
        before, now: settings of the checkpoint and of the run, by dotted key.
        differing: parts whose tensors differ.

    Raises:
        UserError: if a setting differs; the message names both values.
    """
    if (changed := changed_settings(before, now, differing)) or differing:
        values = [f"{shorten_key(key)}={before.get(key)} (now {now.get(key)})" for key in changed]
        raise UserError(
            f"ckpt={checkpoint} belongs to a run with {', '.join(values) or 'a network from other code'}: resume it "
            "with the same overrides, or leave ckpt out (init_from= loads only the weights, if the network is the same)"
        )


def differing_parts(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the parts (model or loss) in which names or shapes of tensors differ between two state dicts."""
    shapes_before, shapes_now = (
        {name: getattr(value, "shape", None) for name, value in state.items()} for state in (before, now)
    )
    return {name.partition(".")[0] for name, _ in shapes_before.items() ^ shapes_now.items()}


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any], differing: Collection[str]) -> list[str]:
    """Return the keys of settings that differ but that a resumed run must not change.

    These are the settings that a checkpoint restores, the settings of parts whose tensors differ, and the settings
    that both networks have (some, such as the rate of a head, change no shape). A setting that only one network has may
    come from another version of the code.

    Args:
        before, now: settings of the checkpoint and of the run, by dotted key.
        differing: parts whose tensors differ.
    """
    parts = {*RESTORED, *differing}
    common = {key for key in before.keys() & now.keys() if key.startswith("model.")} - {"model.backbone.weights"}
    keys = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    return [key for key in keys if key in common or key.partition(".")[0] in parts]


def shorten_key(key: str) -> str:
    """Return the key as on the command line: model.head.rate -> head.rate."""
    return re.sub(r"^model\.(?=backbone|head)", "", key)


def check_other_settings(checkpoint: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Compare the config of the run that wrote a checkpoint with the current one, and log the differences.

    Args:
        checkpoint: path of the checkpoint.
        before, now: both configs, by dotted key.

    Raises:
        UserError: if a difference would change what the remaining steps compute.
    """
    # A key that only one config has is from a newer version, or belongs to a choice that differs by its name too.
    changed = [
        key for key in before.keys() & now.keys() if before[key] != now[key] and covering_entry(key) not in IGNORED
    ]
    changed += [key for key in before.keys() ^ now.keys() if OPTIONAL_PART.fullmatch(key)]
    described = {key: f"{key}={as_text(before.get(key))} (now {as_text(now.get(key))})" for key in sorted(changed)}
    if decisive := [text for key, text in described.items() if covering_entry(key) in REFUSED]:
        raise UserError(
            f"ckpt={checkpoint} belongs to a run with {', '.join(decisive)}: its remaining steps would differ; leave "
            "these overrides out, or start a new run from its weights with init_from= instead of ckpt="
        )
    if described:
        log.info("differs from the resumed run: %s", ", ".join(described.values()))


def covering_entry(key: str) -> str:
    """Return the entry of ``REFUSED`` or ``IGNORED`` that covers a key; "" if there is none."""
    parts = key.split(".")
    entries = [*(".".join(parts[:depth]) for depth in range(len(parts), 0, -1)), f"*.{parts[-1]}"]
    return next((entry for entry in entries if entry in REFUSED + IGNORED), "")


def as_text(value: Any) -> str:
    """Return a setting as in YAML, shortened to 60 characters."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
