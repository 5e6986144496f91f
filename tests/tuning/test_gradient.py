"""Learning numbers by class: the loss, what is learned, and the preset."""

from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from src.crf import DenseCRF
from src.tuning.gradient import Gradient, make_example, refine, soft_iou_loss
from src.tuning.search import ScoredImage, refined_confusion, search
from tests.checkpoints import SHAPES, write_checkpoint
from tests.models.networks import composed
from tests.tuning.test_tune_crf import rows, run

FEW = ["search=gradient", "split=val", "images=3", "held_back=0.4", "steps=2", "rounds=1", "batch_size=2"]


def striped() -> ScoredImage:
    """Return an image of one colour with a line of class 1, of which the scores are not certain."""
    label = torch.zeros(49, 65, dtype=torch.uint8)
    label[:, 24:32] = 1
    label[0] = 255
    scores = torch.zeros(2, 7, 9)
    scores[0] = 1.0
    scores[1, :, 3:5] = 1.6
    image = torch.full((3, 49, 65), 100, dtype=torch.uint8)
    return ScoredImage(image, label, scores.half())


def test_loss_is_one_minus_mean_iou_where_probabilities_are_certain() -> None:
    """Truth 0 0 1 void, prediction 0 1 1 0: IoU 1/2 and 1/2; class 2 is predicted nowhere and absent."""
    q = torch.eye(3)[[0, 1, 1, 0]]
    assert soft_iou_loss([(q, torch.tensor([0, 0, 1, 255]))]) == pytest.approx(1 - (1 / 2 + 1 / 2) / 2)


def test_loss_of_probabilities() -> None:
    """Class 0: 0.8 of 1 + 0.3, class 1: 0.7 of 1 + 0.2."""
    q = torch.tensor([[0.8, 0.2], [0.3, 0.7]])
    expected = 1 - (0.8 / (1.1 + 1 - 0.8) + 0.7 / (0.9 + 1 - 0.7)) / 2
    assert soft_iou_loss([(q[:1], torch.tensor([0])), (q[1:], torch.tensor([1]))]) == pytest.approx(expected)


def test_gradient_by_finite_differences() -> None:
    crf = DenseCRF(3, 20, 10)
    example = make_example(striped(), crf.parameters)
    bias = torch.tensor([0.1, -0.2], requires_grad=True)
    costs = torch.tensor([[0.0, 0.8], [1.0, 0.1]], requires_grad=True)

    def loss(bias: torch.Tensor, costs: torch.Tensor) -> torch.Tensor:
        return soft_iou_loss([(refine(example, bias, costs), example.label)])

    loss(bias, costs).backward()
    for values in (bias, costs):
        assert values.grad is not None
        for index in range(values.numel()):
            step = torch.zeros(values.numel()).index_fill(0, torch.tensor(index), 1e-2).view_as(values)
            with torch.no_grad():
                high, low = (loss(*(v + sign * step if v is values else v for v in (bias, costs))) for sign in (1, -1))
            assert float(values.grad.view(-1)[index]) == pytest.approx(float(high - low) / 2e-2, rel=0.05, abs=1e-3)


def test_an_example_is_every_second_pixel() -> None:
    """Scores of a cell are those of the pixel at its centre, so pixel (16, 32) has those of cell (2, 4)."""
    image = striped()
    example = make_example(image, DenseCRF(3, 20, 10).parameters)
    logits, label = example.logits.view(25, 33, 2), example.label.view(25, 33)
    assert logits[8, 16].tolist() == pytest.approx(image.scores[:, 2, 4].tolist())
    assert logits[8, 10, 1] == pytest.approx(0.5 * 1.6, abs=1e-3)  # pixel 20 is half-way between cells 2 and 3
    assert (label[0] == 255).all()
    assert label[1, 11:17].tolist() == [0, 1, 1, 1, 1, 0]  # of pixels 22 to 32, the line is 24 to 31


def test_learning_keeps_a_line_that_potts_removes() -> None:
    image = striped()
    crf = {"w1": 6.0, "sxy": 20.0, "srgb": 10.0, "w2": 3.0, "sg": 3.0, "engine": "torch"}
    gradient = Gradient(["bias"], steps=12, rounds=2, lr=0.3, batch_size=1, seed=0)

    def count(values: dict) -> tuple[torch.Tensor, float]:
        return refined_confusion(DenseCRF(**{**crf, **values}), [image], 2, 1), 0.0

    trials = list(search(count, lambda done: gradient.propose([image], crf, done)))
    assert [trial.round for trial in trials] == [0, 1, 2]
    assert trials[0].values == {"bias": [0.0, 0.0]}
    assert trials[0].confusion[1, 1] == 0
    assert trials[-1].confusion[1, 1] > 0.9 * trials[-1].confusion[1].sum()


def test_preset_holds_plain_numbers(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    best = run(tmp_path, *FEW)
    crf = composed(f"hydra.searchpath=[file://{tmp_path}]", "crf=tuned").crf
    assert {name: crf[name] for name in best.values} == best.values
    assert len(instantiate(crf).parameters.compatibility) == 7
    assert [row["round"] for row in sorted(rows(tmp_path / "results.csv"), key=lambda row: row["round"])] == ["0", "1"]
    assert not (tmp_path / "heatmap.png").exists()


@pytest.mark.parametrize("override", ["learn=[w1]", "learn=[]", "learn=bias", "steps=0", "rounds=9", "lr=0"])
def test_settings_that_are_none(tmp_path: Path, override: str) -> None:
    with pytest.raises(InstantiationException, match=override.partition("=")[0] + "="):
        run(tmp_path, *FEW, override)
