"""Evaluations among the runs: of a run's own checkpoint, or of one from elsewhere, which is then a row by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from src.errors import UserError
from src.models.weights.pretrained import read_state
from src.reporting.runs import Run


def attach_evaluations(runs: Sequence[Run], more: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Runs that stand for themselves, and evaluations of their checkpoints.

    Args:
        runs: as the user chose them, trainings and evaluations.
        more: other evaluations, which count only if they are of one of the runs.
    """
    folders = {run.folder.resolve() for run in runs if run.config.get("command") != "evaluate"}
    of_runs = [run for run in (*more, *runs) if evaluated(run) in folders and not run.fault]
    return [run for run in runs if run.fault or evaluated(run) not in folders], of_runs


def evaluated(run: Run) -> Path | None:
    """The folder of the training whose checkpoint an evaluation took."""
    ckpt = run.config.get("ckpt") if run.config.get("command") == "evaluate" else None
    return Path(ckpt).resolve().parent.parent if ckpt else None


def from_checkpoint(run: Run) -> Run:
    """An evaluation with the head, backbone and data set of its checkpoint, where that can be read."""

    if run.config.get("command") != "evaluate" or run.fault:
        return run
    try:
        ckpt = Path(str(run.config.get("ckpt")))
        if not ckpt.is_file():
            raise UserError(f"ckpt={ckpt}: no such file, so its head is not known")
        parts = read_state(ckpt).get("hyper_parameters") or {}
    except UserError as error:
        return replace(run, notes=(*run.notes, str(error)))
    chosen = {key: value for key, value in run.part("dataset").items() if value is not None}
    network = {key: value for key, value in parts.get("model", {}).items() if key in ("head", "backbone")}
    return replace(run, config={**run.config, **network, "dataset": {**(parts.get("dataset") or {}), **chosen}})
