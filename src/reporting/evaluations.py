"""Attach evaluations to the runs whose checkpoints they evaluate; other evaluations are separate rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from src.models.weights.torch_file import read_state
from src.reporting.runs import Run
from src.system.errors import UserError


def attach_evaluations(runs: Sequence[Run], more: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Return the runs that are rows of the table, and the evaluations of their checkpoints.

    Args:
        runs: trainings and evaluations that the user chose.
        more: other evaluations, used only if they evaluate one of the runs.
    """
    folders = {run.folder.resolve() for run in runs if run.config.get("command") != "evaluate"}
    of_runs = [run for run in (*more, *runs) if evaluated_folder(run) in folders and not run.fault]
    return [run for run in runs if run.fault or evaluated_folder(run) not in folders], of_runs


def evaluated_folder(run: Run) -> Path | None:
    """Return the folder of the run whose checkpoint an evaluation used; None for a training."""
    ckpt = run.config.get("ckpt") if run.config.get("command") == "evaluate" else None
    return Path(ckpt).resolve().parent.parent if ckpt else None


def add_checkpoint_config(run: Run) -> Run:
    """Return an evaluation with the head, backbone and data set of its checkpoint, if that can be read."""
    if run.config.get("command") != "evaluate" or run.fault:
        return run
    try:
        ckpt = Path(str(run.config.get("ckpt")))
        if not ckpt.is_file():
            raise UserError(f"ckpt={ckpt}: no such file, so its head is unknown")
        parts = read_state(ckpt).get("hyper_parameters") or {}
    except UserError as error:
        return replace(run, notes=(*run.notes, str(error)))
    chosen = {key: value for key, value in run.part("dataset").items() if value is not None}
    network = {key: value for key, value in parts.get("model", {}).items() if key in ("head", "backbone")}
    return replace(run, config={**run.config, **network, "dataset": {**(parts.get("dataset") or {}), **chosen}})
