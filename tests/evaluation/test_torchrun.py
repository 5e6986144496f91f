"""evaluate by the processes of torchrun: each image once, the figures of one process, one summary."""

import csv
import json
import socket
from pathlib import Path

from tests.checkpoints import SHAPES, write_checkpoint
from tests.commands import Command, run_command


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def images(folder: Path) -> list[str]:
    with (folder / "images.csv").open() as file:
        return sorted(row["image"] for row in csv.DictReader(file))


def test_two_processes_of_torchrun(tmp_path: Path) -> None:
    """Of five images, one process sees three and the other two."""
    write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    common = [f"ckpt={tmp_path / 'net.ckpt'}", "crf.iterations=2", "num_workers=0", "callbacks.images.worst=0"]
    assert run_command("evaluate", *common, "trainer=cpu", f"hydra.run.dir={tmp_path / 'one'}").returncode == 0
    variables = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    variables |= {"MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "none", "GROUP_RANK": "0"}
    running = [
        Command(
            "evaluate", *common, "trainer=ddp_cpu", f"hydra.run.dir={tmp_path / 'two'}",
            output=tmp_path / f"{rank}.log", environment={**variables, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    assert [command.wait(300) for command in running] == [0, 0], running[1].output.read_text()
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert {name: round(value, 6) for name, value in two.items()} == {n: round(v, 6) for n, v in one.items()}
    assert images(tmp_path / "two") == images(tmp_path / "one") == [f"val_{index:05}" for index in range(5)]
    tables = [command.output.read_text().count("mean IoU") for command in running]
    assert tables == [1, 0]
