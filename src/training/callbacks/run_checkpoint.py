"""Write a run's best and last checkpoint."""

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from src.runs.checkpoints import copy_best_checkpoint
from src.runs.metric_names import is_crf_metric


class RunCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which also keeps the best checkpoint when a run is resumed in another folder.

    If it monitors a CRF metric, it skips validations without CRF.
    """

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        if self.monitor is None or not is_crf_metric(self.monitor) or self.monitor in trainer.callback_metrics:
            super().on_validation_end(trainer, module)

    def on_load_checkpoint(self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.monitor is not None and trainer.is_global_zero and trainer.ckpt_path and self.dirpath is not None:
            copy_best_checkpoint(Path(trainer.ckpt_path), Path(self.dirpath))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert self.dirpath is not None
        # Drop the paths in the checkpoint: Lightning would delete these files once it has written a better one.
        paths: dict[str, Any] = dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path"), "")
        paths |= {"dirpath": self.dirpath, "best_k_models": {}}
        if self.monitor is not None and state_dict["best_model_path"]:
            best = str(Path(self.dirpath, Path(state_dict["best_model_path"]).name))
            paths |= {"best_model_path": best, "kth_best_model_path": best}
            paths["best_k_models"] = {best: state_dict["best_model_score"]}
        super().load_state_dict({**state_dict, **paths})
