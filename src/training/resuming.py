"""Resume a run: find its checkpoint, and check that the settings that must not change are the same."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.errors import UserError
from src.models.weights.pretrained import read_state
from src.runs.checkpoint_files import newest_intact, previous_path, refuse_to_overwrite
from src.runs.csv_logger import set_curve_aside
from src.runs.folder import is_first_process
from src.runs.history import record_run
from src.runs.moved_names import with_new_names
from src.system.nested import flattened
from src.training.segmenter import Segmenter

log = logging.getLogger(__name__)

# Settings that decide what a run computes in each step, besides those that a checkpoint holds
DECISIVE = re.compile(
    r"seed|data\.(batch_size|seed)|callbacks\.weight_averaging\..*|dataset\.(?!root$|cache$).*|augmentation\..*|loss\..*"
    r"|trainer\.(accumulate_grad_batches|gradient_clip_.*|limit_train_batches|overfit_batches)"
)
# Settings that do not change the results, or follow from others
IRRELEVANT = re.compile(
    r"(name|ckpt|init_from|command)|(paths|logger|model|hydra|callbacks\.progress)\..*|data\.(?!(batch_size|seed)$).*"
    r"|dataset\.(root|cache)|trainer\.(default_root_dir|max_time|_target_)|.*\.(path|dirpath|folder)"
)
OPTIONAL_PART = re.compile(r"(crf|callbacks\.\w+)\._target_")  # of parts that one of two runs may lack
RESTORED = ("classes", "optimizer", "scheduler")  # settings that a checkpoint restores, whatever the config says


def checkpoint_to_resume(config: DictConfig) -> str | None:
    """Return the checkpoint that a training resumes from, None for a new run, and make its folder ready.

    Raises:
        UserError: if there is no such checkpoint, or the folder holds another run.
    """
    folder = Path(config.paths.output_dir)
    checkpoint = requeued_checkpoint(folder / "checkpoints") or config.ckpt
    if checkpoint:
        checkpoint = str(newest_intact(checkpoint))
    if is_first_process():
        refuse_to_overwrite(folder / "checkpoints", checkpoint)
        set_curve_aside(folder / "csv" / "metrics.csv")
        record_run(config.paths.log_dir, folder)
    return checkpoint


def requeued_checkpoint(folder: Path) -> str | None:
    """Return the checkpoint that this SLURM job wrote into ``folder`` before it was requeued; None in other cases."""
    last = folder / "last.ckpt"
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0" or not (last.is_file() or previous_path(last).is_file()):
        return None
    log.info("SLURM requeued this job: it resumes with ckpt=%s", last)
    return str(last)


def copy_best_checkpoint(checkpoint: Path, folder: Path) -> None:
    """Copy the best checkpoint of the resumed run into the folder of the new run."""
    best = checkpoint.parent / "best.ckpt"
    if best.parent.resolve() != folder.resolve() and (best.is_file() or previous_path(best).is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(newest_intact(best), folder / best.name)


def check_same_run(checkpoint: str, segmenter: Segmenter) -> None:
    """Check that a resumed run keeps its network, classes, optimiser and schedule.

    Raises:
        UserError: if a setting differs; it names the checkpoint's and the run's value.
    """
    content = read_state(Path(checkpoint))
    if not all(isinstance(content.get(key), dict) for key in ("hyper_parameters", "state_dict")):
        raise UserError(
            f"ckpt={checkpoint}: not a checkpoint that can be resumed; to load weights only, use init_from="
        )
    saved = with_new_names(content["hyper_parameters"])
    before, now = dict(flattened(saved)), dict(flattened(segmenter.hparams))
    unlike = unlike_parts(content["state_dict"], segmenter.state_dict())
    if (changed := changed_settings(before, now, unlike)) or unlike:
        values = [f"{shorten_key(key)}={before.get(key)} (now {now.get(key)})" for key in changed]
        raise UserError(
            f"ckpt={checkpoint} belongs to a run with {', '.join(values) or 'a network of other code'}: resume it "
            "with the same overrides, or leave ckpt out (init_from= loads the weights only, if the network is the same)"
        )


def unlike_parts(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the parts, model or loss, in which two state dicts differ by names or shapes of tensors."""
    shapes_before, shapes_now = (
        {name: getattr(value, "shape", None) for name, value in state.items()} for state in (before, now)
    )
    return {name.partition(".")[0] for name, _ in shapes_before.items() ^ shapes_now.items()}


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any], unlike: Collection[str]) -> list[str]:
    """Return the keys of settings that differ and that a resumed run must not change.

    These are the settings that a checkpoint restores, those of parts whose tensors differ, and those of the network
    that both runs have: some, such as the rate of a head, change no shape. A setting that only one network has may come
    from another version of the code.

    Args:
        before, now: settings of the checkpoint and of the run, by dotted key.
        unlike: parts whose tensors differ.
    """
    parts = {*RESTORED, *unlike}
    common = {key for key in before.keys() & now.keys() if key.startswith("model.")} - {"model.backbone.weights"}
    keys = [key for key in dict.fromkeys([*before, *now]) if before.get(key) != now.get(key)]
    return [key for key in keys if key in common or key.partition(".")[0] in parts]


def shorten_key(key: str) -> str:
    """Return the key to set: model.head.rate -> head.rate."""
    return re.sub(r"^model\.(?=backbone|head)", "", key)


def check_same_settings(checkpoint: str, config: DictConfig) -> None:
    """Compare the settings of a resumed run with those of the run that wrote the checkpoint, and log the differences.

    Raises:
        UserError: if a difference would change what the remaining steps compute.
    """
    record = Path(checkpoint).parent.parent / "config.yaml"
    if not record.is_file():
        return
    before, now = (
        dict(flattened(with_new_names(OmegaConf.to_container(settings, resolve=True))))
        for settings in (OmegaConf.load(record), config)
    )
    # A key that only one of them has is new in a later version, or belongs to a choice whose name differs too.
    changed = [key for key in before.keys() & now.keys() if before[key] != now[key] and not IRRELEVANT.fullmatch(key)]
    changed += [key for key in before.keys() ^ now.keys() if OPTIONAL_PART.fullmatch(key)]
    described = {key: f"{key}={as_text(before.get(key))} (now {as_text(now.get(key))})" for key in sorted(changed)}
    if decisive := [text for key, text in described.items() if DECISIVE.fullmatch(key)]:
        raise UserError(
            f"ckpt={checkpoint} belongs to a run with {', '.join(decisive)}: its steps would be others; leave these "
            "overrides out, or begin a new run from its weights with init_from= in place of ckpt="
        )
    if described:
        log.info("not as in the resumed run: %s", ", ".join(described.values()))


def as_text(value: Any) -> str:
    """Return a setting as it is written in YAML, shortened."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
