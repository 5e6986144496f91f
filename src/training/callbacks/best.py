"""The figures of the best checkpoint, among the curves."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from src.runs.figures import figure_name
from src.training.segmenter import Segmenter


class BestFigures(Callback):
    """Logs ``best/miou``, ``best/miou_crf`` and ``best/step``, of the best validation so far, also when resumed.

    W&B's summary and MLflow's table of runs end with the best thereby; TensorBoard's HPARAMS page has it as hp_metric.

    Args:
        monitor: val/miou or val/miou_crf, as of the checkpoint that is kept.
    """

    def __init__(self, monitor: str = "val/miou") -> None:
        self.monitor = monitor.replace("val/", "best/", 1)
        self.best: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        return dict(self.best)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = dict(state_dict)

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        results = module.validation.results
        figures = {figure_name("miou", method, "best"): float(values["miou"]) for method, values in results.items()}
        # Where the CRF skips this validation, its figures are not known.
        if figures.get(self.monitor, float("nan")) > self.best.get(self.monitor, float("-inf")):
            self.best = {**figures, "best/step": float(trainer.global_step)}
        module.log_dict(self.best)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and self.monitor in self.best:
                logger.log_metrics({"hp_metric": self.best[self.monitor]}, trainer.global_step)
