"""Several processes share a study: they draw other configurations, learn from each other, and end with one result."""

import json
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from hydra.errors import InstantiationException

from src.system.errors import UserError
from src.tuning.optuna_search import STARTUP
from src.tuning.search import Searcher, Trial, search
from tests.checkpoints import SHAPES, write_checkpoint
from tests.commands import Command
from tests.tuning.test_tune_crf import hill, rows, run, searcher


def shared(path: Path, trials: int = 12, seed: int = 0) -> Searcher:
    return searcher("search=optuna", f"storage={path}", f"trials={trials}", f"seed={seed}")


def process(path: Path, **options: int) -> Iterator[Trial]:
    """Yield the trials of a process; it begins the next one when it is asked for it."""
    return search(lambda values: (hill(values), 0.0), shared(path, **options))


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_processes_in_turn(tmp_path: Path) -> None:
    """As if the study was of one process: all configurations differ, and the last process knows all at its end."""
    first, second = (process(tmp_path / "study") for _ in range(2))
    mine, yours = zip(*((next(first), next(second)) for _ in range(6)), strict=True)
    mine, yours = [*mine, *first], [*yours, *second]
    assert [trial.values for trial in mine] != [trial.values for trial in yours]  # each its own ones first
    keys = [[str(trial.values) for trial in trials] for trials in (mine, yours)]
    assert [len(set(key)) for key in keys] == [len(key) for key in keys] == [12, 13]
    assert set(keys[0]) < set(keys[1])  # the trial that was running when the twelfth ended is kept
    entries = lines(tmp_path / "study")
    numbers = [entry["number"] for entry in entries if "value" in entry]
    assert sorted(numbers) == list(range(len(numbers)))


def test_processes_learn_from_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes later knows the trials of the other, so it needs no random draws of its own."""
    told = []
    study = type(optuna.create_study())
    monkeypatch.setattr(study, "add_trial", lambda self, trial: told.append((trial.params, trial.value)))
    other = list(process(tmp_path / "study", trials=STARTUP))
    told.clear()
    later = next(process(tmp_path / "study", trials=STARTUP + 5))
    assert later.round == 1
    assert [value for _, value in told] == pytest.approx([trial.miou for trial in other])
    assert [params["sxy"] for params, _ in told] == pytest.approx([trial.values["sxy"] for trial in other], rel=5e-3)


def test_a_killed_process_costs_its_trial_only(tmp_path: Path) -> None:
    path = tmp_path / "study"
    killed = process(path)
    for _ in range(4):
        next(killed)
    killed.close()  # during the fifth, as the fourth has not been told yet
    with path.open("a") as file:
        file.write('{"number": 9, "par')  # a line that a kill has cut short
    trials = list(process(path))
    assert len(trials) == 12
    assert len([entry for entry in map(json.loads, valid(path)) if "value" in entry]) == 12


def valid(path: Path) -> list[str]:
    """Return the lines that are whole."""
    return [line for line in path.read_text().splitlines() if line.endswith("}")]


def test_a_finished_study_draws_nothing_more(tmp_path: Path) -> None:
    first = list(process(tmp_path / "study", trials=3))
    before = (tmp_path / "study").read_bytes()
    again = list(process(tmp_path / "study", trials=3))
    assert [trial.values for trial in again] == [trial.values for trial in first]
    assert (tmp_path / "study").read_bytes() == before


def test_another_study_or_another_file_is_refused(tmp_path: Path) -> None:
    next(process(tmp_path / "study"))
    for other in (process(tmp_path / "study", seed=1), search(lambda v: (hill(v), 0.0), shared(tmp_path / "text"))):
        (tmp_path / "text").write_text("what a user wrote\n")
        with pytest.raises(UserError, match="holds another study"):
            next(other)
    assert (tmp_path / "text").read_text() == "what a user wrote\n"
    with pytest.raises(InstantiationException, match=r"storage=sqlite:///a.db: must be the path of a file"):
        searcher("search=optuna", "storage=sqlite:///a.db")


def test_other_images_or_parameters_are_another_study(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    few = ["search=optuna", "trials=1", f"storage={tmp_path / 'study'}", "held_back=0", "crf.iterations=1"]
    run(tmp_path, *few)
    run(tmp_path, *few)
    for other in ("crf.w2=4", "images=3", "split=train"):
        with pytest.raises(UserError, match="holds another study"):
            run(tmp_path, *few, other)


def test_two_processes_at_once(tmp_path: Path) -> None:
    """Each configuration is counted once, and both write the same result."""
    write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    common = [
        f"ckpt={tmp_path / 'net.ckpt'}", "search=optuna", "trials=14", f"storage={tmp_path / 'study'}", "name=null",
        f"cache={tmp_path / 'cache'}", "held_back=0", "crf.iterations=1", "accelerator=cpu", "workers=1",
    ]  # fmt: skip
    folders = [tmp_path / "a", tmp_path / "b"]
    running = [
        Command("tune_crf", *common, f"hydra.run.dir={folder}", output=tmp_path / f"{folder.name}.log")
        for folder in folders
    ]
    assert [command.wait(300) for command in running] == [0, 0], running[0].output.read_text()
    finished = [entry for entry in lines(tmp_path / "study") if "value" in entry]
    assert 14 <= len(finished) <= 15
    assert len({entry["number"] for entry in finished}) == len(finished)
    (counts,) = tmp_path.glob("cache/*/counts.jsonl")
    keys = [json.dumps(entry["key"]) for entry in lines(counts)]
    assert len(keys) - len(set(keys)) <= 1  # the parameters to compare with may be counted by both at the same time
    tables = [rows(folder / "results.csv") for folder in folders]
    assert abs(len(tables[0]) - len(tables[1])) <= 1
    last = max(tables, key=len)
    assert len(last) == len(finished)
    assert float(last[0]["miou"]) == max(entry["value"] for entry in finished)
