"""Tables and charts that only W&B has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor

from src.runs.figures import NETWORK, figure_name
from src.training.segmenter import Segmenter
from src.training.validation import Results, has_trimap

if TYPE_CHECKING:
    import wandb
    from wandb.plot import CustomChart

MAX_ROWS = 10_000  # of a wandb.Table


class WandbCharts(Callback):
    """IoU by class, confusion matrices and trimap curves of the validation after training, the best checkpoint's.

    Does nothing where no W&B logger is.

    Args:
        trimap: widest band around void, in pixels.
    """

    def __init__(self, trimap: int = 40) -> None:
        self.trimap = trimap
        self.loggers: list[WandbLogger] = []

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        after_training = trainer.state.fn == "validate"
        self.loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger) and after_training]
        if self.loggers:
            module.validation.trimap = self.trimap

    def on_validation_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, Segmenter)
        if not self.loggers:
            return
        results = module.validation.results  # on every process, which add up their counts
        if trainer.is_global_zero and results[NETWORK]["confusion"].any():
            for logger in self.loggers:
                logger.experiment.log({**charts(results, module.classes), "trainer/global_step": trainer.global_step})


def charts(results: Results, classes: Sequence[str]) -> dict[str, wandb.Table | CustomChart]:
    """All of them by the name that W&B shows."""
    made: dict[str, wandb.Table | CustomChart] = {"val/classes": class_table(results, classes)}
    for method, values in results.items():
        made[figure_name("confusion", method)] = confusion_chart(values["confusion"], classes, method.title)
    if has_trimap(results):
        made["val/trimap_miou"] = trimap_chart(results, "trimap_miou", "Mean IoU")
        made["val/trimap_pixel_accuracy"] = trimap_chart(results, "trimap_pixel_accuracy", "Pixel accuracy")
    return made


def class_table(results: Results, classes: Sequence[str]) -> wandb.Table:
    """A row for every class: its share of the pixels and its IoU by each method, in %; no IoU where it is absent."""
    import wandb

    pixels = results[NETWORK]["confusion"].sum(1).double()
    columns = [100 * pixels / pixels.sum(), *(100 * values["iou"] for values in results.values())]
    titles: list[str | int] = ["class", "% of pixels", *(f"IoU %, {method.title}" for method in results)]
    numbers = zip(*(rounded(column) for column in columns), strict=True)
    return wandb.Table(titles, [[name, *row] for name, row in zip(classes, numbers, strict=True)])


def confusion_chart(confusion: Tensor, classes: Sequence[str], method: str) -> CustomChart:
    """Where the pixels of every true class went, in %; of more classes than a table holds, the largest cells."""
    import wandb

    shares = 100 * confusion.double() / confusion.sum(1, keepdim=True)
    cells = [
        (truth, prediction, share)
        for truth, row in zip(classes, shares, strict=True)
        for prediction, share in zip(classes, rounded(row), strict=True)
        if share is not None
    ]
    if len(cells) > MAX_ROWS:
        cells = sorted(cells, key=lambda cell: -cell[2])[:MAX_ROWS]
    columns = ("Actual", "Predicted", "nPredictions")  # the names that W&B's own chart has
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table([*columns], [list(cell) for cell in cells]),
        {name: name for name in columns},
        {"title": f"Confusion, % of the true class: {method}"},
    )


def trimap_chart(results: Results, name: str, title: str) -> CustomChart:
    """A curve for each method, over the widths of the band."""
    import wandb

    curves = [100 * values[name] for values in results.values()]
    widths = [width for width, value in enumerate(curves[0].tolist(), 1) if value == value]  # not those without pixels
    heights = [[curve[width - 1].item() for width in widths] for curve in curves]
    methods = [method.title for method in results]
    return wandb.plot.line_series(widths, heights, methods, f"{title} around void, %", "pixels from void")


def rounded(values: Tensor) -> list[float | None]:
    return [None if value != value else round(value, 2) for value in values.tolist()]
