"""Tables and charts that only W&B can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor

from src.runs.metric_names import NETWORK, metric_name
from src.training.segmenter import Segmenter
from src.training.validation import Results, has_trimap

if TYPE_CHECKING:
    import wandb
    from wandb.plot import CustomChart

MAX_ROWS = 10_000  # capacity of a wandb.Table


class WandbCharts(Callback):
    """Logs IoU by class, confusion matrices and trimap curves of the best checkpoint after training.

    Does nothing without a W&B logger.

    Args:
        trimap: width in pixels of the widest band around void.
    """

    def __init__(self, trimap: int = 40) -> None:
        self.trimap_width = trimap
        self.loggers: list[WandbLogger] = []

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        after_training = trainer.state.fn == "validate"
        self.loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger) and after_training]
        if self.loggers:
            module.validation.measures_boundaries = True
            module.validation.trimap_width = self.trimap_width

    def teardown(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        assert isinstance(module, Segmenter)
        if self.loggers:
            module.validation.measures_boundaries = False

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        if not self.loggers:
            return
        results = module.validation.compute()  # on every process, because they add up their counts
        if trainer.is_global_zero and results[NETWORK]["confusion"].any():
            for logger in self.loggers:
                logger.experiment.log(
                    {**draw_charts(results, module.classes), "trainer/global_step": trainer.global_step}
                )


def draw_charts(results: Results, classes: Sequence[str]) -> dict[str, wandb.Table | CustomChart]:
    """Return all tables and charts, by their names in W&B."""
    charts_by_name: dict[str, wandb.Table | CustomChart] = {"val/classes": class_table(results, classes)}
    for method, values in results.items():
        charts_by_name[metric_name("confusion", method)] = confusion_chart(values["confusion"], classes, method.title)
    if has_trimap(results):
        charts_by_name["val/trimap_miou"] = trimap_chart(results, "trimap_miou", "Mean IoU")
        charts_by_name["val/trimap_pixel_accuracy"] = trimap_chart(results, "trimap_pixel_accuracy", "Pixel accuracy")
    return charts_by_name


def class_table(results: Results, classes: Sequence[str]) -> wandb.Table:
    """Return a row for every class: its share of the pixels and its IoU by each method, in %; no IoU if absent."""
    import wandb

    pixels = results[NETWORK]["confusion"].sum(1).double()
    columns = [100 * pixels / pixels.sum(), *(100 * values["iou"] for values in results.values())]
    titles: list[str | int] = ["class", "% of pixels", *(f"IoU %, {method.title}" for method in results)]
    numbers = zip(*(round_values(column) for column in columns), strict=True)
    return wandb.Table(titles, [[name, *row] for name, row in zip(classes, numbers, strict=True)])


def confusion_chart(confusion: Tensor, classes: Sequence[str], method: str) -> CustomChart:
    """Return how the pixels of each true class were predicted, in %; the largest cells if a table cannot hold all."""
    import wandb

    shares = 100 * confusion.double() / confusion.sum(1, keepdim=True)
    cells = [
        (truth, prediction, share)
        for truth, row in zip(classes, shares, strict=True)
        for prediction, share in zip(classes, round_values(row), strict=True)
        if share is not None
    ]
    if len(cells) > MAX_ROWS:
        cells = sorted(cells, key=lambda cell: -cell[2])[:MAX_ROWS]
    columns = ("Actual", "Predicted", "nPredictions")  # the names in W&B's own chart
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table([*columns], [list(cell) for cell in cells]),
        {name: name for name in columns},
        {"title": f"Confusion, % of the true class: {method}"},
    )


def trimap_chart(results: Results, name: str, title: str) -> CustomChart:
    """Return a curve for each method over the widths of the band."""
    import wandb

    curves = [100 * values[name] for values in results.values()]
    widths = [width for width, value in enumerate(curves[0].tolist(), 1) if value == value]  # NaN: no pixels
    heights = [[curve[width - 1].item() for width in widths] for curve in curves]
    methods = [method.title for method in results]
    return wandb.plot.line_series(widths, heights, methods, f"{title} around void, %", "pixels from void")


def round_values(values: Tensor) -> list[float | None]:
    """Return values rounded to two digits; None for NaN."""
    return [None if value != value else round(value, 2) for value in values.tolist()]
