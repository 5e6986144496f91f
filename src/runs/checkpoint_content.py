"""Read what a checkpoint holds of its network, without running any code in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from hydra.errors import InstantiationException
from torch import Tensor

from src.models.weights.torch_file import read_state
from src.runs.checkpoints import find_existing_checkpoint
from src.runs.moved_names import with_new_names
from src.runs.trusted_classes import find_untrusted
from src.system.errors import UserError


class Checkpoint(NamedTuple):
    """What a checkpoint holds of a network.

    Attributes:
        path: the file.
        hparams: the settings of network, loss, classes, palette and data set; all classes in it are this project's.
        state: the weights by name; all are finite.
    """

    path: Path
    hparams: dict[str, Any]
    state: dict[str, Tensor]


def read_checkpoint(ckpt: str | Path | None) -> Checkpoint:
    """Return what a checkpoint of ``python -m src.train`` holds of its network, without running any code in it.

    Args:
        ckpt: path of the checkpoint, or of a folder that export format=hub wrote; an address, such as https://... or
            hf://OWNER/NAME; or the name of a network that comes with the package. None, the default of the commands,
            is an error that says so.

    Raises:
        UserError: if the file does not exist, is not such a checkpoint, names classes of other projects, or contains
            weights that are not finite.
    """
    path = find_existing_checkpoint(ckpt)
    remedy = "give the best.ckpt or last.ckpt of a run"
    try:
        content = read_state(path)
    except UserError as error:
        raise UserError(f"ckpt={error}; {remedy}") from error
    if not all(isinstance(content.get(key), dict) for key in ("hyper_parameters", "state_dict")):
        raise UserError(f"ckpt={path}: holds no network to rebuild; {remedy}")
    # The optimiser and the schedule are not needed, and may name classes of other projects.
    hparams = {**with_new_names(content["hyper_parameters"]), "optimizer": {}, "scheduler": {}}
    if fault := next(find_untrusted(hparams), ""):
        raise UserError(f"ckpt={path}: {fault}")
    state: dict[str, Tensor] = content["state_dict"]
    for name, value in state.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"ckpt={path}: {name} is not finite (NaN or infinity): its training diverged")
    return Checkpoint(path, hparams, state)


@contextmanager
def explain_misfit(path: Path) -> Iterator[None]:
    """Turn an error of building a network, or of loading its weights, into a ``UserError`` that names the file."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError, InstantiationException) as error:
        first, *details = (str(error.__cause__ or error) or type(error).__name__).splitlines()
        reason = shorten(details[0] if details and first.endswith(":") else first, 300, placeholder=" ...")
        raise UserError(f"ckpt={path}: does not fit this version of the code ({reason})") from error
