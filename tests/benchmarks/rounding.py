"""Find which engine's rounding makes Q differ between engines: python -m tests.benchmarks.rounding CHECKPOINT.

Prints the largest distance of each engine's Q from that of the lattice in float64, on scores of a network for CamVid
images.
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console

from src.crf import DenseCRF
from src.crf.engines.torch_engine import build_kernels
from src.crf.inputs import upsample
from src.crf.mean_field import mean_field
from tests.benchmarks.crf import SETTINGS, trained_case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="of a run on CamVid")
    case = trained_case(parser.parse_args().checkpoint, 4)
    for name, setting in SETTINGS.items():
        crfs = [DenseCRF(w1=4, **setting, w2=3, sg=3, engine=engine) for engine in ("native", "torch", "pydensecrf")]
        for image, score_map in zip(case.images, case.score_maps, strict=True):
            logits = upsample(score_map, (image.shape[1], image.shape[2]), 8)
            bilateral, gaussian = build_kernels(image[None], crfs[0].parameters, (4, 3), torch.float64)
            unary = logits.double().reshape(len(logits), -1).T.contiguous()
            q = mean_field(unary, (bilateral + gaussian).filter, 10).T.reshape(logits.shape)
            apart = [f"{crf.engine_name} {(crf(image, logits=logits) - q).abs().max():.1e}" for crf in crfs]
            Console().print(f"setting {name}: " + ", ".join(apart))


if __name__ == "__main__":
    main()
