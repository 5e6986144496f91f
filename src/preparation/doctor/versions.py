"""The versions of the project, of Python and of the packages, and whether they fit together."""

from __future__ import annotations

import netrc
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import urlparse

from src import __version__
from src.preparation.doctor.finding import Finding
from src.preparation.doctor.probes import PACKAGE, Probe
from src.system.counted import counted

PROJECT = "deeplab-v1"
NEEDED = (
    "torch", "lightning", "hydra-core", "omegaconf", "torchmetrics", "albumentations", "numpy",
    "opencv-python-headless", "pillow", "scipy", "h5py", "matplotlib", "jinja2", "rich", "requests", "filelock",
    "jaxtyping", "fsspec", "tensorboard", "wandb",
)  # fmt: skip
OPTIONAL = (
    "onnx", "onnxruntime", "onnxscript", "optuna", "hydra-optuna-sweeper", "hydra-submitit-launcher", "mlflow-skinny",
    "pydensecrf2", "timm", "torchvision", "triton", "huggingface_hub", "safetensors", "starlette",
    "uvicorn",
)  # fmt: skip


def examine(torch: Probe, libraries: Probe) -> list[Finding]:
    """Return the findings about versions."""
    installed = {name: version_of(name) for name in NEEDED + OPTIONAL}
    required = [f"{name} {installed[name]}" for name in NEEDED if installed[name]]
    extra = [f"{name} {installed[name]}" for name in OPTIONAL if installed[name]]
    return [
        Finding("this project", f"{__version__}, {origin()}"),
        Finding("Python", f"{platform.python_version()} ({sys.implementation.name}) in {sys.prefix}", python_remedy()),
        Finding("system", platform.platform()),
        Finding("packages", ", ".join(required)),
        Finding("extras", ", ".join(extra) or "none"),
        *(Finding(name, "not installed", f"pip install {name}") for name in NEEDED if not installed[name]),
        *(find_misfits(installed)),
        *find_broken(torch, libraries, installed),
    ]


def version_of(package: str) -> str:
    """Return the version of a package; "" if it is not installed, or does not say."""
    try:
        return metadata.version(package) or ""
    except Exception:  # PackageNotFoundError, or whatever a damaged installation raises
        return ""


def python_remedy() -> str:
    """Return what to do if the project does not support this Python."""
    return "" if (3, 10) <= sys.version_info[:2] < (3, 14) else "use Python 3.10 to 3.13"


def origin() -> str:
    """Return where the code comes from: the commit of a checkout, or the folder of an installed package."""
    folder = PACKAGE.parent
    if not (folder / ".git").exists():
        return f"installed in {folder}"
    commit, changes = git("rev-parse", "--short=12", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    if not commit:
        return f"a checkout in {folder}, of which git does not tell the commit"
    count = len(changes.splitlines())
    changed = f", {counted(count, 'file')} changed" if count else ""
    return f"commit {commit}{changed}, in {folder}"


def git(*arguments: str) -> str:
    """Return what git prints about the checkout; "" if it fails, or takes longer than two seconds."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], cwd=PACKAGE, capture_output=True, text=True, timeout=2
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def find_misfits(installed: dict[str, str]) -> Iterator[Finding]:
    """Yield each package whose version this project does not allow."""
    try:
        from packaging.requirements import Requirement

        requirements = [Requirement(line) for line in metadata.requires(PROJECT) or ()]
    except Exception:  # not installed by pip, or damaged: there is nothing to compare with
        return
    for requirement in requirements:
        version = installed.get(requirement.name, "")
        if version and not requirement.specifier.contains(version, prereleases=True):
            needed = f"{requirement.name}{requirement.specifier}"
            yield Finding(requirement.name, f"{version}, but this project needs {needed}", f'pip install "{needed}"')


def find_broken(torch: Probe, libraries: Probe, installed: dict[str, str]) -> Iterator[Finding]:
    """Yield each package that is installed but cannot be imported."""
    facts, fault = torch.result()
    if fault and installed["torch"]:
        remedy = import_remedy(facts.get("file", "")) or variable_remedy(fault)
        remedy = remedy or "install it again as https://pytorch.org/get-started says"
        yield Finding("torch", f"cannot be used ({fault})", remedy)
    facts, fault = libraries.result()
    if fault:
        yield Finding(facts.get("loading") or "libraries", f"cannot be imported ({fault})", "install it again")
    for name, error in facts.get("broken", {}).items():
        remedy = import_remedy(facts.get("files", {}).get(name, "")) or "install it again, or what the message names"
        yield Finding(name, f"cannot be imported ({error})", remedy)


def import_remedy(file: str) -> str:
    """Return what to do if a package is imported from a file where no package is installed; "" if it is not."""
    if not file or {"site-packages", "dist-packages"} & set(Path(file).parts):
        return ""
    return f"{file} is imported in its place: rename it, or take its folder off PYTHONPATH"


def variable_remedy(fault: str) -> str:
    """Return what to do if PyTorch refuses the value of an environment variable; "" if it does not."""
    chosen = [name for name in sorted(os.environ) if name.startswith(("TORCH", "PYTORCH")) and name != "TORCH_HOME"]
    refused = [name for name in chosen if name in fault or (os.environ[name] and os.environ[name] in fault)]
    names = refused or chosen
    return f"correct or unset {' or '.join(names)}" if names and fault.startswith("ValueError") else ""


def examine_wandb() -> list[Finding]:
    """Return whether W&B has an API key, without loading it and without asking its server."""
    if not version_of("wandb"):
        return [Finding("login", "wandb is not installed")]
    mode = os.environ.get("WANDB_MODE", "")
    server = urlparse(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    notes = (f", server {server}" if server != "api.wandb.ai" else "") + (f", WANDB_MODE={mode}" if mode else "")
    if os.environ.get("WANDB_API_KEY"):
        return [Finding("login", f"logged in by WANDB_API_KEY{notes}")]
    try:
        found = netrc.netrc(os.environ.get("NETRC") or None).authenticators(server)
    except netrc.NetrcParseError:
        return [Finding("login", f"the netrc file cannot be read{notes}", "repair it, then: wandb login")]
    except Exception:  # no file, or no home folder
        found = None
    if found:
        return [Finding("login", f"logged in by the netrc file{notes}")]
    return [Finding("login", f"not logged in{notes}: logger=wandb writes offline; log in with: wandb login")]
