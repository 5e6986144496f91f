"""Requeue this SLURM job."""

import logging
import os
import subprocess

log = logging.getLogger(__name__)


def requeue_job() -> None:
    """Requeue the SLURM job that this process runs in, with ``scontrol requeue``; do nothing outside a job.

    SLURM sends SIGUSR1 before the job's time is up if the job asks for it (``sbatch --signal=USR1@90``).
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
        log.warning("requeued SLURM job %s", job)
