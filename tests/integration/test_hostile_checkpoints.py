"""Checkpoints from strangers: no command calls what they name, reads the environment for them, or deletes a file."""

import ast
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from src.evaluation.evaluate import evaluate
from src.models.weights.pretrained import load_trained
from src.prediction.export import export
from src.prediction.predict import predict
from src.reporting.examples import predict_candidates
from src.reporting.runs import Run
from src.reporting.table import Row
from src.system.errors import UserError
from src.training.callbacks import RunCheckpoint
from src.training.segmenter import load_segmenter
from src.tuning.tune import tune
from tests.checkpoints import SHAPES, write_checkpoint
from tests.conftest import REPO
from tests.models.networks import composed


@pytest.fixture
def trap(tmp_path: Path) -> dict[str, Any]:
    """Return a config that creates a folder when it is instantiated."""
    return {"_target_": "os.mkdir", "_args_": [str(tmp_path / "owned")]}


@pytest.fixture
def hostile(tmp_path: Path, trap: dict[str, Any]) -> Callable[..., Path]:
    """Return a function that writes a valid checkpoint with some changes."""

    def write(**changes: Any) -> Path:
        module = write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
        parts = {**module.hparams, **changes}
        torch.save({"hyper_parameters": parts, "state_dict": module.state_dict()}, tmp_path / "net.ckpt")
        return tmp_path / "net.ckpt"

    return write


def hidden(trap: dict[str, Any]) -> dict[str, Any]:
    """Return configs with the trap in all kinds of places; OmegaConf turns tuples into lists."""
    return {
        "itself": trap,
        "value": {"a": trap},
        "list": {"a": [1, [trap]]},
        "tuple": {"a": (1, (trap,))},
        "partial": {"a": {**trap, "_partial_": True}},
        "beneath ours": {**SHAPES, "samples": trap},
        "beneath no recursion": {**SHAPES, "_recursive_": False, "samples": trap},
        "argument of ours": {**SHAPES, "_args_": [trap]},
    }


@pytest.mark.parametrize("place", hidden({}))
@pytest.mark.parametrize("part", ["model", "loss", "dataset"])
def test_a_call_is_found_wherever_it_hides(hostile: Callable[..., Path], trap: dict, part: str, place: str) -> None:
    path = hostile(**{part: hidden(trap)[place]})
    with pytest.raises(UserError, match=r"names os\.mkdir, which is not a class of src\.models, src\.training\.losses"):
        load_segmenter(path)
    assert not path.with_name("owned").exists()


@pytest.mark.parametrize(
    "reference", ["${oc.env:HOME}", "a ${oc.env:HOME} b", "${model}", "${slug:x}", "${oc.env:HOME"]
)
def test_references_are_not_followed(hostile: Callable[..., Path], reference: str) -> None:
    """They would bring the environment into file names, logs and reports."""
    for changes in ({"dataset": {**SHAPES, "root": reference}}, {"dataset": {reference: 1}}, {"classes": [reference]}):
        with pytest.raises(UserError, match=r"refers to .*; the config of a checkpoint must contain plain values only"):
            load_segmenter(hostile(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": 7},
        {"classes": [[1], {}]},
        {"classes": torch.ones(2)},
        {"palette": [[1, 2, 3], [4]]},
        {"palette": "red"},
        {"model": 3},
        {"model": []},
        {"model": {}},
        {"model": {"_target_": "src.models.VGG", "width": "wide"}},
        {"model": {"_target_": "src.models.Absent"}},
        {"more": 1},
        {"dataset": {1: {2: torch.device("cpu")}}},
    ],
    ids=str,
)
def test_what_makes_no_network_is_said_in_a_line(hostile: Callable[..., Path], changes: dict[str, Any]) -> None:
    path = hostile(**changes)
    with pytest.raises(UserError, match=r"net\.ckpt: (does not fit|names|contains|holds)") as caught:
        load_segmenter(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{}, [], {"hyper_parameters": [], "state_dict": {}}, {"state_dict": 3}], ids=str)
def test_other_contents_are_said(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "net.ckpt")
    with pytest.raises(UserError, match=r"holds no network to rebuild|not weights by name"):
        load_segmenter(tmp_path / "net.ckpt")


