"""A loss that is NaN ends the run with a line, and leaves its batch and weights."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from src.system.errors import UserError
from src.training.callbacks import FiniteLoss


class Module(nn.Linear):
    hparams = MappingProxyType({"classes": ["a"]})


class Training:
    global_rank, global_step = 0, 3


def meet_nan(path: Path) -> str:
    callback, module, loss = FiniteLoss(str(path)), Module(1, 1), torch.tensor(float("nan"))
    callback.on_train_batch_start(Training(), module, {"image": torch.ones(1), "id": ["a"]}, 0)
    with pytest.raises(UserError) as caught:
        callback.on_before_backward(Training(), module, loss)
    return str(caught.value)


def test_batch_and_weights_are_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "nonfinite.pt"
    assert meet_nan(path).startswith("the loss is nan at step 3, images a; batch and weights are in ")
    content = torch.load(path, weights_only=True)
    assert (content["step"], content["batch"]["id"]) == (3, ["a"])
    assert set(content["state_dict"]) == {"weight", "bias"}


def test_a_full_disk_does_not_hide_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half_of_it(content: object, file: Any) -> Tensor:
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half_of_it)
    line = meet_nan(tmp_path / "nonfinite.pt")
    assert line.startswith("the loss is nan at step 3, images a; ")
    assert "nonfinite.pt could not be written (No space left on device)" in line
    assert list(tmp_path.iterdir()) == []
