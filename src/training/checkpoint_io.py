"""Write checkpoints whole or not at all, and keep the previous version of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from src.runs.checkpoints import newest_intact, previous_path
from src.system.errors import UserError
from src.system.files import replacing


class SafeCheckpointIO(TorchCheckpointIO):
    """Lightning's plugin for checkpoint files, made safe against kills, full disks and untrusted files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint whole or not at all, and keep an older file at ``path`` as PATH.previous.

        Raises:
            UserError: if the checkpoint cannot be written; an older file at ``path`` is kept.
        """
        path = Path(path)
        try:
            with replacing(path, durable=True, keep=previous_path(path)) as part, part.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch.save may turn a full disk into a RuntimeError
            kept = " or ".join(str(file) for file in (path, previous_path(path)) if file.exists())
            raise UserError(
                f"{path}: the checkpoint could not be written ({why_unwritten(error)}); make room or choose "
                "another paths.log_dir" + (f", then resume with ckpt={kept}" if kept else "")
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Callable | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Return the content of ``path``, or of its previous version if it is damaged.

        Loads only tensors and plain values, even if ``weights_only`` is False.
        """
        return torch.load(newest_intact(path), map_location=map_location or "cpu", weights_only=True)


def why_unwritten(error: BaseException) -> str:
    """Return why ``torch.save`` could not write a file; its own message hides the reason."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return (cause.strerror if cause else None) or str(error).splitlines()[0]
