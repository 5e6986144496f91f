"""The search for parameters of the CRF: its counts, its points, and the files that the next run uses."""

import csv
import itertools
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from sklearn.metrics import confusion_matrix, jaccard_score

from src.data import Shapes
from src.system.errors import UserError
from src.tuning.journal import Journal
from src.tuning.search import Searcher, Trial, search, split_images
from src.tuning.tune import tune
from tests.checkpoints import SHAPES, write_checkpoint
from tests.conftest import REPO
from tests.evaluation.test_evaluate import CPU, CRF, reference
from tests.evaluation.test_evaluate import run as evaluate
from tests.models.networks import composed

ONE = ["grid.w1=[4]", "grid.sxy=[30]", "grid.srgb=[10]", "refine=0", "held_back=0"]
FEW = ["grid.w1=[2,4]", "grid.sxy=[20,30]", "grid.srgb=[10]", "refine=1", "held_back=0.4"]


def run(folder: Path, *overrides: str) -> Trial:
    crf = [f"crf.{key}={value}" for key, value in CRF.items()]
    paths = [f"ckpt={folder / 'net.ckpt'}", f"cache={folder / 'cache'}", f"paths.output_dir={folder}"]
    (folder / "crf").mkdir(exist_ok=True)
    config = composed(*paths, "accelerator=cpu", "precision=32-true", *crf, *overrides, name="tune_crf")
    return tune(config, presets=folder / "crf")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trial]:
    folder = tmp_path_factory.mktemp("tune")
    write_checkpoint(folder / "net.ckpt", dataset=SHAPES)
    return folder, run(folder, *FEW)


def test_figures_of_one_configuration_are_scikit_learns_and_evaluates(tmp_path: Path) -> None:
    """Up to scores rounded to float16, which may change pixels with two nearly equal classes."""
    module = write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    trial = run(tmp_path, *ONE)
    truth, network, refined = reference(module, Shapes("val", SHAPES["samples"], size=60))
    assert np.abs(trial.confusion.numpy() - confusion_matrix(truth, refined, labels=range(7))).sum() <= 20
    assert trial.miou == pytest.approx(jaccard_score(truth, refined, average="macro"), abs=2e-3)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["searched/miou/network"] == pytest.approx(jaccard_score(truth, network, average="macro"), abs=2e-3)
    figures = evaluate(tmp_path, f"ckpt={tmp_path / 'net.ckpt'}", *CPU)
    assert trial.miou == pytest.approx(figures["val/miou_crf"], abs=2e-3)


def hill(values: Mapping[str, float]) -> torch.Tensor:
    """Return a confusion matrix whose mean IoU has its maximum, 1, at w1 5, sxy 63, srgb 4.5."""
    distance = (values["w1"] - 5) ** 2 + ((values["sxy"] - 63) / 10) ** 2 + (values["srgb"] - 4.5) ** 2
    hits = round(1e6 * math.exp(-distance / 50))
    return torch.tensor([[hits, 10**6 - hits], [10**6 - hits, hits]])


def searcher(*overrides: str) -> Searcher:
    return instantiate(composed(*overrides, name="tune_crf").search)


def test_points_are_the_papers_grid_and_then_closer_ones() -> None:
    """Halved steps of 10 and 1 lead to 62.5 and 4.5."""
    trials = list(search(lambda values: (hill(values), 0.0), searcher()))
    points = [tuple(trial.values.values()) for trial in trials]
    coarse = {tuple(trial.values.values()) for trial in trials if trial.round == 0}
    assert coarse == {(w, xy, rgb) for w in (5, 10) for xy in range(50, 101, 10) for rgb in range(3, 11)}
    assert len(points) == len(set(points))
    assert max(trials, key=lambda trial: trial.miou).values == {"w1": 5, "sxy": 62.5, "srgb": 4.5}
    assert min(min(point) for point in points) > 0


def test_a_parameter_with_one_value_stays(tuned: tuple[Path, Trial]) -> None:
    folder, _ = tuned
    assert {row["srgb"] for row in rows(folder / "results.csv")} == {"10.0"}


