"""The notebooks: executed with small settings, and as they are committed."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from tests.conftest import REPO

NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
SMALL = ["dataset.size=65", "dataset.samples.train=8", "dataset.samples.val=3", "augmentation.crop_size=65"]
SMALL += ["backbone.width=0.0625", "data.batch_size=4", "trainer.max_steps=2", "trainer.val_check_interval=1"]
SMALL += ["trainer.log_every_n_steps=1"]


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment of the kernels: one core, and REPO, so that the package need not be installed."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(REPO))


def executed(name: str, parameters: dict[str, Any], more: str = "", folder: Path = REPO / "notebooks") -> NotebookNode:
    """Run a notebook in its own folder with other parameters and one more cell at its end, and return it."""
    notebook = nbformat.read(REPO / "notebooks" / f"{name}.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    names: dict[str, Any] = {}
    exec(cell.source, names)
    assert parameters.keys() <= names.keys()
    cell.source += "".join(f"\n{key} = {value!r}" for key, value in parameters.items())
    if more:
        notebook.cells.append(nbformat.v4.new_code_cell(more))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def pictures(notebook: NotebookNode) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def text(notebook: NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = [output.get("text", "") or output.get("data", {}).get("text/markdown", "") for output in outputs]
    return "\n".join(said)


@pytest.mark.slow
def test_tour_trains_and_refines(tmp_path: Path) -> None:
    parameters = {"ITERATIONS": 2, "SIDE": 65, "OUTPUT": str(tmp_path), "MORE": SMALL[1:3] + SMALL[4:6]}
    notebook = executed("tour", parameters)
    assert pictures(notebook) == 6
    assert (tmp_path / "checkpoints/best.ckpt").is_file()


SLIDE = """
import json

names = [slider.description for slider in panel.children[:-1]]
as_it_comes = bool((panel.result == preset).all())
drawn = []
plt.show = lambda: drawn.append(plt.gcf().axes[0].get_title())
sliders["iterations"].value = 0
print("SLIDERS", json.dumps([names, as_it_comes, float((panel.result == unrefined).mean()), drawn]))
"""


@pytest.mark.slow
def test_crf_sliders_redraw_the_labels() -> None:
    """At first they show the preset. Without iterations, the labels are those of the network, up to rounding."""
    notebook = executed("crf_parameters", {"STEPS": 1}, SLIDE)
    assert pictures(notebook) >= 2
    line = next(line for line in text(notebook).splitlines() if line.startswith("SLIDERS"))
    names, as_it_comes, like_the_network, drawn = json.loads(line.removeprefix("SLIDERS "))
    assert names == ["w1", "sxy", "srgb", "w2", "sg", "iterations"]
    assert as_it_comes
    assert like_the_network > 0.999
    assert len(drawn) == 1
    assert drawn[0].startswith("CRF: ")


@pytest.mark.slow
def test_the_sweep_notebook_reads_a_sweep(tmp_path: Path) -> None:
    jobs = ["head=vanilla,largefov", "seed=0,1", *SMALL]
    notebook = executed("reading_a_sweep", {"JOBS": jobs, "OUTPUT": str(tmp_path)})
    assert pictures(notebook) == 1
    said = text(notebook)
    assert said.count("| done |") == 4
    assert "| vanilla | 0, 1 |" in said
    assert "| largefov | 0, 1 |" in said
    assert "| head.rate | 4 | 12 |" in said
    assert (tmp_path / "report/report.html").is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebooks_are_small_and_have_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 300_000
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert not re.search(r"(^|[\s'\"(=])/\w+/\w", text(notebook)), "a path of the machine that made it"
    for output in outputs:
        if "image/png" in output.get("data", {}):
            assert base64.b64decode(output["data"]["image/png"]).startswith(b"\x89PNG")
