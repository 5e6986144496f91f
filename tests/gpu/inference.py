"""Validation with and without CRF, and the CRF alone."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator
from typing import Any

import torch
from omegaconf import OmegaConf

from src.crf import DenseCRF, RefinementPool
from src.crf.engines import native_engine
from src.data import Shapes
from src.training.callbacks import CRFRefinement
from src.training.datamodule import SegmentationDataModule
from src.training.segmenter import Segmenter
from tests.benchmarks.crf import SETTINGS, Case
from tests.benchmarks.crf_gpu import contestants
from tests.benchmarks.training import seconds
from tests.benchmarks.validation import seconds as validation_seconds
from tests.crf.samples import network_like_scores
from tests.gpu.figures import Figure, Setting
from tests.models.networks import composed


class OnCPU(DenseCRF):
    """Refines on the CPU, wherever the scores are."""

    def refine_labels(self, image: Any, score_map: Any, *arguments: Any) -> Any:
        return super().refine_labels(image.cpu(), score_map.float().cpu(), *arguments)

    def engine_for(self, scores: Any) -> Any:
        return super().engine_for(scores.cpu())


def measure_validation(setting: Setting) -> Iterator[Figure]:
    """Yield the time of a validation, and how much longer it takes with the CRF on the device and on the CPU."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    size = ["backbone.width=0.0625", "head.channels=64"] if setting.small else ["backbone=vgg16"]
    config = composed(*size, "backbone.weights=none")
    datamodule = SegmentationDataModule(setting.dataset(), None, batch_size=1, num_workers=setting.pick("auto", 0))
    datamodule.setup("validate")
    dataset = datamodule.val_set
    parts: Any = {key: OmegaConf.to_container(config[key]) for key in Segmenter.CONFIGS}
    segmenter = Segmenter(**parts, classes=list(dataset.classes), palette=dataset.palette.tolist())
    settings: dict[str, Any] = {"w1": 5, "sxy": 50, "srgb": 10, "iterations": setting.pick(10, 2)}
    crfs = {"the CRF on the device": CRFRefinement(DenseCRF(**settings, engine="torch"), workers=1)}
    if native_engine.missing_reason() is None:
        crfs["the CRF on the CPU"] = CRFRefinement(OnCPU(**settings, engine="native"))
        crfs["the CRF on the CPU, prune=0.01"] = CRFRefinement(OnCPU(**settings, engine="native", prune=0.01))
    times: dict[str, list[float]] = {name: [] for name in ("no CRF", *crfs)}
    for _ in range(setting.pick(4, 1)):
        for name, found in times.items():
            found.append(validation_seconds(segmenter, datamodule, [crfs[name]] if name in crfs else []))
    medians = {name: statistics.median(found[1:] or found) for name, found in times.items()}
    count = len(dataset)
    yield Figure("validation", f"no CRF, {type(dataset).__name__}", 1000 * medians.pop("no CRF") / count, "ms/image")
    plain = statistics.median(times["no CRF"][1:] or times["no CRF"])
    best = min(medians.values())
    for name, found_time in medians.items():
        goal = "<= 1.25x for the faster one"
        yield Figure("validation", f"with {name}", found_time / plain, "x", goal, setting.judge(best <= 1.25 * plain))
    for batch in setting.pick((1, 8), (1, 2)):
        network, side = segmenter.to(setting.device).eval(), setting.pick((361, 481), (65, 65))
        images = torch.randint(0, 256, (batch, 3, *side), dtype=torch.uint8, device=setting.device)

        def forward(images: torch.Tensor = images, network: Segmenter = network) -> None:
            enabled = setting.on_gpu
            with torch.inference_mode(), torch.autocast(setting.device, torch.bfloat16, enabled=enabled):
                network(images)

        rounds = [seconds(forward) for _ in range(setting.pick(10, 2))][1:]
        yield Figure("validation", f"the network, {batch} at a time", 1000 * min(rounds) / batch, "ms/image")


def measure_crf(setting: Setting) -> Iterator[Figure]:
    """Yield the time of the CRF for an image, in batches and one by one, and its agreement with the CPU's."""
    count, size = setting.pick((16, (375, 500)), (2, (33, 49)))
    pictures = Shapes("val", {"val": count}, size=max(size))
    images = [torch.from_numpy(pictures[i].image[: size[0]].copy()).permute(2, 0, 1).contiguous() for i in range(count)]
    case = Case("generated images", images, [network_like_scores(size, 21, seed=i) for i in range(count)])
    for letter in setting.pick(tuple(SETTINGS), ("A",)):
        with RefinementPool(crf := DenseCRF(w1=4, **SETTINGS[letter])) as pool:
            runs = contestants(case, letter, crf, pool, setting.device)
            (_, reference), *own = runs.items()
            expected = reference().argmax(1)
            for name, run in own:
                labels = run().cpu()
                labels = labels if labels.ndim == 3 else labels.argmax(1)
                best = min(seconds(run) for _ in range(setting.pick(5, 1))) / count
                limit = 3 if "one by one" in name else 2
                ok = setting.judge(1000 * best <= limit)
                title = f"setting {letter}, {name}"
                yield Figure("crf", title, 1000 * best, "ms/image", f"<= {limit} ms", ok)
                if "prune" not in name:
                    equal = float((labels == expected).double().mean())
                    yield Figure(
                        "crf", f"{title}, labels equal to the CPU's", 100 * equal, "%", ">= 99.99", equal > 0.9999
                    )
