"""Callbacks that make a resumed run equal, to the last digit, to one that was never stopped.

The order of the samples and their augmentation come from ``ResumableSampler`` (src/data/sampling.py).
"""

from lightning import Callback

from src.training.resume.gradients import AccumulatedGradients
from src.training.resume.logged_run import LoggedRun
from src.training.resume.resume_checkpoint import ResumeCheckpoint
from src.training.resume.schedule import SameScheduleLength
from src.training.resume.seeds import StepSeeds
from src.training.resume.unfinished_validation import UnfinishedValidation

__all__ = ["ResumeCheckpoint", "exact_resume"]


def exact_resume(seed: int) -> list[Callback]:
    """Return the callbacks that every training needs in addition to ``ResumeCheckpoint``.

    Args:
        seed: seed of the run.
    """
    return [StepSeeds(seed), AccumulatedGradients(), SameScheduleLength(), UnfinishedValidation(), LoggedRun()]