@pytest.mark.parametrize("name", ["weight", "int", "names"])
def test_other_weights_are_said(tmp_path: Path, name: str) -> None:
    module = write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    state = dict(module.state_dict())
    key = "model.head.fc8.weight"
    said = {"weight": f"{key} is not finite", "int": "does not fit", "names": "does not fit"}[name]
    change: dict[Any, Any] = {"weight": {key: state[key] / 0}, "int": {key: 3}, "names": {5: state[key]}}[name]
    torch.save({"hyper_parameters": dict(module.hparams), "state_dict": {**state, **change}}, tmp_path / "net.ckpt")
    with pytest.raises(UserError, match=said):
        load_segmenter(tmp_path / "net.ckpt")
    if name == "int":
        with pytest.raises(UserError, match=r"head\.fc8\.weight is missing"):
            load_trained(module.model, str(tmp_path / "net.ckpt"))


def commands(path: Path, folder: Path) -> dict[str, Callable[[], Any]]:
    """Return all commands that rebuild a network."""
    given, here = f"ckpt={path}", f"paths.output_dir={folder}"
    run = Run(folder, {"command": "evaluate", "ckpt": str(path)})
    return {
        "evaluate": lambda: evaluate(composed(given, here, "trainer.accelerator=cpu", name="evaluate")),
        "predict": lambda: predict(composed(given, here, f"input={REPO / 'docs/images/trimap.png'}", name="predict")),
        "export": lambda: export(composed(given, here, "format=torchscript", name="export")),
        "tune_crf": lambda: tune(composed(given, here, "name=null", name="tune_crf")),
        "report": lambda: predict_candidates(Row([run]), 1, {}),
    }


@pytest.mark.parametrize("command", commands(Path(), Path()))
@pytest.mark.parametrize("part", ["model", "dataset"])
def test_every_command_refuses(
    hostile: Callable[..., Path], trap: dict[str, Any], part: str, command: str, tmp_path: Path
) -> None:
    path = hostile(**{part: {"a": (trap,)}})
    with pytest.raises(UserError, match=r"names os\.mkdir"):
        commands(path, tmp_path)[command]()
    assert not (tmp_path / "owned").exists()


def test_what_trained_it_is_not_called_either(hostile: Callable[..., Path], trap: dict[str, Any]) -> None:
    """A user's own optimiser may be named there; evaluation does not need it."""
    loaded = load_segmenter(hostile(optimizer=trap, scheduler={"a": (trap,)}))
    assert (loaded.optimizer_config, loaded.scheduler_config) == ({}, {})


def test_resuming_takes_no_paths_from_the_file(tmp_path: Path) -> None:
    """Lightning deletes the previous best checkpoint, at whatever path the state gives."""
    victim = "local:///home/somebody"
    state = {
        "best_model_path": victim, "kth_best_model_path": victim, "last_model_path": victim, "dirpath": "/elsewhere",
        "best_model_score": torch.tensor(0.5), "kth_value": torch.tensor(0.5), "best_k_models": {victim: 1.0},
    }  # fmt: skip
    for monitor in (None, "val/miou"):
        callback = RunCheckpoint(tmp_path, "best", monitor=monitor, mode="max")
        callback.load_state_dict(dict(state))
        paths = [callback.best_model_path, callback.kth_best_model_path, callback.last_model_path]
        assert all(path == "" or Path(path).parent == tmp_path for path in [*paths, *callback.best_k_models])


def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Return the file and line of all calls in src of a function of this name."""
    return [(place, call) for place, function, call in all_calls() if function == name]


@functools.cache
def all_calls() -> list[tuple[str, str, ast.Call]]:
    return [
        (f"{path.relative_to(REPO)}:{node.lineno}", ast.unparse(node.func), node)
        for path in sorted((REPO / "src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]


def keyword(call: ast.Call, name: str) -> object:
    return next((ast.literal_eval(k.value) for k in call.keywords if k.arg == name), None)


def test_files_are_read_as_values_only() -> None:
    assert len(calls("torch.load")) >= 2
    assert [place for place, call in calls("torch.load") if keyword(call, "weights_only") is not True] == []
    assert [place for place, call in calls("trainer.fit") if keyword(call, "weights_only") is not True] == []
    assert [place for place, call in calls("np.load") if keyword(call, "allow_pickle") is not False] == []
    for name in ("eval", "exec", "compile", "pickle.load", "pickle.loads", "os.system", "yaml.load", "yaml.unsafe_load",
                 "torch.hub.load", "torch.jit.load", "joblib.load", "shutil.unpack_archive"):  # fmt: skip
        where = [place for place, _ in calls(name)]
        assert where == [] or (name, where) == ("torch.jit.load", [w for w in where if "formats" in w])
