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
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

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


def onnxruntime_scores(path: Path, precision: str) -> Scores:
    import onnxruntime  # on a CPU, always in float32

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda image: session.run(["scores"], {"image": image})[0]


def openvino_scores(path: Path, precision: str) -> Scores:
    import openvino

    hint = "bf16" if precision.startswith("bf16") else "f32"
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": hint})
    return lambda image: compiled(image)[0]


def plain_loop(images: list[Path], scores: Scores, output: Path) -> None:
    """Label images as a script of a few lines does, one after the other."""
    for path in images:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        label = scores(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))[0].argmax(0)
        Image.fromarray(label.astype(np.uint8)).save(output / f"{path.stem}.png")


def compare_engines(
    checkpoint: Path | None = None,
    width: float = 0.25,
    images: Path | None = None,
    count: int = 16,
    rounds: int = 5,
    precision: str = "32-true",
) -> list[tuple[str, float, float, float]]:
    """Return for each engine its name, our seconds and its seconds for one image, and the median ratio.

    Args:
        checkpoint: of a trained network; None for random weights.
        width: of the network with random weights.
        images: folder of images; None for CamVid's validation images.
        count: images to label.
        rounds: times that all label them, in turns, after a first round that is a warm-up.
        precision: 32-true or bf16-mixed; see ``onnxruntime_scores``.
    """
    images = images or data_folder() / "camvid" / "val"
    paths = sorted(images.glob("*"))[:count]
    if not paths:
        raise SystemExit(f"{images}: no images; give --images FOLDER")
    torch.set_num_threads(cores())  # tests.models.networks has set 1
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        output, graph, copies = Path(folder, "labels"), Path(folder, "network.onnx"), Path(folder, "images")
        for made in (output, copies):
            made.mkdir()
        for path in paths:
            shutil.copy(path, copies)
        if checkpoint is None:
            checkpoint = Path(folder, "network.ckpt")
            write_untrained(checkpoint, width)
        export(composed(f"ckpt={checkpoint}", f"output={graph}", "format=onnx", name="export"))
        config = composed(
            f"ckpt={checkpoint}", f"input={copies}", f"output={folder}/ours", "overlays=false", "crf=none",
            "accelerator=cpu", f"precision={precision}", name="predict",
        )  # fmt: skip
        predictor, jobs = Predictor(checkpoint, accelerator="cpu", precision=precision), find_jobs(config)

        contestants: dict[str, Callable[[], Any]] = {"src.predict": lambda: run(jobs, predictor)}
        for name, load in {"onnxruntime": onnxruntime_scores, "openvino": openvino_scores}.items():
            if find_spec(name):
                contestants[name] = partial(plain_loop, paths, load(graph, precision), output)
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(rounds + 1):
            for name, label_all in contestants.items():
                start = time.perf_counter()
                label_all()
                seconds[name].append((time.perf_counter() - start) / len(paths))

    ours = seconds.pop("src.predict")[1:]
    return [
        (name, statistics.median(ours), statistics.median(times[1:]),
         statistics.median(b / a for a, b in zip(ours, times[1:], strict=True)))
        for name, times in seconds.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="of a trained network; without one, random weights")
    parser.add_argument("--width", type=float, default=0.25, help="of the network with random weights")
    parser.add_argument("--images", type=Path, help="folder of images; without one, CamVid's validation images")
    parser.add_argument("--count", type=int, default=40, help="of images")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="32-true", help="32-true or bf16-mixed")
    options = parser.parse_args()
    print(f"{options.count} images, {cores()} cores, {options.precision}")
    for name, own, theirs, ratio in compare_engines(**vars(options)):
        print(f"src.predict {1000 * own:.1f} ms an image, {name} {1000 * theirs:.1f} ms: {ratio:.2f}x")


if __name__ == "__main__":
    main()
