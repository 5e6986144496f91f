"""Log the metrics of the best validation."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from src.runs.metric_names import metric_name
from src.training.segmenter import Segmenter


class BestFigures(Callback):
    """Logs ``best/miou``, ``best/miou_crf`` and ``best/step`` of the best validation so far, even after a resume.

    W&B's summary and MLflow's table of runs then end with the best metrics. TensorBoard's HPARAMS page shows the
    monitored one as hp_metric.

    Args:
        monitor: val/miou or val/miou_crf, the same as in the callback that keeps the best checkpoint.
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
        results = module.validation.compute()
        metrics = {metric_name("miou", method, "best"): float(values["miou"]) for method, values in results.items()}
        # A validation without CRF has no CRF metrics.
        if metrics.get(self.monitor, float("nan")) > self.best.get(self.monitor, float("-inf")):
            self.best = {**metrics, "best/step": float(trainer.global_step)}
        module.log_dict(self.best)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and self.monitor in self.best:
                logger.log_metrics({"hp_metric": self.best[self.monitor]}, trainer.global_step)
