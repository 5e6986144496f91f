"""Divide the images of predict among processes started by torchrun, by SLURM, or by hand."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from src.system.errors import UserError


@dataclass(frozen=True)
class Shard:
    """The images that one of several processes labels: every ``count``-th one, starting at ``index``.

    Attributes:
        index: index of this process, from 0.
        count: number of processes.
        local_index: index of this process on its machine, from 0; selects the GPU.
    """

    index: int
    count: int
    local_index: int = 0


WHOLE = Shard(0, 1)


def find_shard(given: str, variables: Mapping[str, str] = os.environ) -> Shard:
    """Return the shard of this process.

    Args:
        given: "INDEX/COUNT", with INDEX from 0; "slurm" for a task of a SLURM array, of ``srun``, or of both; "auto"
            for a process of ``torchrun``, or all images without it.
        variables: the environment variables.

    Raises:
        UserError: if ``given`` is none of these, or SLURM's variables are missing or inconsistent.
    """
    if given == "auto":
        if "TORCHELASTIC_RUN_ID" not in variables:  # set by torchrun; RANK alone may be a leftover
            return WHOLE
        index, count, local_index = (int(variables[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        return Shard(index, count, local_index)
    if given == "slurm":
        return find_slurm_shard(variables)
    match = re.fullmatch(r"(\d+)/([1-9]\d*)", given)
    if match is None or int(match[1]) >= int(match[2]):
        raise UserError(f"shard={given}: must be auto, slurm, or INDEX/COUNT from 0, such as 0/2 and 1/2")
    return Shard(int(match[1]), int(match[2]))


def find_slurm_shard(variables: Mapping[str, str]) -> Shard:
    """Return the shard of this process in a SLURM job; each ``srun`` process of each array task gets one.

    Raises:
        UserError: if this is neither an array task nor an srun process, or the array's indices have gaps.
    """
    if "SLURM_ARRAY_TASK_ID" not in variables and "SLURM_STEP_NUM_TASKS" not in variables:
        raise UserError(
            "shard=slurm: this is neither a SLURM array task nor an srun process; use sbatch --array=0-3, or srun"
        )
    task, tasks = 0, 1
    if "SLURM_ARRAY_TASK_ID" in variables:
        task, first, step, tasks = (
            int(variables.get(f"SLURM_ARRAY_TASK_{name}", default))
            for name, default in (("ID", 0), ("MIN", 0), ("STEP", 1), ("COUNT", 1))
        )
        task, rest = divmod(task - first, max(1, step))
        if rest or task >= tasks:
            number = variables["SLURM_ARRAY_TASK_ID"]
            raise UserError(
                f"shard=slurm: SLURM_ARRAY_TASK_ID={number} is not one of {tasks} indices without gaps; use "
                "--array=0-N, or shard=INDEX/COUNT"
            )
    # The batch script itself has SLURM_NTASKS and SLURM_PROCID=0 too; only srun sets SLURM_STEP_NUM_TASKS.
    processes = int(variables.get("SLURM_STEP_NUM_TASKS", 1))
    process, local = (int(variables.get(name, 0)) if processes > 1 else 0 for name in ("SLURM_PROCID", "SLURM_LOCALID"))
    return Shard(task * processes + process, tasks * processes, local)
