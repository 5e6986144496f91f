"""The recipes of docs/extending work: they are followed literally in a copy of the repository."""

import json
import re
import shutil
import subprocess
import sys
from math import log
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPO

FOLDER = REPO / "docs" / "extending"
# The pages, each with the number of files that the index promises
PROMISED = re.findall(r"^\| \[.+\]\((\w+)\.md\) \| (\d) \|$", (FOLDER / "index.md").read_text(), re.MULTILINE)
PAGES = {name: (FOLDER / f"{name}.md").read_text() for name, _ in PROMISED}
CODE = re.compile(r"^(New file|In) `([\w/.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPES = {name: CODE.findall(text) for name, text in PAGES.items()}
COMMANDS = [line for text in PAGES.values() for body in SHELL.findall(text) for line in body.splitlines()]
NEW_PARTS = ("pets", "mobile", "aspp", "poly", "confusion", "temperature", "count")
# Words in the names of tests that run over all parts
GENERAL = ("one_table", "takes_every_parameter", "presets_set", "documentation_explains")


def follow(kind: str, path: Path, body: str) -> None:
    """Write a new file or apply a change; the lines around each hunk must occur in the file exactly once."""
    if kind == "New file":
        assert not path.exists(), f"{path} is there already"
        path.write_text(body)
        return
    text = path.read_text()
    for hunk in re.split(r"^@@\n", body, flags=re.MULTILINE):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] != "+")
        after = "".join(line[1:] for line in lines if line[0] != "-")
        assert text.count(before) == 1, f"{path} has these lines {text.count(before)} times:\n{before}"
        text = text.replace(before, after)
    path.write_text(text)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository in which every recipe has been followed."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("src", "conf", "tests", "docs"):
        shutil.copytree(REPO / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "_build", "api"))
    shutil.copytree(REPO / "docs" / "api", copy / "docs" / "api")
    for name in ("README.md", "pyproject.toml", "Makefile"):
        shutil.copy(REPO / name, copy)
    for blocks in RECIPES.values():
        for kind, path, body in blocks:
            follow(kind, copy / path, body)
    return copy


def run(checkout: Path, *arguments: str) -> str:
    """Run Python in the copy and return its standard output."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=checkout, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_each_recipe_touches_as_few_files_as_the_index_says() -> None:
    touched = {name: len(blocks) for name, blocks in RECIPES.items()}
    assert touched == {name: int(files) for name, files in PROMISED}
    assert {f"{name}.md" for name in (*touched, "index")} == {path.name for path in FOLDER.iterdir()}
    assert len(touched) == 7
    assert max(touched.values()) <= 4


def test_tests_that_the_pages_name_exist() -> None:
    named = [path for text in PAGES.values() for path in re.findall(r"`(tests/[\w/]+\.py)`", text)]
    assert named
    assert not [path for path in named if not (REPO / path).is_file()]


def test_new_code_passes_the_linter(checkout: Path) -> None:
    paths = [path for blocks in RECIPES.values() for _, path, _ in blocks if path.endswith(".py")]
    run(checkout, "-m", "ruff", "check", "--no-cache", *paths)
    run(checkout, "-m", "ruff", "format", "--no-cache", "--check", *paths)


@pytest.mark.slow
def test_tests_that_run_over_every_part_find_the_new_ones(checkout: Path) -> None:
    files = ["cli/test_conf", "integration/test_commands", "models/test_every_network", "training/test_losses"]
    files = [f"tests/{name}.py" for name in (*files, "crf/test_crf_parameters", "test_docs")]
    names = f"({' or '.join((*NEW_PARTS, *GENERAL))}) and not mobilenetv2"
    ran = run(checkout, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-vv", "-k", names, *files)
    assert not {name for name in (*NEW_PARTS, *GENERAL) if not re.search(rf"{name}.* PASSED", ran)}


SCRIPT = """
import json, sys
from pathlib import Path

import torch

from src.cli.compose import compose
from src.crf import DenseCRF
from src.evaluation.count import count
from src.evaluation.evaluate import evaluate
from src.training.fit import train
from src.training.losses.poly import Poly
from tests.test_docs import check_command

folder, commands = Path(sys.argv[1]), json.loads(sys.argv[2])
for line in commands:
    check_command(line, folder)

pets, small = ["dataset=pets", f"dataset.root={folder / 'pets'}"], ["trainer=cpu", "trainer.max_steps=2"]
network = ["backbone=mobile", "backbone.width=0.25", "head=aspp", "loss=poly", "crf.temperature=2"]
data = ["data.num_workers=0", "data.batch_size=2", "augmentation.crop_size=33", "logger=none"]
config = compose("train", *pets, *network, *data, *small, "callbacks=confusion", output_dir=folder / "run")
trained = train(config)
ckpt = f"ckpt={folder / 'run' / 'checkpoints' / 'best.ckpt'}"
alone = ["crf.temperature=2", "num_workers=0", "trainer=cpu"]
again = evaluate(compose("evaluate", ckpt, *alone, output_dir=folder / "again"))
scores = torch.tensor([2 * torch.tensor(3.0).log(), 0]).view(2, 1, 1)
image = torch.zeros(3, 1, 1, dtype=torch.uint8)
print(json.dumps({
    "count": count(compose("count", *pets, "split=val", output_dir=folder / "count")),
    "trained": trained["val/miou_crf"],
    "again": again["val/miou_crf"],
    "poly": float(Poly(2.0)(scores[None] / 2, torch.zeros(1, 1, 1, dtype=torch.int64))),
    "q": [DenseCRF(iterations=0, temperature=2, engine=e)(image, logits=scores)[0].item() for e in ("torch", "exact")],
}))
"""


def write_pets(root: Path) -> None:
    """Write images of 33x33 pixels of three animals, whose masks have four rows of animal and two of boundary."""
    rng = np.random.default_rng(0)
    mask = np.full((33, 33), 2, np.uint8)
    mask[:4], mask[4:6] = 1, 3
    for folder in ("images", "annotations/trimaps"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 256, (33, 33, 3), np.uint8)).save(root / "images" / f"{name}.jpg")
        Image.fromarray(mask).save(root / "annotations" / "trimaps" / f"{name}.png")
    (root / "annotations" / "train.txt").write_text("a 1 1 1\nb 2 1 2\n")
    (root / "annotations" / "val.txt").write_text("c 3 2 1\n")


def test_commands_compose_and_parts_do_what_they_say(checkout: Path, tmp_path: Path) -> None:
    write_pets(tmp_path / "pets")
    found = json.loads(run(checkout, "-c", SCRIPT, str(tmp_path), json.dumps(COMMANDS)).splitlines()[-1])
    assert found["count"] == {"background": 27 * 33, "pet": 4 * 33, "void": 2 * 33}
    assert found["again"] == pytest.approx(found["trained"])  # a checkpoint rebuilds the new parts
    for name in ("2", "2_crf"):
        header, *rows = (tmp_path / "run" / "confusion" / f"{name}.csv").read_text().splitlines()
        assert header == "background,pet"
        assert [sum(map(int, row.split(","))) for row in rows] == [27 * 33, 4 * 33]
    assert found["poly"] == pytest.approx(log(4 / 3) + 2 / 4)  # the true class has probability 3/4
    assert found["q"] == pytest.approx([3 / 4, 3 / 4])  # 9 : 1 becomes 3 : 1
