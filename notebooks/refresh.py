"""Run the notebooks and save them with small outputs: python notebooks/refresh.py [NAME ...]."""

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

FOLDER = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"


def shrink(notebook: NotebookNode) -> None:
    """Reduce pictures to 96 colours; remove sliders (they need a running kernel), execution times and warnings."""
    notebook.metadata.pop("widgets", None)
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.metadata.pop("execution", None)  # the times of execution
        kept = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
        cell.outputs = [output for output in kept if output.get("name") != "stderr"]
        for data in (output["data"] for output in cell.outputs if "image/png" in output.get("data", {})):
            data.pop("image/jpeg", None)
            picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB").quantize(96)
            picture.save(small := io.BytesIO(), "PNG", optimize=True)
            data["image/png"] = base64.b64encode(small.getvalue()).decode()


def main(names: list[str]) -> None:
    """Run the named notebooks, or all of them, and overwrite them with their new outputs."""
    for path in [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": str(FOLDER)}}).execute()
        shrink(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
