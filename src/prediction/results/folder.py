"""The folder that predict writes to: it never mixes results of different settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.prediction.results.files import CLASS_LIST, ImageJob, WriteError, save_class_list, save_json
from src.prediction.results.summaries import SUMMARIES, Summary
from src.prediction.shards import Shard
from src.system.errors import UserError
from src.system.files import read_json
from src.system.processes import one_at_a_time

SETTINGS = "predict.json"


def find_settings(config: DictConfig, ckpt: Path) -> dict[str, Any]:
    """Return everything that determines the results: CRF, inference, and the checksum of the checkpoint."""
    settings: dict[str, Any] = {key: OmegaConf.to_container(config[key]) or None for key in ("crf", "inference")}
    return settings | {"checkpoint": checksum(ckpt)}


def check_output(config: DictConfig, settings: Mapping[str, Any], jobs: Sequence[ImageJob]) -> None:
    """Check that the output folder has no results of other settings; with ``overwrite``, it may have any.

    Raises:
        UserError: if it has.
    """
    if config.overwrite:
        return
    output = Path(config.output)
    paths = [path for job in jobs for path in job.results.values()]
    paths += [output / SUMMARIES[key][0] for key in SUMMARIES if config[key]]
    check_settings(output, settings, any(path.exists() for path in paths))


def check_settings(output: Path, settings: Mapping[str, Any], has_results: bool) -> None:
    """Check that a folder contains no results of other settings, and no files of other programs.

    Args:
        output: the folder.
        settings: everything that determines the results.
        has_results: whether the folder has a file with a result's name.

    Raises:
        UserError: with the settings that differ, and the remedy.
    """
    remedy = "choose another folder, or set overwrite=true"
    path = output / SETTINGS
    if not path.is_file():
        if has_results:
            raise UserError(f"output={output}: already has files of these names, but no {SETTINGS}; {remedy}")
        return
    before = read_json(path)
    if differing := [key for key, value in settings.items() if before.get(key) != value]:
        raise UserError(f"output={output}: has results of another {' and '.join(differing)} (see {path}); {remedy}")


def prepare_output(config: DictConfig, settings: Mapping[str, Any], jobs: Sequence[ImageJob], shard: Shard) -> None:
    """Check the output folder again, and write the settings to it.

    With ``overwrite``, remove this process's earlier results.

    Args:
        config: the config of predict.
        settings: those of ``find_settings``, and the names of the classes.
        jobs: those of all processes.
        shard: that of this process.

    Raises:
        UserError: if the folder has other results, or cannot be written to.
    """
    output, classes = Path(config.output), settings["classes"]
    with lock_output(output, shard):
        check_output(config, settings, jobs)  # another process may have begun to write there
        summaries = open_summaries(config, classes)
        if config.overwrite:
            remove_results(jobs[shard.index :: shard.count], summaries)
        save_json(output / SETTINGS, settings, indent=2)
        if config.labelme and (config.overwrite or not (output / "labelme" / CLASS_LIST).exists()):
            save_class_list(output / "labelme", classes)


def complete_summaries(config: DictConfig, classes: list[str], jobs: Sequence[ImageJob], shard: Shard) -> list[str]:
    """Add the images labelled so far to the summaries, and return a line for each failure.

    Every process does this at its end, so the last one adds what the others could not.
    """
    if not any(config[key] for key in SUMMARIES):
        return []
    with lock_output(Path(config.output), shard):
        masks = {job.name: job.results["masks"] for job in jobs if job.results["masks"].exists()}
        return [fault for summary in open_summaries(config, classes) for fault in summary.complete(masks)]


@contextmanager
def lock_output(output: Path, shard: Shard) -> Iterator[None]:
    """Lock the settings and summaries during the block, if other processes also write to the folder.

    Raises:
        WriteError: if the folder is not writable.
    """
    if shard.count == 1:
        yield
        return
    with ExitStack() as stack:
        try:
            output.mkdir(parents=True, exist_ok=True)
            stack.enter_context(one_at_a_time(output / SETTINGS))
        except OSError as error:
            raise WriteError(f"{output}: cannot be written to ({error.strerror or error})") from error
        yield


def open_summaries(config: DictConfig, classes: Sequence[str]) -> list[Summary[Any]]:
    """Return the summaries that the config asks for, with their existing entries.

    Raises:
        UserError: if a summary cannot be read.
    """
    chosen = [SUMMARIES[key] for key in SUMMARIES if config[key]]
    return [kind(Path(config.output, name), classes, replace=config.overwrite) for name, kind in chosen]


def remove_results(jobs: Sequence[ImageJob], summaries: Sequence[Summary[Any]]) -> None:
    """Remove the results of all jobs, so that no results of other settings remain if the command is stopped."""
    for job in jobs:
        for path in job.results.values():
            path.unlink(missing_ok=True)
    for summary in summaries:
        summary.remove(job.name for job in jobs)


def checksum(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
