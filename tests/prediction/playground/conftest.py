"""A server of the playground in this process, with a small network."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from src.predict import Predictor
from src.prediction.playground.examples import Examples
from src.prediction.playground.serve import LOCAL_NAMES
from src.prediction.playground.sliders import make_sliders
from src.prediction.playground.workbench import Workbench
from tests.checkpoints import write_checkpoint

if TYPE_CHECKING:
    from src.prediction.playground.app import App

MISSING = 'the playground is not installed: pip install "deeplab-v1[playground]"'
PRESET = {
    "w1": 4, "sxy": 30, "srgb": 10, "w2": 3, "sg": 3, "iterations": 3, "prune": 0, "engine": "auto", "bias": None,
    "compatibility": None,
}  # fmt: skip
VALUES = {name: PRESET[name] for name in ("w1", "sxy", "srgb", "w2", "sg", "iterations")}
SIDE, IMAGE_BYTES = 100, 200_000


@dataclass
class Served:
    """A running server.

    Attributes:
        url: of the page, without a slash at the end.
        presets: the folder that it saves to.
        ckpt: the checkpoint of its network.
        app: answers its requests.
    """

    url: str
    presets: Path
    ckpt: Path
    app: App


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("starlette", reason=MISSING)
    uvicorn = pytest.importorskip("uvicorn", reason=MISSING)
    from src.prediction.playground.app import App

    folder = tmp_path_factory.mktemp("playground")
    write_checkpoint(folder / "net.ckpt")
    predictor = Predictor(folder / "net.ckpt", accelerator="cpu", precision="32-true")
    workbench = Workbench(predictor, PRESET, SIDE)
    presets = folder / "conf" / "crf"
    app = App(workbench, make_sliders(PRESET), Examples(None), "net.ckpt", presets, IMAGE_BYTES, LOCAL_NAMES)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app.build(), log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", presets, folder / "net.ckpt", app)
        finally:
            server.should_exit = True
            thread.join()
