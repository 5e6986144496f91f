"""Queue this SLURM job again."""

import logging
import os
import subprocess

log = logging.getLogger(__name__)


def requeue_job() -> None:
    """Queue the SLURM job that this process runs in again, with ``scontrol requeue``; do nothing outside of a job.

    SLURM sends SIGUSR1 before a job's time is up if it was asked to (``sbatch --signal=USR1@90``).
    """
    job = os.environ.get("SLURM_JOB_ID")
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if not job:
        return
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
        fault = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        fault = str(error)
    if fault:
        log.warning("scontrol requeue %s failed: %s", job, fault)
    else:
        log.warning("queued again: SLURM job %s", job)
