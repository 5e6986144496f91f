"""The proposed experiment follows from the fingerprint and the machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import yaml

from src.data.fingerprint import Fingerprint
from src.data.survey import Survey
from src.preparation.experiment import experiment_yaml
from src.preparation.proposal import Proposal, propose
from src.preparation.training_machine import Machine, this_machine

CPU = Machine("cpu", 16, 2, has_weights=True, seconds=1.5)
GPU = Machine("cuda", 24, 16, has_weights=True, seconds=1.5)


def fingerprint(
    pixels: Sequence[int] = (900, 100),
    size: tuple[int, int] = (640, 480),
    count: int = 100,
    thin: Sequence[float] = (0, 0),
    classes: Sequence[str] = ("ground", "cat"),
) -> Fingerprint:
    survey = Survey(count, [])
    survey.pixels[: len(pixels)] = pixels
    survey.sizes[size] = count
    return Fingerprint(classes, {"train": survey}, thin, [], [])


def value(proposal: Proposal, key: str) -> object:
    return {**proposal.groups, **proposal.values}[key].value


def test_pretrained_weights_only_with_a_gpu() -> None:
    assert value(propose(fingerprint(), CPU, "mine"), "backbone") == "slim"
    proposal = propose(fingerprint(), GPU, "mine")
    chosen = [value(proposal, key) for key in ("backbone", "optimizer", "backbone.weights")]
    assert chosen == ["vgg16", "paper", "imagenet"]
    without = propose(fingerprint(), Machine("cuda", 24, 16, has_weights=False, seconds=1.5), "mine")
    assert value(without, "backbone") == "slim"
    assert any("backbone.weights=imagenet" in remark for remark in without.remarks)


@pytest.mark.parametrize(
    ("size", "machine", "crop"),
    [
        ((64, 48), CPU, 65),
        ((65, 65), CPU, 65),
        ((66, 20), CPU, 73),
        ((320, 320), GPU, 321),
        ((640, 480), GPU, 321),
        ((2048, 1024), GPU, 513),
        ((2048, 1024), CPU, 321),
    ],
)
def test_the_crop_is_8k_and_1(size: tuple[int, int], machine: Machine, crop: int) -> None:
    assert value(propose(fingerprint(size=size), machine, "mine"), "augmentation.crop_size") == crop


def test_rare_classes_get_weight() -> None:
    rare = propose(fingerprint((990, 10)), CPU, "mine")
    assert value(rare, "loss") == "class_balanced"
    assert "cat has 1.00% of the pixels" in rare.groups["loss"].reason
    assert value(propose(fingerprint((900, 100)), CPU, "mine"), "loss") == "cross_entropy"
    absent = fingerprint((900, 100, 0), thin=(0, 0, np.nan), classes=("ground", "cat", "dog"))
    assert value(propose(absent, CPU, "mine"), "loss") == "cross_entropy"


def test_thin_parts_are_enlarged_and_compared_at_every_pixel() -> None:
    proposal = propose(fingerprint(thin=(0, 0.6)), CPU, "mine")
    assert value(proposal, "augmentation.scale") == [0.75, 2.0]
    assert value(proposal, "loss.grid") == "image"
    assert "loss.grid" not in propose(fingerprint(thin=(0.6, 0)), CPU, "mine").values  # only of the background


def test_no_mirror_image_of_left_and_right() -> None:
    assert value(propose(fingerprint(classes=("ground", "Left_lane")), CPU, "mine"), "augmentation.mirror") is False
    assert "augmentation.mirror" not in propose(fingerprint(classes=("ground", "brightness")), CPU, "mine").values


@pytest.mark.parametrize(
    ("memory", "count", "batch"),
    [(80, 1000, 32), (24, 1000, 32), (8, 1000, 8), (4, 1000, 4), (1, 1000, 2), (80, 9, 8), (80, 3, 4)],
)
def test_the_batch_fits_into_the_memory_and_the_data(memory: float, count: int, batch: int) -> None:
    """VGG-16 at crop 321 needs 0.42 GiB an image, of 60 % of the memory."""
    machine = Machine("cuda", memory, 8, has_weights=True, seconds=1.5)
    assert value(propose(fingerprint(count=count), machine, "mine"), "data.batch_size") == batch


def test_the_length_follows_the_number_of_images() -> None:
    for count, steps in ((10, 600), (100, 1000), (1000, 2000)):
        proposal = propose(fingerprint(count=count), CPU, "mine")
        assert value(proposal, "trainer.max_steps") == steps
        assert value(proposal, "trainer.val_check_interval") == steps // 5


def test_large_images_are_evaluated_in_windows() -> None:
    assert any("inference=windows" in r for r in propose(fingerprint(size=(4000, 3000)), GPU, "mine").remarks)
    assert any("whole" in r for r in propose(fingerprint(), GPU, "mine").remarks)


def test_the_yaml_has_a_reason_on_each_line() -> None:
    proposal = propose(fingerprint((990, 10), thin=(0, 0.6), classes=("ground", "left: a #1")), GPU, "mine")
    text = experiment_yaml(proposal, "mine")
    content = yaml.safe_load(text)
    assert content["defaults"][0] == {"override /dataset": "mine"}
    assert content["loss"] == {"grid": "image", "criterion": {"beta": 0.998}}
    assert content["augmentation"] == {"crop_size": 321, "mirror": False, "scale": [0.75, 2.0]}
    settings = [line for line in text.splitlines() if not line.startswith("#") and not line.endswith(":") and line]
    assert all(" # " in line for line in settings if "/dataset" not in line)
    assert text.startswith("# @package _global_\n")


def test_this_machine() -> None:
    machine = this_machine(3)
    assert (machine.device, machine.cores) == ("cpu", 3)
    assert 0.1 < machine.memory < 1e5
