"""The commands on the device, with a small network: their results are those of the CPU."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import src.evaluation.evaluate  # these are imported here, so that the commands, which are forked, need not
import src.prediction.predict
import src.preparation.describe
import src.tuning.tune  # noqa: F401
from src.data import Shapes
from src.prediction.export.export import compare_scores
from src.prediction.export.formats import FORMATS, build_graph
from tests.checkpoints import SHAPES, segmenter, write_checkpoint
from tests.commands import Command, run_command
from tests.gpu.figures import Figure, Setting, check, missing

TIMEOUT = 60
CPU = {"CUDA_VISIBLE_DEVICES": ""}


def check_commands(setting: Setting) -> Iterator[Figure]:
    """Yield whether predict, evaluate, tune_crf, export and describe work, and find what they find on the CPU."""
    torch.set_num_threads(1)  # a process that is forked after OpenMP has started threads waits for them forever
    folder = setting.folder
    checkpoint, images = folder / "net.ckpt", folder / "images"
    write_checkpoint(checkpoint, dataset=SHAPES)
    images.mkdir()
    pictures = Shapes("val", {"val": 4}, size=setting.pick(321, 65))
    for index in range(len(pictures)):
        Image.fromarray(pictures[index].image).save(images / f"{index}.png")
    network = [f"ckpt={checkpoint}", f"paths.log_dir={folder / 'logs'}"]

    yield from check_predict(setting, [*network, f"input={images}", "precision=32-true"])

    common = [*network, "trainer.precision=32-true", "crf=none"]
    metrics = []
    for name, environment in {"device": {}, **({"cpu": CPU} if setting.on_gpu else {})}.items():
        output = folder / f"evaluate-{name}"
        done = run_command("evaluate", *common, f"paths.output_dir={output}", environment=environment, timeout=TIMEOUT)
        if done.returncode:
            yield check("commands", "evaluate", [last_line(done)])
            break
        metrics.append(json.loads((output / "metrics.json").read_text()))
    else:
        first, last = metrics[0], metrics[-1]
        keys = [key for key in first if key.endswith("miou")]
        other = [f"{key}: {first[key]}, not {last[key]}" for key in keys if abs(first[key] - last[key]) > 5e-3]  # TF32
        yield check("commands", "evaluate: the metrics of the CPU", other if keys else ["no metrics"])

    search = [
        "images=4",
        "name=null",
        "precision=32-true",
        "grid={w1: [4], sxy: [30], srgb: [10]}",
        "refine=0",
        "workers=1",
    ]
    for name, arguments in {
        "tune_crf": [*network, *search, f"cache={folder / 'cache'}"],
        "describe": ["backbone.width=0.0625", "head.channels=64", "measure=false", f"paths.log_dir={folder / 'logs'}"],
    }.items():
        done = run_command(name, *arguments, timeout=TIMEOUT)
        yield check("commands", name, [last_line(done)] if done.returncode else [])

    yield from check_export(setting, network)


def check_predict(setting: Setting, common: list[str]) -> Iterator[Figure]:
    """Yield whether the masks are those of the CPU, and whether two processes write the files of one."""
    folder = setting.folder
    runs = {"device": {}, **({"cpu": CPU} if setting.on_gpu else {})}
    for name, environment in runs.items():
        done = run_command(
            "predict", *common, "shares=true", f"output={folder / name}", environment=environment, timeout=TIMEOUT
        )
        if done.returncode:
            yield check("commands", "predict", [last_line(done)])
            return
    masks = read_masks(folder / "device")
    if setting.on_gpu:
        reference = read_masks(folder / "cpu")
        equal = float(np.mean([(masks[name] == reference[name]).mean() for name in masks]))
        yield Figure("commands", "predict: labels equal to the CPU's", 100 * equal, "%", ">= 99.5", equal >= 0.995)
    else:
        yield missing("commands", "predict: labels equal to the CPU's")

    ranks = [{"RANK": str(r), "LOCAL_RANK": str(r), "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"} for r in (0, 1)]
    commands = [
        Command("predict", *common, "shares=true", f"output={folder / 'two'}", output=folder / f"{rank['RANK']}.txt",
                environment=rank)
        for rank in ranks
    ]  # fmt: skip
    problems = [command.output.read_text()[-300:] for command in commands if command.wait(TIMEOUT)]
    both = read_masks(folder / "two")
    problems += [name for name in masks if name not in both or not np.array_equal(both[name], masks[name])]
    if not problems and (folder / "two" / "shares.csv").read_text() != (folder / "device" / "shares.csv").read_text():
        problems = ["shares.csv"]
    yield check("commands", "predict: two processes write the files of one", problems)


def check_export(setting: Setting, network: list[str]) -> Iterator[Figure]:
    """Yield how far the scores of exported networks, run on the device, are from PyTorch's."""
    for format in ("torchscript", *setting.pick(("pt2",), ())):
        path = setting.folder / f"network{FORMATS[format].ending}"
        done = run_command("export", *network, f"format={format}", f"output={path}", timeout=TIMEOUT)
        if done.returncode:
            yield check("commands", f"export, {format}", [last_line(done)])
            continue
        # CUDA must not be initialised in this process, from which the commands are forked.
        queue: Any = multiprocessing.get_context("fork").Queue()
        process = multiprocessing.get_context("fork").Process(
            target=score_difference, args=(path, format, setting.device, queue)
        )
        process.start()
        difference = queue.get(timeout=TIMEOUT)
        process.join(TIMEOUT)
        ok = not isinstance(difference, str) and difference <= FORMATS[format].tolerance
        yield Figure(
            "commands",
            f"export, {format}: difference of scores",
            difference,
            "",
            f"<= {FORMATS[format].tolerance:g}",
            ok,
        )


def score_difference(path: Path, format: str, device: str, queue: Any) -> None:
    """Put the largest difference between the exported network's scores and PyTorch's, on a device, into a queue."""
    try:
        torch.set_num_threads(1)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        network = build_graph(segmenter(dataset=SHAPES)).to(device)
        exported: Any = FORMATS[format].load(path)
        exported.to(device)
        with torch.no_grad():
            queue.put(
                compare_scores(
                    lambda image: network(image.to(device)), lambda image: exported(image.to(device)), "uint8"
                )
            )
    except Exception as error:
        queue.put(f"{type(error).__name__}: {error}"[:300])


def read_masks(folder: Path) -> dict[str, np.ndarray]:
    """Return the label maps that predict has written, by name."""
    return {path.name: np.asarray(Image.open(path)) for path in sorted((folder / "masks").glob("*.png"))}


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a command has printed."""
    return ((done.stderr.strip() or done.stdout.strip()).splitlines() or ["no output"])[-1]
