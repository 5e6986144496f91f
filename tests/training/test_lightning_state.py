"""The attributes of Lightning that this project uses exist, and have the meaning that it relies on."""

from pathlib import Path

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from src.training import lightning_state as state

BATCHES, STEPS = 4, 6  # an epoch, and a run of one and a half
CHANGED = "Lightning has changed: look at src/training/lightning_state.py, "


class Tiny(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: torch.Tensor, batch_index: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Watch(L.Callback):
    """Reads the state in every hook in which this project reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun: list[int] = []
        self.numbers: list[int] = []
        self.stepped: list[int] = []
        self.validations: list[int] = []
        self.workers = 0
        self.checkpoints: dict[str, dict] = {}
        self.name = ""

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        self.begun.append(state.count_begun_batches(trainer))
        self.numbers.append(state.get_batch_index(trainer))
        self.workers = len(state.get_loader_workers(trainer.train_dataloader))
        if trainer.global_step == 3:
            self.save(trainer, "between iterations")
        if trainer.global_step == 4:  # 3 is the next to validate after, were it not for this
            self.interval = state.set_validation_interval(trainer, 1)
            state.set_logged_step(trainer)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.stepped.append(trainer.fit_loop.epoch_loop._batches_that_stepped)

    def on_validation_start(self, trainer, module) -> None:
        self.validations.append(trainer.global_step)
        if trainer.global_step == 3:
            self.save(trainer, "before validation")

    def save(self, trainer, name: str) -> None:
        self.name = name
        trainer.save_checkpoint(self.folder / "x.ckpt")

    def on_save_checkpoint(self, trainer, module, checkpoint) -> None:
        loops = checkpoint["loops"]["fit_loop"]
        before = loops["epoch_loop.batch_progress"]["total"]["ready"]
        due_before = state.is_validation_due(checkpoint)
        state.mark_validation(checkpoint, due=True)
        due = state.is_validation_due(checkpoint)
        state.mark_validation(checkpoint, due=False)
        not_due = state.is_validation_due(checkpoint)
        state.forget_announced_batch(checkpoint)
        taken_back = before - loops["epoch_loop.batch_progress"]["total"]["ready"]
        self.checkpoints[self.name] = {
            "begun": before, "taken back": taken_back, "due": due, "not due": not_due, "as it was": due_before,
        }  # fmt: skip


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[L.Trainer, Watch]:
    watch = Watch(tmp_path_factory.mktemp("state"))
    trainer = L.Trainer(
        max_steps=STEPS, accelerator="cpu", logger=False, callbacks=[watch], enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=5, num_sanity_val_steps=0,
        val_check_interval=3, check_val_every_n_epoch=None,
    )  # fmt: skip
    data = [torch.ones(1) for _ in range(BATCHES)]
    trainer.fit(Tiny(), DataLoader(data, num_workers=1, persistent_workers=True), DataLoader(data[:1]))
    return trainer, watch


def test_plain_attributes(watched: tuple[L.Trainer, Watch]) -> None:
    trainer, watch = watched
    assert watch in state.get_callbacks(trainer), CHANGED + "get_callbacks"
    assert state.get_log_interval(trainer) == 5, CHANGED + "get_log_interval"


def test_batches_are_counted_over_the_whole_run(watched: tuple[L.Trainer, Watch]) -> None:
    _, watch = watched
    assert watch.begun == list(range(1, STEPS + 1)), CHANGED + "count_begun_batches"
    assert watch.numbers == list(range(STEPS)), CHANGED + "get_batch_index"
    assert watch.workers == 1, "torch's DataLoader has changed: look at get_loader_workers"


def test_logged_steps_are_the_optimisers(watched: tuple[L.Trainer, Watch]) -> None:
    assert watched[1].stepped == list(range(STEPS)), CHANGED + "set_logged_step"


def test_the_interval_of_validations_can_be_changed_within_a_run(watched: tuple[L.Trainer, Watch]) -> None:
    _, watch = watched
    assert watch.interval == 3, CHANGED + "set_validation_interval"
    assert watch.validations == [3, 5, 6], CHANGED + "set_validation_interval"


def test_checkpoints_hold_counts_that_can_be_corrected(watched: tuple[L.Trainer, Watch]) -> None:
    between, before = (watched[1].checkpoints[name] for name in ("between iterations", "before validation"))
    assert (between["begun"], before["begun"]) == (4, 3), CHANGED + "forget_announced_batch"
    assert between["taken back"] == 1, CHANGED + "forget_announced_batch"
    for found in (between, before):
        assert (found["due"], found["not due"]) == (True, False), CHANGED + "mark_validation"


def test_gradients_can_be_accumulated_over_epochs() -> None:
    """Steps of three batches in epochs of four: Lightning alone would also step on the last batch of each epoch."""
    steps: list[int] = []
    gradients: list[float] = []

    class Steps(L.Callback):
        def on_fit_start(self, trainer, module) -> None:
            state.accumulate_across_epochs(trainer)

        def on_before_optimizer_step(self, trainer, module, optimizer) -> None:
            steps.append(state.count_begun_batches(trainer))
            gradients.append(float(module.layer.bias.grad))

    trainer = L.Trainer(
        max_steps=3, accelerator="cpu", logger=False, callbacks=[Steps()], enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, accumulate_grad_batches=3, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(Tiny(), DataLoader([torch.ones(1) for _ in range(BATCHES)]))
    assert steps == [3, 6, 9], CHANGED + "accumulate_across_epochs"
    assert gradients == pytest.approx([1, 1, 1]), CHANGED + "accumulate_across_epochs"  # three thirds each


def test_a_run_without_steps_to_go_can_be_given_one(watched: tuple[L.Trainer, Watch]) -> None:
    trainer, _ = watched
    state.set_last_step(trainer, STEPS + 1)
    assert trainer.max_steps == STEPS + 1, CHANGED + "set_last_step"
    state.set_last_step(trainer, STEPS)


def test_the_training_loader_can_be_opened_before_training_and_again() -> None:
    drawn: list[int] = []

    class Order(torch.utils.data.Sampler):
        def __len__(self) -> int:
            return BATCHES

        def __iter__(self):
            drawn.append(1)
            return iter(range(BATCHES))

    class Asks(L.Callback):
        def on_fit_start(self, trainer, module) -> None:
            trainer.estimated_stepping_batches  # noqa: B018
            self.early = state.has_begun_to_fetch(trainer)
            fetcher = trainer.fit_loop._data_fetcher
            next(iter(fetcher))
            self.drawn = len(drawn)
            state.restart_loader(trainer)
            next(fetcher)
            self.again = len(drawn)

    asks = Asks()
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[asks],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = [torch.ones(1) for _ in range(BATCHES)]
    trainer.fit(Tiny(), DataLoader(data, sampler=Order()))
    assert asks.early, CHANGED + "has_begun_to_fetch"
    assert (asks.drawn, asks.again) == (1, 2), CHANGED + "restart_loader"
