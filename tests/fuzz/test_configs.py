"""Any value for any key, misspelt keys and any choices: finite metrics, or one line that names the cause."""

import functools
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from PIL import Image

from src.cli.compose import compose
from src.system.errors import UserError
from tests.checkpoints import SHAPES, write_checkpoint
from tests.cli.test_conf import groups
from tests.conftest import REPO
from tests.fuzz.commands import check, outcome
from tests.models.networks import composed
from tests.reporting.test_report import write_run

TINY = {
    "train": [
        "dataset.size=33", "dataset.samples={train: 2, val: 2}", "backbone.width=0.0625", "head.channels=16",
        "data.batch_size=2", "data.num_workers=0", "trainer.max_steps=1", "trainer.val_check_interval=1",
        "trainer.accelerator=cpu", "trainer.log_every_n_steps=1", "crf.iterations=1", "logger=csv",
    ],
    "evaluate": ["trainer.accelerator=cpu", "num_workers=0", "crf.iterations=1", "trimap=3"],
    "predict": ["accelerator=cpu", "crf.iterations=1"],
    "describe": ["backbone=slim", "size=33", "measure=false"],
    "export": ["format=torchscript"],
    "prepare": ["verify=true", "workers=0", "dataset.samples={train: 2, val: 2}"],
    "report": ["images=2", "candidates=2"],
    "tune_crf": ["accelerator=cpu", "name=null", "refine=0", "grid={w1: [5], sxy: [50], srgb: [5, 6]}",
                 "crf.iterations=1", "workers=1", "images=3"],
}  # fmt: skip

# Not drawn: what starts processes (trainer=ddp_cpu as well), compiles for minutes,
# never ends, downloads, or leaves the test's folder
KEPT = ("paths", "hydra", "compile", "logger", "trainer.devices", "workers", "num_workers", "data.num_workers",
        "callbacks.crf.workers", "cache", "downloads", "output", "dataset.cache", "name", "verify",
        "trainer.default_root_dir")  # fmt: skip
FOLDERS = ("folder", "path", "dirpath", "filename")
LARGE = ("size", "samples", "crop_size", "channels", "width", "kernel", "rate", "convs", "trimap", "images", "step")


def keys(node: DictConfig, prefix: str = "") -> list[str]:
    """Return all keys of a config, those of mappings included, except those that are kept."""
    found = []
    for name in map(str, node):
        key = f"{prefix}{name}"
        if key in KEPT or key.split(".")[0] in KEPT or name in FOLDERS:
            continue
        value = node[name]
        found += [key, *(keys(value, f"{key}.") if isinstance(value, DictConfig) else [])]
    return found


@functools.cache
def all_keys(command: str) -> list[str]:
    """Return the keys of a command's config that may be drawn."""
    return sorted(keys(composed(name=command)))


GROUPS = {command: sorted({g for g in groups(command) if g not in ("paths", "hydra", "logger")}) for command in TINY}

quoted = st.text(string.printable.replace("\n", "") + "äß€", max_size=12).map(
    lambda text: "'{}'".format(text.replace("\\", "").replace("'", "\\'"))
)
values = st.one_of(
    st.sampled_from(["nan", "inf", "-inf", "null", "true", "false", "''", "abc", "../x", "[]", "[1,2]", "[[1]]", "{}",
                     "{a: 1}", "-1", "0", "0.5", "1e-30", "'${oc.env:NONE}'", "${absent}", "???", "7,8", "a=b"]),
    st.integers(-3, 9).map(str),
    st.floats(-4, 4).map(str),
    quoted,
    st.text(string.printable.replace("\n", ""), max_size=8),
)  # fmt: skip
huge = st.sampled_from(["1000000000000", "-1e30", "1e30", "9" * 40])


@st.composite
def overrides(draw: st.DrawFn, command: str) -> str:
    kinds = ["value"] * 6 + ["misspelt", "removed", "added"] + (["choice"] if GROUPS[command] else [])
    kind = draw(st.sampled_from(kinds))
    key = draw(st.sampled_from(all_keys(command)))
    if kind == "choice":
        group = draw(st.sampled_from(GROUPS[command]))
        choices = sorted(path.stem for path in (REPO / "conf" / group).glob("[!_]*.yaml") if path.stem != "ddp_cpu")
        return f"{group}={draw(st.one_of(st.sampled_from(['', *choices]), quoted))}"
    if kind == "misspelt":
        place = draw(st.integers(0, len(key) - 1))
        return f"{key[:place]}{key[place + 1 :]}={draw(values)}"
    if kind == "removed":
        return f"~{key}"
    value = draw(values if key.split(".")[-1] in LARGE else st.one_of(values, huge))
    return f"+{key}.more={value}" if kind == "added" else f"{key}={value}"


def own(command: str, folder: Path, odd: Sequence[str]) -> list[str]:
    """Return the overrides that make a command small and name its files, except for the keys that are drawn."""
    files = [f"ckpt={folder / 'net.ckpt'}"] if command in ("evaluate", "predict", "tune_crf", "export") else []
    files += [f"runs={folder / 'runs'}"] if command == "report" else []
    files += [f"input={folder / 'photo.png'}"] if command == "predict" else []
    files += [f"cache={folder / 'cache'}"] if command == "tune_crf" else []
    drawn = {one.lstrip("+~").split("=")[0] for one in odd}
    return [one for one in (*TINY[command], *files) if one.split("=")[0] not in drawn]


