"""The memory format: the faster one is chosen, the choice is kept, and it changes no result but by rounding."""

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from src.data import Shapes
from src.models import VGG, DeepLab, FCHead
from src.system.errors import UserError
from src.training import memory_format
from src.training.fit import build_segmenter
from src.training.losses import CrossEntropy, SegmentationLoss
from src.training.memory_format import FORMATS, choose_memory_format, measure_ratio
from src.training.resume.same_run import check_same_run
from src.training.segmenter import Segmenter
from tests.checkpoints import NO_PROGRESS
from tests.models.networks import composed


def choose(file: Path, side: int = 33) -> str:
    return choose_memory_format(nn.Conv2d(3, 2, 1), nn.Identity(), 2, side, "32-true", file)


@pytest.mark.parametrize(
    ("ratio", "chosen"),
    [(0.5, "channels_last"), (1.0, "channels_last"), (1.04, "channels_last"), (1.3, "contiguous")],
)
def test_the_faster_format_is_chosen_once(
    ratio: float, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lead that noise may give is none. The file remembers each network by itself, and survives being damaged."""
    ratios = [ratio, 1.0, ratio]
    monkeypatch.setattr(memory_format, "measure_ratio", lambda *_: ratios.pop(0))
    file = tmp_path / "cache" / "formats.json"
    assert [choose(file), choose(file), choose(file, side=65), choose(file)] == [
        chosen,
        chosen,
        "channels_last",
        chosen,
    ]
    assert sorted(json.loads(file.read_text()).values()) == sorted([ratio, 1.0])
    file.write_text("{")
    assert choose(file) == chosen


def test_a_folder_that_cannot_be_written_keeps_nobody_from_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(memory_format, "measure_ratio", lambda *_: 2.0)
    assert choose(tmp_path / "file" / "formats.json") == "contiguous"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_trial_leaves_no_trace(precision: str) -> None:
    def head(channels: object, classes: int) -> FCHead:
        return FCHead(channels, classes, kernel=3, rate=2, channels=64, width=0.25, batch_norm=True)

    model = DeepLab(VGG(width=1 / 64, batch_norm=True), head, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    ratio = measure_ratio(model, SegmentationLoss(CrossEntropy(), "scores"), 3, 33, precision)
    assert 0.01 < ratio < 100
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def small_segmenter() -> Segmenter:
    return build_segmenter(composed("backbone.width=0.0625"), list(Shapes.classes), Shapes.palette.tolist())


@pytest.mark.parametrize(
    ("in_checkpoint", "restored"),
    [
        ({"memory_format": "contiguous"}, "contiguous"),
        ({"memory_format": "channels_last"}, "channels_last"),
        ({}, "channels_last"),  # a checkpoint of a version that had only this format
    ],
)
def test_a_resumed_run_keeps_its_format(in_checkpoint: dict[str, str], restored: str, tmp_path: Path) -> None:
    """With any other format than its own, it is refused."""
    segmenter, other = small_segmenter(), ({*FORMATS} - {restored}).pop()
    hparams, file = dict(segmenter.hparams), tmp_path / "last.ckpt"
    torch.save(
        {**NO_PROGRESS, **in_checkpoint, "hyper_parameters": hparams, "state_dict": segmenter.state_dict()}, file
    )
    for configured in ("auto", restored):
        check_same_run(str(file), segmenter, OmegaConf.create({"memory_format": configured}))
    with pytest.raises(
        UserError, match=rf"a run with memory_format={restored} \(now {other}\): resume it with the same"
    ):
        check_same_run(str(file), segmenter, OmegaConf.create({"memory_format": other}))
    segmenter.set_memory_format(other)
    segmenter.on_load_checkpoint(in_checkpoint)
    assert segmenter.memory_format == restored
    assert segmenter.model.backbone.stages[1][0].weight.is_contiguous(memory_format=FORMATS[restored])


def test_weights_and_images_get_the_format() -> None:
    segmenter, seen = small_segmenter(), []
    image = torch.randint(0, 256, (2, 33, 33, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    segmenter.model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    for name, format in FORMATS.items():
        segmenter.set_memory_format(name)
        segmenter(image)
        assert seen[-1].is_contiguous(memory_format=format)
        assert segmenter.model.backbone.stages[1][0].weight.is_contiguous(memory_format=format)
        checkpoint: dict[str, object] = {}
        segmenter.on_save_checkpoint(checkpoint)
        assert checkpoint == {"memory_format": name}
