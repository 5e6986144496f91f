"""The results of a validation depend neither on when the CRF is done nor on the order of callbacks."""

from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from copy import deepcopy
from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from src.crf import DenseCRF
from src.runs.metric_names import CRF, NETWORK, is_crf_metric, metric_name
from src.system.errors import UserError
from src.training.callbacks import CRFRefinement, PredictionPictures, ServerArchive
from src.training.validation import LabelledImage, Validation, collect_metrics
from tests.training.callbacks.test_crf import PARAMETERS, datamodule, segmenter, validate

__all__ = ["datamodule", "segmenter"]  # fixtures

CPU = torch.device("cpu")


class Later:
    """Gives every image the label 1, once it is asked to."""

    time_limit = 5.0

    def __init__(self) -> None:
        self.futures: list[tuple[Future[Tensor], Tensor]] = []

    def refine_labels(self, image: LabelledImage, scores: Tensor) -> Future[Tensor]:
        self.futures.append((Future(), torch.ones(image.truth.shape, dtype=torch.int64)))
        return self.futures[-1][0]

    def finish(self) -> None:
        for future, label in self.futures:
            future.set_result(label)

    def give_up(self, error: BaseException) -> None:
        self.error = error


def batch_of(truth: int) -> dict:
    label = torch.full((1, 9, 9), truth, dtype=torch.uint8)
    return {"id": [f"all {truth}"], "image": torch.zeros(1, 3, 9, 9, dtype=torch.uint8), "label": label}


def scores_for(winner: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(winner), 2).float().view(1, 2, 1, 1).expand(1, 2, 2, 2)


def test_counts_by_hand_without_and_with_refinement() -> None:
    """Two images: the network predicts 0 twice, the refinement 1 twice; the truth is 0, then 1."""
    validation, later, read = Validation(["a", "b"]), Later(), []
    validation.refinement = later
    validation.readers.append(lambda image: read.append((image.id, image.method, int(image.prediction[0, 0]))))
    validation.begin(CPU)
    for position, truth in enumerate((0, 1)):
        validation.add([position], batch_of(truth), scores_for(0))
    assert read == [("all 0", NETWORK, 0), ("all 1", NETWORK, 0)]  # nothing is refined yet
    later.finish()
    results = validation.compute()
    assert read[2:] == [("all 0", CRF, 1), ("all 1", CRF, 1)]
    assert results[NETWORK]["iou"].tolist() == [0.5, 0.0]
    assert results[CRF]["iou"].tolist() == [0.0, 0.5]
    metrics = collect_metrics(results, ["a", "b"])
    assert metrics["val/miou"] == metrics["val/miou_crf"] == 0.25
    assert (metrics["val/iou/a"], metrics["val/iou_crf/b"]) == (0.5, 0.5)


def test_a_lost_worker_costs_the_refined_metrics_only() -> None:
    validation, later = Validation(["a", "b"]), Later()
    later.time_limit = 0.01  # nothing is ever finished
    validation.refinement = later
    validation.begin(CPU)
    validation.add([0], batch_of(0), scores_for(0))
    assert list(validation.compute()) == [NETWORK]
    assert isinstance(later.error, WaitedTooLong)


def test_a_copy_has_found_nothing() -> None:
    validation = Validation(["a", "b"])
    validation.refinement = Later()
    validation.begin(CPU)
    validation.add([0], batch_of(0), scores_for(0))
    copy = deepcopy(validation)
    assert (copy.classes, copy.metrics, len(copy.waiting), copy.refinement) == (["a", "b"], {}, 0, None)


@pytest.mark.parametrize("name", ["val/miou_crf", "test/iou_crf/car", "best/pixel_accuracy_crf"])
def test_metrics_with_crf_are_recognised_by_name(name: str) -> None:
    assert is_crf_metric(name)
    assert not is_crf_metric(name.replace("_crf", ""))


def test_a_class_may_be_called_like_a_metric_with_crf() -> None:
    assert not is_crf_metric(metric_name("iou", NETWORK, class_="road_crf"))


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_the_order_of_callbacks_changes_nothing(segmenter, datamodule, tmp_path, order) -> None:
    refined: dict[str, np.ndarray] = {}

    def keep(image: LabelledImage) -> None:
        if image.method is CRF:
            refined[image.id] = image.prediction.numpy()

    callbacks = (
        CRFRefinement(DenseCRF(**PARAMETERS)),
        PredictionPictures(str(tmp_path / "pictures"), count=2),
        ServerArchive(str(tmp_path / "archive")),
    )
    segmenter.validation.readers.append(keep)
    validate(segmenter, datamodule, *(callbacks[place] for place in order))
    segmenter.validation.readers.remove(keep)
    assert segmenter.validation.readers == []  # callbacks leave none behind
    assert (tmp_path / "archive" / "crf.tar.gz").is_file()
    assert len(refined) == 5
    for id_, label in refined.items():
        written = next((tmp_path / "archive" / "crf").rglob(f"{id_}.png"))
        np.testing.assert_array_equal(np.asarray(Image.open(written)), label)
    sheet = Image.open(tmp_path / "pictures" / "best.png")
    assert sheet.width == 4 * 60 + 5 * 8  # image, truth, network, network + CRF, and margins of 8 pixels


def test_outside_of_training_a_lost_worker_is_an_error(segmenter, datamodule) -> None:
    callback = CRFRefinement(DenseCRF(**PARAMETERS))
    validate(segmenter, datamodule, callback)
    with pytest.raises(UserError, match="more than 600 s"):
        callback.give_up(WaitedTooLong())