def write_files(folder: Path) -> None:
    """Write a checkpoint, an image and two runs."""
    write_run(folder / "runs" / "0", "vanilla", 0, 0.5, 0.6)
    write_run(folder / "runs" / "1", "largefov", 0, 0.6, None)
    write_checkpoint(folder / "net.ckpt", dataset={**SHAPES, "samples": {"train": 2, "val": 2, "test": 2}, "size": 33})
    pixels = np.random.default_rng(0).integers(0, 255, (40, 33, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")


@pytest.fixture(scope="module")
def given_files(folder: Path) -> Path:
    write_files(folder)
    return folder


RARE = ("describe", "export", "prepare", "report")  # they build few objects


@pytest.mark.parametrize("command", [pytest.param(c, marks=[pytest.mark.slow] if c in RARE else []) for c in TINY])
@settings(max_examples=settings.default.max_examples // 2)  # each takes a second
@given(data=st.data())
def test_any_override_ends_well_or_in_one_line(command: str, data: st.DataObject, given_files: Path) -> None:
    odd = data.draw(overrides(command))
    check(outcome(command, [*own(command, given_files, [odd]), odd]), [odd])


@pytest.mark.parametrize(
    ("command", "odd", "said"),
    [
        ("predict", "overwrite=${absent}", "overwrite=${absent}: Interpolation key 'absent' not found"),
        ("predict", "crf.w1='${oc.env:NONE}'", "crf.w1='${oc.env:NONE}': Environment variable 'NONE' not found"),
        ("train", "+data.augmentation.more=-3", "data.augmentation is ${augmentation}; set augmentation.more"),
        ("train", "model.backbone.width=1", "model.backbone.width: model.backbone is ${backbone}; set backbone.width"),
        ("predict", "+inference.flip.more=0", "inference.flip is a value (false) and has no keys"),
        ("train", "data.dataset=null", "data.dataset is needed; it may be ade20k, camvid,"),
        ("train", "~seed", "~seed: seed is needed, such as seed=0"),
        ("train", "~ckpt", "~ckpt: has no value of its own, so it cannot be removed; leave it out, or set ckpt=VALUE"),
        ("train", "~logger", "~logger: cannot be removed; choose logger=csv|mlflow|none|tensorboard|wandb"),
        ("train", "~callbacks.rates._target_", "callbacks.rates._target_ is needed"),
        ("evaluate", "+callbacks.more=0.5", "callbacks.more takes null, or a _target_ with its arguments"),
        ("train", "head._target_=abc", "head._target_ takes MODULE.NAME of a class or function"),
        (
            "train",
            "experiment=voc12_largefov",
            "dataset.size: no such key with experiment=voc12_largefov; dataset=shapes",
        ),
        ("train", "optimizer.lr=[[1]]", "optimizer.lr takes a number, such as optimizer.lr=0.1"),
        ("train", "optimizer.lr=null", "optimizer.lr takes a number"),
        ("train", "head.channels=null", "head.channels takes a number, such as head.channels=1024"),
        (
            "train",
            "backbone.weights=[]",
            "backbone.weights=[]: backbone.weights takes a string, such as backbone.weights=none",
        ),
        ("train", "optimizer.multipliers.norm=null", "optimizer.multipliers.norm takes a number"),
        ("train", f"dataset.samples.train={'9' * 40}", "must be a finite number, from -9.22337e+18 to 9.22337e+18"),
        ("describe", "~model.backbone._target_", "model.backbone is ${backbone}; set backbone._target_"),
        ("train", "~dataset", "dataset.size: no such key with ~dataset."),
        ("tune_crf", "~search", "refine: no such key with ~search."),
        ("export", "ckpt=.", "ckpt=.: a folder that holds no model.safetensors; give"),
    ],
)
@pytest.mark.usefixtures("defaults_composed_once")
def test_what_fuzzing_found_is_named(command: str, odd: str, said: str, given_files: Path) -> None:
    with pytest.raises(UserError) as refusal:
        compose(command, *own(command, given_files, [odd]), odd, output_dir=given_files / "run")
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("command", "odd", "said"),
    [
        ("train", "trainer=ddp", "trainer.sync_batchnorm=true: torch supports it on GPUs only"),
        ("train", "trainer.accelerator=gpu", "trainer.accelerator=gpu: torch finds no GPU here"),
        ("train", "trainer=slurm", "trainer.sync_batchnorm=true: torch supports it on GPUs only"),
        ("predict", "crf.iterations=1e12", "crf.iterations=1000000000000.0: give a whole number from 0 to 10000"),
        ("predict", "inference.window=1.5", "inference.window=1.5: inference.window takes null, or a whole number"),
        ("predict", "inference.scales=x", "inference.scales=x: must be numbers, such as [0.75,1,1.25]"),
        ("predict", "inference.scales=[1,x]", "inference.scales=[1, 'x']: must be numbers, such as [0.75,1,1.25]"),
        ("predict", "inference.scales=null", "inference.scales=null: must be numbers, such as [0.75,1,1.25]"),
        ("tune_crf", "dataset=[[1]]", "dataset=[[1]]: a group takes the name of one of its choices"),
        ("tune_crf", "search.refine=1000", "search.refine=1000: must be a whole number from 0 to 20"),
        ("tune_crf", "refine=1000", "error: refine=1000: must be a whole number from 0 to 20"),
        ("tune_crf", "grid=null", "error: grid=null: must be lists of numbers by parameter"),
        ("export", "output='/proc/0\r/x.onnx'", "output=/proc/0; /x.onnx: "),  # in one line
        ("prepare", "~dataset.samples", "missing 1 required positional argument: 'samples'"),
    ],
)
def test_what_fuzzing_found_in_running_is_named(command: str, odd: str, said: str, given_files: Path) -> None:
    answer = outcome(command, [*own(command, given_files, [odd]), odd])
    assert answer["code"] == 2
    check(answer, [odd])
    assert said in answer["error"]