def test_table_holds_every_configuration_best_first(tuned: tuple[Path, Trial]) -> None:
    folder, best = tuned
    table = rows(folder / "results.csv")
    assert {(row["w1"], row["sxy"]) for row in table if row["round"] == "0"} == {
        (w, xy) for w in ("2.0", "4.0") for xy in ("20.0", "30.0")
    }
    ious = [float(row["miou"]) for row in table]
    assert ious == sorted(ious, reverse=True)
    assert {name: float(table[0][name]) for name in best.values} == best.values
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["searched/miou/crf_tuned"] == ious[0]
    assert (figures["searched/images"], figures["held_back/images"]) == (3, 2)
    assert {"held_back/miou/network", "held_back/miou/crf_before", "held_back/miou/crf_tuned"} <= figures.keys()
    assert (folder / "heatmap.png").stat().st_size > 10_000


def test_crf_takes_the_preset(tuned: tuple[Path, Trial]) -> None:
    folder, best = tuned
    crf = composed(f"hydra.searchpath=[file://{folder}]", "crf=tuned").crf
    assert {name: crf[name] for name in best.values} == best.values
    assert (crf._target_, crf.iterations, crf.prune) == ("src.crf.DenseCRF", CRF["iterations"], 0)
    assert (folder / "crf.yaml").read_text() == (folder / "crf" / "tuned.yaml").read_text()


