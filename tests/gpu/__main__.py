"""All that only a GPU can show, in one run that is meant to take under 8 minutes: make gpu.

python -m tests.gpu [--small] [--json FILE] [--markdown FILE] [--only NAME]

Each part runs in a process of its own with a time limit; one that fails is reported, and the others run. The files are
written after each part, so that a run that is cut off loses nothing. Without a GPU, and with --small, a tiny network
takes a few steps on the CPU, and the report says "needs a GPU" where that cannot show anything.

A bare machine with a GPU needs Python 3.10 to 3.13, a CUDA build of torch, and a copy of this checkout. Where it has no
network, bring what else it lacks in a folder "carry" in the checkout, which git ignores and which stays below 64 MiB:

    pip download --dest carry/wheels --only-binary :all: --no-deps lightning lightning-utilities torchmetrics \\
      hydra-core omegaconf antlr4-python3-runtime==4.9.* albumentations albucore jaxtyping wadler-lindig filelock rich
    cp -r FOLDER/camvid carry/camvid

antlr4-python3-runtime has no wheel: "pip wheel --no-deps antlr4-python3-runtime==4.9.3 -w carry/wheels" makes one.
CamVid's files take 27 MiB; the cache of decoded samples takes ten times as much and is packed on the machine in
seconds. There, build the CRF's native engine and run:

    pip install --no-index --find-links carry/wheels --no-deps carry/wheels/*.whl
    python setup.py build_ext --inplace
    DEEPLAB_DATA=carry python -m tests.gpu --json gpu.json --markdown gpu.md
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.gpu.figures import Figure, markdown
from tests.gpu.runner import PARTS, find_machine, run_parts


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a tiny network on the CPU")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--markdown", type=Path, help="write the report to this file too")
    parser.add_argument("--only", choices=PARTS, action="append", metavar="NAME", help=f"one of {', '.join(PARTS)}")
    options = parser.parse_args(arguments)
    os.environ |= {"WANDB_MODE": "offline", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}  # the latter keeps forking possible
    if options.small:
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    device, note = find_machine()
    small = device == "cpu"
    note += ", small form" if small else ""
    figures: list[Figure] = []
    for figures in run_parts(options.only or list(PARTS), device, small):
        if options.json:
            content = {"machine": note, "figures": [figure._asdict() for figure in figures]}
            options.json.write_text(json.dumps(content, indent=1) + "\n")
        if options.markdown:
            options.markdown.write_text(markdown(figures, note))
    print(markdown(figures, note))
    sys.exit(any(figure.ok is False for figure in figures))


if __name__ == "__main__":
    main()
