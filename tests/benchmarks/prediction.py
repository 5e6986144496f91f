"""Labelling a folder of images, against a plain loop over the exported network: python -m tests.benchmarks.prediction

    python -m tests.benchmarks.prediction [--checkpoint PATH] [--images FOLDER] [--count 40] [--rounds 5]

Ours is python -m src.predict with crf=none. The loops read, run, take the largest score and save one image after the
other, with ONNX Runtime and, where it is installed, with OpenVINO. All write PNG files of class indices, of the same
images, in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from src.prediction.export import export
from src.prediction.predict import find_jobs, run
from src.prediction.predictor import Predictor
from src.system.processes import cores
from src.training.fit import build_segmenter
from tests.crf.samples import data_folder
from tests.models.networks import composed

Scores = Callable[[np.ndarray], np.ndarray]  # an image (1, 3, height, width) in uint8 -> its pixels' scores


def write_untrained(path: Path, width: float) -> None:
    """Write the checkpoint of a network with random weights and CamVid's number of classes."""
    torch.manual_seed(0)
    backbone = "slim" if width < 1 else "vgg16"
    config = composed(f"backbone={backbone}", f"backbone.width={width}", "backbone.weights=none")
    module = build_segmenter(config, [f"class {i}" for i in range(11)], [[20 * i] * 3 for i in range(11)])
    torch.save({"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict()}, path)


def onnxruntime_scores(path: Path) -> Scores:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda image: session.run(["scores"], {"image": image})[0]


def openvino_scores(path: Path) -> Scores:
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda image: compiled(image)[0]


def plain_loop(images: list[Path], scores: Scores, output: Path) -> None:
    """Label images as a script of a few lines does, one after the other."""
    for path in images:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        label = scores(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))[0].argmax(0)
        Image.fromarray(label.astype(np.uint8)).save(output / f"{path.stem}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="of a trained network; without one, random weights")
    parser.add_argument("--width", type=float, default=0.25, help="of the network with random weights")
    parser.add_argument("--images", type=Path, default=data_folder() / "camvid" / "val")
    parser.add_argument("--count", type=int, default=40, help="of images")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    images = sorted(options.images.glob("*"))[: options.count]
    if not images:
        raise SystemExit(f"{options.images}: no images; give --images FOLDER")

    torch.set_num_threads(cores())  # tests.models.networks has set 1
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        output, graph = Path(folder, "labels"), Path(folder, "network.onnx")
        output.mkdir()
        checkpoint = options.checkpoint or Path(folder, "network.ckpt")
        if not options.checkpoint:
            write_untrained(checkpoint, options.width)
        for image in images:
            (Path(folder, "images") / image.name).parent.mkdir(exist_ok=True)
            shutil.copy(image, Path(folder, "images"))
        export(composed(f"ckpt={checkpoint}", f"output={graph}", "format=onnx", name="export"))
        config = composed(
            f"ckpt={checkpoint}", f"input={folder}/images", f"output={folder}/ours", "overlays=false", "crf=none",
            "accelerator=cpu", "precision=32-true", name="predict",
        )  # fmt: skip
        predictor, jobs = Predictor(checkpoint, accelerator="cpu", precision="32-true"), find_jobs(config)

        contestants: dict[str, Callable[[], Any]] = {"src.predict": lambda: run(jobs, predictor)}
        engines = {"onnxruntime": onnxruntime_scores, "openvino": openvino_scores}
        for name, engine in engines.items():
            if find_spec(name):
                scores = engine(graph)
                contestants[name] = lambda scores=scores: plain_loop(images, scores, output)
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(options.rounds + 1):
            for name, label_all in contestants.items():
                start = time.perf_counter()
                label_all()
                seconds[name].append(time.perf_counter() - start)

    table = Table(title=f"{len(images)} images, {torch.get_num_threads()} threads, float32", title_justify="left")
    for column in ("", "images a second", "ms an image", "src.predict is faster by"):
        table.add_column(column)
    for name, times in seconds.items():
        own = statistics.median(times[1:]) / len(images)  # the first round warms up
        ratio = statistics.median(b / a for a, b in zip(seconds["src.predict"][1:], times[1:], strict=True))
        table.add_row(name, f"{1 / own:.1f}", f"{1000 * own:.1f}", f"{ratio:.2f}x")
    Console().print(table)


if __name__ == "__main__":
    main()