def test_again_takes_scores_and_counts_from_the_cache(
    tuned: tuple[Path, Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, best = tuned

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("src.tuning.tune.Predictor", never)
    monkeypatch.setattr("src.tuning.tune.refined_confusion", never)
    again = run(folder, *FEW)
    assert again.values == best.values
    with pytest.raises(AssertionError, match="computed again"):
        run(folder, *FEW, "crf.iterations=2")


def test_a_presets_place_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "crf").mkdir()
    (tmp_path / "crf" / "deeplab.yaml").write_text((REPO / "conf/crf/deeplab.yaml").read_text())
    for name, said in {"deeplab": "not written by a command", "a/b": "give letters"}.items():
        with pytest.raises(UserError, match=said):
            run(tmp_path, f"name={name}")


def test_null_keeps_a_parameter_and_a_list_adds_one() -> None:
    grid = searcher("grid.w1=null", "grid.sxy=null", "grid.srgb=null", "grid.sg=[1,3]", "refine=0")
    assert [values for values, _ in itertools.islice(grid([]), 2)] == [{"sg": 1}, {"sg": 3}]
    ranges = searcher("search=optuna", "ranges.w1=null", "ranges.sxy=null", "ranges.sg={low: 1, high: 3}", "trials=1")
    values, _ = next(iter(ranges([])))
    assert set(values) == {"srgb", "sg"}


@pytest.mark.parametrize("override", ["grid.sxy=[]", "grid.sxy=50", "+grid.prune=[0]", "grid.w1=[0]", "refine=-1"])
def test_grids_that_are_none(tmp_path: Path, override: str) -> None:
    with pytest.raises(InstantiationException, match=r"grid\.\w+=|refine="):
        run(tmp_path, override)


@pytest.mark.parametrize(("key", "kind"), [("grid", "grid"), ("ranges", "optuna")])
def test_a_search_of_no_parameter(key: str, kind: str) -> None:
    nothing = [f"{key}.{name}=null" for name in ("w1", "sxy", "srgb")]
    with pytest.raises(InstantiationException, match=rf"{key}=.*: has no "):
        searcher(f"search={kind}", *nothing)


@pytest.mark.parametrize(
    "override",
    [
        "ranges=null",
        "ranges.w1.low=0",
        "ranges.w1.high=1",
        "+ranges.prune={low: 1, high: 2}",
        "trials=0",
        "ranges.w1.log=7",
    ],
)
def test_ranges_that_are_none(tmp_path: Path, override: str) -> None:
    with pytest.raises(InstantiationException, match=r"ranges(\.\w+)?=|trials="):
        run(tmp_path, "search=optuna", override)


def test_optuna_finds_the_top_of_a_hill() -> None:
    trials = list(search(lambda values: (hill(values), 0.0), searcher("search=optuna", "trials=60")))
    assert len(trials) == 60
    assert [trial.round for trial in trials] == [0] * 10 + [1] * 50
    limits = {"w1": (1, 20), "sxy": (10, 160), "srgb": (1, 30)}
    assert all(low <= trial.values[name] <= high for trial in trials for name, (low, high) in limits.items())
    best = max(trials, key=lambda trial: trial.miou)
    assert best.miou > 0.85
    assert best.values["sxy"] == pytest.approx(63, abs=20)
    start, end = ([trial.miou for trial in part] for part in (trials[:10], trials[-20:]))
    assert np.mean(end) > np.mean(start) + 0.2


def test_a_search_by_optuna_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    def points(journal: Journal, stop: int | None = None) -> list[dict[str, float]]:
        counted = 0

        def once(values: dict[str, float]) -> tuple[torch.Tensor, float]:
            def count() -> torch.Tensor:
                nonlocal counted
                if counted == stop:
                    raise KeyboardInterrupt
                counted += 1
                counts.append(values)
                return hill(values)

            return journal.get_or_count({"crf": values}, count)

        return [trial.values for trial in search(once, searcher("search=optuna", "trials=30"))]

    counts: list[dict[str, float]] = []
    whole = points(Journal(tmp_path / "whole.jsonl"))
    counts.clear()
    with pytest.raises(KeyboardInterrupt):
        points(Journal(tmp_path / "stopped.jsonl"), stop=17)
    assert len(counts) == 17
    assert points(Journal(tmp_path / "stopped.jsonl")) == whole == counts
    other = [
        trial.values for trial in search(lambda v: (hill(v), 0.0), searcher("search=optuna", "trials=3", "seed=1"))
    ]
    assert other != whole[:3]


def test_optuna_through_the_command(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    few = ["search=optuna", "trials=12", "ranges.sxy={low: 5, high: 40}", "held_back=0", "crf.iterations=1"]
    best = run(tmp_path, *few)
    table = rows(tmp_path / "results.csv")
    assert len(table) == 12
    assert all(5 <= float(row["sxy"]) <= 40 for row in table)
    assert float(table[0]["miou"]) == best.miou == max(float(row["miou"]) for row in table)
    crf = composed(f"hydra.searchpath=[file://{tmp_path}]", "crf=tuned").crf
    assert {name: crf[name] for name in best.values} == best.values
    assert (tmp_path / "heatmap.png").stat().st_size > 10_000


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InstantiationException, match=r"search=optuna needs Optuna: pip install .*\[sweep\]"):
        run(tmp_path, "search=optuna")


def test_journal_loses_the_line_that_was_cut_off_and_no_other(tmp_path: Path) -> None:
    path, counted = tmp_path / "counts.jsonl", []

    def once(journal: Journal, number: int) -> list[list[int]]:
        def count() -> torch.Tensor:
            counted.append(number)
            return torch.full((2, 2), number)

        return journal.get_or_count({"crf": number}, count)[0].tolist()

    journal = Journal(path)
    for number in (1, 2):
        once(journal, number)
    path.write_bytes(path.read_bytes()[:-10])
    journal = Journal(path)
    assert [once(journal, number) for number in (1, 2, 3)] == [[[n, n], [n, n]] for n in (1, 2, 3)]
    assert counted == [1, 2, 2, 3]
    journal = Journal(path)
    assert [once(journal, number)[0][0] for number in (1, 2, 3)] == [1, 2, 3]
    assert counted == [1, 2, 2, 3]


def test_images_are_drawn_by_the_seed_and_never_twice() -> None:
    parts = split_images(200, 100, 0.3, seed=0)
    assert (len(parts["searched"]), len(parts["held_back"])) == (100, 60)
    assert not set(parts["searched"]) & set(parts["held_back"])
    assert parts == split_images(200, 100, 0.3, seed=0) != split_images(200, 100, 0.3, seed=1)
    assert {part: len(those) for part, those in split_images(101, 100, 0.3, 0).items()} == {
        "searched": 71,
        "held_back": 30,
    }
