"""Load what may crash or hang, each in a process of its own, and report what it says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[2]  # src
SECONDS = 60  # after which a process is taken to hang
LIBRARIES = ("numpy", "cv2", "PIL", "scipy", "h5py", "omegaconf", "hydra")  # needed and quick to load


class Probe:
    """A process that loads something; it begins at once.

    Args:
        name: a key of ``PROBES``.
    """

    def __init__(self, name: str) -> None:
        program = f"import sys; sys.path.append({str(PACKAGE.parent)!r}); import {__name__} as p; p.PROBES[{name!r}]()"
        self.found: tuple[dict[str, Any], str] | None = None
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
            )  # fmt: skip
        except OSError as error:
            self.found = {}, f"no process can be started: {error.strerror}"

    def result(self) -> tuple[dict[str, Any], str]:
        """Return what the process has reported, and what went wrong; "" if nothing did."""
        if self.found is None:
            self.found = self.wait()
        return self.found

    def wait(self) -> tuple[dict[str, Any], str]:
        """Wait for the end of the process."""
        try:
            output, errors = self.process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            output, errors = self.process.communicate()
            return read_facts(output), f"no answer within {SECONDS} seconds"
        facts = read_facts(output)
        if error := facts.pop("error", ""):
            return facts, error
        if self.process.returncode < 0:
            return facts, f"ended by {signal.Signals(-self.process.returncode).name}"
        last = (errors.strip().splitlines() or [f"exit status {self.process.returncode}"])[-1]
        return facts, last if self.process.returncode else ""


def read_facts(output: str) -> dict[str, Any]:
    """Return what ``tell`` has printed, among whatever libraries print."""
    facts: dict[str, Any] = {}
    for line in output.splitlines():
        try:
            fact = json.loads(line)
        except ValueError:
            continue
        facts |= fact if isinstance(fact, dict) else {}
    return facts


def tell(**facts: Any) -> None:
    """Report facts from the process of a probe, also if it crashes next."""
    print(json.dumps(facts), flush=True)


def place_of(package: str) -> str:
    """Return the file or folder that a package is imported from; "" if unknown."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return ""
    return spec.origin or next(iter(spec.submodule_search_locations or ()), "") if spec else ""


def probe_torch() -> None:
    """Report what PyTorch says about itself, the processor and the GPUs."""
    tell(file=place_of("torch"))
    try:
        import torch

        tell(cuda_build=torch.version.cuda or torch.version.hip, level=torch.backends.cpu.get_cpu_capability())
        tell(threads=torch.get_num_threads(), hub=torch.hub.get_dir())
        from src.system.hardware import auto_precision, resolve_accelerator

        tell(device=resolve_accelerator("auto"), precision=auto_precision("auto"))
        devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        tell(gpus=[[d.name, d.total_memory, f"{d.major}.{d.minor}"] for d in devices])
    except Exception as error:
        from src.preparation.doctor.finding import reason

        tell(error=reason(error))


def probe_engine() -> None:
    """Load the compiled engine of the CRF without PyTorch, and refine a small image with it."""
    folder = PACKAGE / "crf"
    files = [folder / f"_native{suffix}" for suffix in EXTENSION_SUFFIXES if (folder / f"_native{suffix}").is_file()]
    tell(others=[path.name for path in folder.glob("_native*") if path.is_file()])
    if not files:
        return
    try:
        loader = ExtensionFileLoader("src.crf._native", str(files[0]))
        spec = spec_from_loader("src.crf._native", loader)
        assert spec is not None
        native = module_from_spec(spec)
        loader.exec_module(native)
        tell(level=native.level())
        import numpy as np

        labels = np.empty((9, 9), np.uint8)
        image, scores = np.zeros((3, 9, 9), np.uint8), np.zeros((2, 9, 9), np.float32)
        native.refine(image, scores, labels, 1, (5.0, 50.0, 50.0, 10.0, 3.0, 3.0), 2, 0.0, 1)
        tell(runs=True)
    except Exception as error:
        from src.preparation.doctor.finding import reason

        tell(error=reason(error))


def probe_libraries() -> None:
    """Import compiled libraries that are installed; report each one that cannot be imported."""
    from src.preparation.doctor.finding import reason

    broken: dict[str, str] = {}
    files: dict[str, str] = {}
    for name in LIBRARIES:
        tell(loading=name)
        try:
            if find_spec(name) is not None:
                import_module(name)
        except Exception as error:
            broken[name], files[name] = reason(error), place_of(name)
    tell(broken=broken, files=files, loading="")


PROBES = {"torch": probe_torch, "engine": probe_engine, "libraries": probe_libraries}
