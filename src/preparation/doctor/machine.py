"""What this machine computes with: processor, GPU, engine of the CRF, memory."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sysconfig
from pathlib import Path

from src.preparation.doctor.finding import Finding, in_bytes
from src.preparation.doctor.probes import Probe

SHOWN = (
    "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "DEEPLAB_DATA", "TORCH_HOME", "XDG_CACHE_HOME",
    "TMPDIR", "WANDB_MODE", "WANDB_DIR", "HYDRA_FULL_ERROR", "PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "PYTORCH_CUDA_ALLOC_CONF", "SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "TORCHELASTIC_RUN_ID",
)  # fmt: skip
HIDDEN = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "WANDB_API_KEY", "HF_TOKEN")  # only whether set
LEAST_MEMORY = 2 << 30
LEAST_SHARED = 128 << 20  # Docker gives 64 MiB, unless it is told
FLAGS = {
    "avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 bfloat16", "amx_bf16": "AMX bfloat16",
    "asimd": "NEON", "bf16": "bfloat16",
}  # fmt: skip


def examine_processor(torch: Probe) -> list[Finding]:
    """Return the findings about the processor, and what they mean for speed."""
    facts, _ = torch.result()
    usable, total = usable_cores(), os.cpu_count() or 1
    info = read_text("/proc/cpuinfo")
    flags = {word for line in info.splitlines() if line.startswith(("flags", "Features")) for word in line.split()}
    known = [name for flag, name in FLAGS.items() if flag in flags]
    used = f"; PyTorch uses {facts['level']}" if "level" in facts else ""
    slow = "; without AVX2, everything takes several times as long" if "sse2" in flags and "avx2" not in flags else ""
    model = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    threads = f", PyTorch uses {facts['threads']}" if "threads" in facts else ""
    findings = [
        Finding("processor", model[0] if model else platform.processor() or platform.machine()),
        Finding("cores", f"{usable:g} of {total} usable{threads}"),
        Finding("instructions", f"{', '.join(known) or 'unknown'}{used}{slow}"),
    ]
    if "precision" in facts:
        precision, why = facts["precision"]
        findings.append(Finding("precision", f"auto is {precision}: {why}"))
    if "hub" in facts:
        findings.append(Finding("memory format", describe_memory_formats(Path(facts["hub"]))))
    return findings


def usable_cores() -> float:
    """Return the number of cores that this process may use, after its affinity and the limit of its container."""
    cores: float = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = read_text("/sys/fs/cgroup/cpu.max").strip().partition(" ")
    return min(cores, int(quota) / int(period)) if quota.isdecimal() and period.isdecimal() else cores


def describe_memory_formats(hub: Path) -> str:
    """Return how a training on a CPU chooses the memory format, as ``src.training.memory_format`` does."""
    try:
        count = len(json.loads((hub / "deeplab-v1" / "memory_formats.json").read_text()))
    except (OSError, ValueError, TypeError):
        count = 0
    known = f"; measured here: {count}" if count else ""
    return f"auto: on a CPU, the faster one of channels_last and contiguous, measured once for a network{known}"


def examine_gpu(torch: Probe) -> list[Finding]:
    """Return the findings about GPUs."""
    facts, _ = torch.result()
    has_nvidia = Path("/proc/driver/nvidia/version").exists()
    build = facts.get("cuda_build")
    if gpus := facts.get("gpus"):
        return [
            Finding(f"GPU {index}", f"{name}, {in_bytes(memory)}, compute capability {capability}, CUDA {build}")
            for index, (name, memory, capability) in enumerate(gpus)
        ]
    if facts.get("device") == "mps":
        return [Finding("GPU", "Apple's, by MPS")]
    if has_nvidia and "cuda_build" in facts:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        cause = "CUDA_VISIBLE_DEVICES hides it" if hidden else f"PyTorch is built for CUDA {build}" if build else ""
        found = f"there is an NVIDIA driver, but PyTorch sees no GPU ({cause or 'it is built for CPUs'})"
        remedy = "unset CUDA_VISIBLE_DEVICES" if hidden else "update the driver" if build else ""
        return [Finding("GPU", found, remedy or "install PyTorch with CUDA: https://pytorch.org/get-started")]
    return [Finding("GPU", "none" if facts else "unknown, because PyTorch does not run")]


def examine_engine(engine: Probe) -> list[Finding]:
    """Return the findings about the CRF's engine and the compiler that builds it."""
    facts, fault = engine.result()
    compiler = find_compiler()
    build = 'in a checkout: pip install --no-build-isolation --no-deps -e ".", elsewhere install the package again'
    remedy = build if compiler else f"install a C++ compiler (g++ or clang++), then, {build}"
    built = Finding("C++ compiler", compiler or "none")
    if facts.get("runs") and not fault:
        return [Finding("engine", f"native, compiled, with {facts['level']}"), built]
    slower = "the torch engine is used, which takes several times as long"
    if "level" in facts or fault:
        return [Finding("engine", f"the compiled engine does not run ({fault}); {slower}", remedy), built]
    others = f", but for another Python: {', '.join(facts['others'])}" if facts.get("others") else ""
    return [Finding("engine", f"the native engine is not compiled{others}; {slower}", remedy), built]


def find_compiler() -> str:
    """Return the path of the C++ compiler that would build the engine; "" if there is none."""
    named = [os.environ.get("CXX"), sysconfig.get_config_var("CXX"), "c++", "g++", "clang++"]
    commands = [name.split()[0] for name in named if name and name.strip()]
    return next((path for command in commands if (path := shutil.which(command))), "")


def examine_memory() -> list[Finding]:
    """Return the findings about memory, and the shared memory that data workers need."""
    findings = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        free = next(
            (int(line.split()[1]) * 1024 for line in read_text("/proc/meminfo").splitlines() if "MemAvailable" in line),
            None,
        )
        limit = read_text("/sys/fs/cgroup/memory.max").strip()
        limited = f", limited to {in_bytes(int(limit))}" if limit.isdecimal() and int(limit) < total else ""
        remedy = "close other programs" if free is not None and free < LEAST_MEMORY else ""
        available = f"{in_bytes(free)} available of " if free is not None else ""
        findings.append(Finding("memory", f"{available}{in_bytes(total)}{limited}", remedy))
    if Path("/dev/shm").is_dir():
        usage = shutil.disk_usage("/dev/shm")
        small = usage.free < LEAST_SHARED
        remedy = "give the container more (docker run --shm-size=1g), or set data.num_workers=0" if small else ""
        text = f"{in_bytes(usage.free)} free of {in_bytes(usage.total)}, for data workers"
        findings.append(Finding("shared memory", text, remedy))
    try:
        import resource
    except ImportError:  # Windows
        return findings
    limit_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = 0 <= limit_files < 512
    return [*findings, Finding("open files", f"{limit_files} at most", "raise it: ulimit -n 4096" if few else "")]


def examine_environment() -> list[Finding]:
    """Return the variables that change what commands do; of secrets, only that they are set."""
    shown = [Finding(name, os.environ[name] or '""') for name in SHOWN if name in os.environ]
    hidden = [Finding(name, "is set (not shown)") for name in HIDDEN if os.environ.get(name)]
    return [*shown, *hidden] or [Finding("variables", "none that matter is set")]


def read_text(path: str) -> str:
    """Return the content of a file of the system; "" if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
