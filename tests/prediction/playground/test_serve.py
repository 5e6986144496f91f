"""The command: what it refuses before it loads a network, and how it ends."""

import os
import signal
import socket
from pathlib import Path

import pytest
import requests

from src.prediction.playground import serve
from src.system.errors import UserError
from tests.checkpoints import write_checkpoint
from tests.commands import Command
from tests.models.networks import composed
from tests.prediction.playground.conftest import MISSING

for package in ("starlette", "uvicorn"):
    pytest.importorskip(package, reason=MISSING)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["crf=none"], "crf=none: choose the preset to start from, such as crf=deeplab"),
        (["crf.sxy=[40,60]"], r"crf.sxy=\[40, 60\]: must be one number"),
        (["examples=nowhere"], "examples=nowhere: no such file or folder"),
        (["host=nowhere.invalid"], "host=nowhere.invalid: no address of this machine"),
        ([], "ckpt=CKPT is needed"),
    ],
)
def test_what_cannot_be_served_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        serve.serve(composed(*overrides, "port=0", name="playground"))


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port={port}: cannot listen at 127.0.0.1:{port} .*; try port=0"):
            serve.serve(composed(f"port={port}", name="playground"))


def test_missing_packages_are_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    said = r'the playground needs starlette and uvicorn: pip install "deeplab-v1\[playground\]"'
    with pytest.raises(UserError, match=said):
        serve.serve(composed(name="playground"))


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("name", False)]
)
def test_which_addresses_are_local(host: str, local: bool) -> None:
    assert serve.is_local(host) is local


def test_it_serves_until_a_signal(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt")
    os.mkfifo(tmp_path / "output")
    command = Command(
        "playground", f"ckpt={tmp_path / 'net.ckpt'}", "port=0", "accelerator=cpu", "precision=32-true",
        f"paths.log_dir={tmp_path / 'logs'}", output=tmp_path / "output",
    )  # fmt: skip
    with (tmp_path / "output").open() as output:
        address = next(line for line in output if line.startswith("http://")).split()[0]
        assert requests.get(address, timeout=60).status_code == 200
        os.kill(command.process.pid or 0, signal.SIGTERM)
        assert command.wait(60) == 128 + signal.SIGTERM
        assert output.read().endswith("stopped by SIGTERM\n")
