"""The doctor describes machines on which much is broken, and tells nobody's secrets."""

import ast
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from src.cli.deeplab import main as run_deeplab
from src.preparation.doctor import probes
from src.preparation.doctor.finding import Finding, hide_private, reason
from src.preparation.doctor.folders import examine as examine_folders
from src.preparation.doctor.folders import examine_folder
from src.preparation.doctor.machine import examine_engine, examine_gpu, examine_memory
from src.preparation.doctor.page import KEYS, layout, main
from src.preparation.doctor.probes import Probe
from src.preparation.doctor.versions import NEEDED, examine_wandb, find_broken, find_misfits
from tests.conftest import REPO

NO_NETWORK = "import os, socket\nsocket.socket.connect = socket.getaddrinfo = lambda *_: os._exit(9)\n"
TITLES = ["Versions", "Processor", "GPU", "Dense CRF", "Memory", "Folders", "Weights & Biases", "Environment"]


def module(folder: Path, name: str, code: str) -> Path:
    """Write a module that takes the place of an installed one of this name."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    return folder


def doctor(
    *arguments: str, path: Path, package: Path = REPO, before: Callable[[], None] | None = None, **environment: str
) -> list[str]:
    """Return the lines that the doctor prints, with ``path`` before all other places of modules."""
    variables = {**os.environ, "PYTHONPATH": f"{path}:{package}", **environment}
    done = subprocess.run(
        [sys.executable, "-m", "src.doctor", *arguments],
        cwd=path, env=variables, capture_output=True, text=True, timeout=100, preexec_fn=before,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in TITLES] == TITLES
    assert max(map(len, lines)) <= 120
    return lines


def marked(lines: list[str]) -> list[str]:
    """Return the findings that need a remedy, each in one line."""
    found: list[str] = []
    for line in lines[1:]:
        if line.startswith("!"):
            found.append(line)
        elif found and line.startswith(" " * 19) and lines[lines.index(line) - 1].startswith(("!", " " * 19)):
            found[-1] += " " + line.strip()
    return found


def test_a_sound_machine_is_described_without_network(tmp_path: Path) -> None:
    module(tmp_path, "sitecustomize", NO_NETWORK)
    lines = doctor(path=tmp_path, WANDB_API_KEY="", WANDB_MODE="offline")
    page = " ".join(" ".join(lines).split())
    for package in ("torch", "lightning", "hydra-core", "omegaconf", "torchmetrics", "albumentations", "wandb"):
        assert f"{package} {metadata.version(package)}" in page
    assert "precision auto is" in page
    assert f"Python {sys.version.split()[0]}" in page
    assert not [line for line in marked(lines) if "torch" in line or "hydra" in line]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "raise ImportError('libcudart.so.12: cannot open shared object file')",
            "ImportError: libcudart.so.12: cannot",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "(ended by SIGSEGV)"),
        ("import sys; print('{not json'); sys.exit('no licence')", "(no licence)"),
    ],
)
def test_a_torch_that_cannot_be_imported(code: str, said: str, tmp_path: Path) -> None:
    lines = doctor(path=module(tmp_path, "torch", code))
    assert [line for line in marked(lines) if line.startswith("! torch ") and said in line]
    assert any(line.startswith("  engine            native") for line in lines) or shutil.which("c++") is None


def test_a_broken_package_of_the_command_line(tmp_path: Path) -> None:
    """Without Hydra no other command starts."""
    module(tmp_path, "torch", "raise ImportError")
    module(tmp_path, "omegaconf", "raise AttributeError('module antlr4 has no attribute x')")
    lines = doctor(path=tmp_path)
    assert "omegaconf cannot be imported (AttributeError: module antlr4" in " ".join(" ".join(marked(lines)).split())


def test_a_probe_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(module(tmp_path, "torch", "import signal; signal.pause()")))
    monkeypatch.setattr(probes, "SECONDS", 0.3)
    probe = Probe("torch")
    assert probe.result() == ({"file": str(tmp_path / "torch.py")}, "no answer within 0.3 seconds")
    assert probe.process.returncode == -9


def test_neither_compiler_nor_engine(tmp_path: Path) -> None:
    module(tmp_path, "torch", "raise ImportError")
    package = tmp_path / "package"
    shutil.copytree(REPO / "src", package / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (package / "src" / "crf" / "_native.cpython-399-x86_64-linux-gnu.so").touch()
    lines = doctor(path=tmp_path, package=package, PATH=str(tmp_path), CXX="no-such-compiler")
    (line,) = (line for line in marked(lines) if line.startswith("! engine"))
    assert "not compiled, but for another Python: _native.cpython-399" in line
    assert "install a C++ compiler (g++ or clang++), then" in line
    assert "  C++ compiler      none" in lines


def no_room() -> None:
    """As on a full disk: no byte can be written to a file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_full_disk_and_no_home(tmp_path: Path) -> None:
    module(tmp_path, "torch", "raise ImportError")
    environment = {"HOME": "", "TORCH_HOME": "", "XDG_CACHE_HOME": "", "TMPDIR": str(tmp_path)}
    lines = doctor("paths.log_dir=runs", path=tmp_path, before=no_room, **environment)
    found = {line[2:19].strip(): line for line in marked(lines)}
    assert found["logs"].endswith(
        "runs: cannot be written to (File too large), does not exist yet; make room, or set paths.log_dir=FOLDER"
    )
    assert "set TMPDIR=FOLDER" in found["temporary files"]
    assert lines[0].startswith(f"deeplab doctor. {len(marked(lines))} lines with !: ")
    assert sorted({*os.listdir(tmp_path)} - {"__pycache__"}) == ["torch.py"]


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examine_folder("logs", str(tmp_path / "new" / "deep"), "move").found.startswith(f"{tmp_path}/new/deep, does")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    assert examine_folder("logs", f"{tmp_path}/file/deep", "move") == (
        "logs",
        f"{tmp_path}/file/deep: Not a directory",
        "move",
    )
    assert examine_folder("logs", "/proc/logs", "move").remedy == "make room, or move"
    assert examine_folder("data", "/proc", "move", read_only=True).remedy == ""
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert examine_folder("cache", "~/.cache", "move").remedy == "set HOME, or move"


def test_nothing_secret_is_told(tmp_path: Path) -> None:
    module(tmp_path, "torch", "raise OSError('/home/jane/lib/libtorch.so: cannot open shared object file')")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login jane password 0123456789abcdef\n")
    secrets = {
        "WANDB_API_KEY": "local-c0ffee", "HF_TOKEN": "hf_c0ffee", "HTTPS_PROXY": "http://jane:c0ffee@proxy:3128",
        "WANDB_BASE_URL": "https://jane:c0ffee@wandb.example:8080", "AWS_SECRET_ACCESS_KEY": "c0ffee",
        "DEEPLAB_DATA": "/scratch/jane/data", "HOME": "/home/jane", "USER": "jane", "NETRC": str(tmp_path / "netrc"),
        "TORCH_HOME": "s3://jane:c0ffee@store/jane",
    }  # fmt: skip
    page = "\n".join(doctor(path=tmp_path, **secrets))
    for secret in ("c0ffee", "jane", "0123456789abcdef", os.uname().nodename):
        assert secret not in page, secret
    assert "~/lib/libtorch.so" in page
    assert "/scratch/USER/data" in page
    assert "logged in by WANDB_API_KEY, server wandb.example" in page
    assert "HTTPS_PROXY       is set (not shown)" in page


def test_a_password_may_hold_an_at_sign() -> None:
    assert hide_private("proxy http://jane:pw@rd@proxy:3128/x") == "proxy http://***@proxy:3128/x"


def test_user_names_that_are_common_words_stay_in_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "data")
    monkeypatch.setenv("HOME", "/")
    assert hide_private("for data workers: /mnt/data/x, /usr") == "for data workers: /mnt/USER/x, /usr"


@pytest.mark.parametrize(
    ("netrc", "said", "remedy"),
    [
        ("machine api.wandb.ai login user password abc", "logged in by the netrc file", ""),
        ("machine other login user password abc", "not logged in", ""),
        ("password api.wandb.ai login", "the netrc file cannot be read", "repair it, then: wandb login"),
        (None, "not logged in", ""),
    ],
)
def test_wandb(netrc: str | None, said: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    if netrc is not None:
        (tmp_path / "netrc").write_text(netrc)
    (finding,) = examine_wandb()
    assert finding.found.startswith(said)
    assert finding.remedy == remedy


def test_versions_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["lightning!=2.6.2,>=2.6", "torch>=2.4", 'onnx>=1.17; extra == "export"', "rich>=13"]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    installed = {"lightning": "2.5.1", "torch": "2.13.0+cpu", "onnx": "1.2", "rich": ""}
    assert list(find_misfits(installed)) == [
        ("lightning", "2.5.1, but this project needs lightning!=2.6.2,>=2.6", 'pip install "lightning!=2.6.2,>=2.6"'),
        ("onnx", "1.2, but this project needs onnx>=1.17", 'pip install "onnx>=1.17"'),
    ]


class Answer:
    """A probe that has ended."""

    def __init__(self, fault: str = "", **facts: object) -> None:
        self.result = lambda: (facts, fault)


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = ["NVIDIA A100", 80 << 30, "8.0"]
    (found,) = examine_gpu(Answer(gpus=[gpu], cuda_build="12.8"))
    assert found == ("GPU 0", "NVIDIA A100, 80.0 GiB, compute capability 8.0, CUDA 12.8", "")
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: "nvidia" in str(path) or exists(path))
    for visible, build, remedy in (
        ("0", None, "install PyTorch with CUDA"),
        ("0", "12.8", "update the driver"),
        ("", "12.8", "unset"),
    ):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        (found,) = examine_gpu(Answer(gpus=[], cuda_build=build, device="cpu"))
        assert found.remedy.startswith(remedy)


def test_an_engine_that_crashes() -> None:
    engine, _ = examine_engine(Answer("ended by SIGILL", others=["_native.so"], level="avx512"))
    assert engine.found.startswith("the compiled engine does not run (ended by SIGILL); the torch engine is used")
    assert engine.remedy


def test_little_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no /dev/shm on this system")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(64 << 20, 4 << 20, 60 << 20))
    (found,) = (finding for finding in examine_memory() if finding.name == "shared memory")
    assert found.found == "60 MiB free of 64 MiB, for data workers"
    assert "--shm-size=1g" in found.remedy


def test_lines_have_marks_and_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert layout(Finding("logs", "full\nof \x1b[31mred", "make room")) == [
        "! logs              full\\nof \\x1b[31mred; make room"
    ]
    assert all(len(line) <= 118 for line in layout(Finding("x", "word " * 100)))


def test_arguments(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["doctor", "trainer=gpu"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err.startswith("error: trainer=gpu: the doctor takes paths.log_dir=FOLDER ")


def test_the_default_folders_are_those_of_conf() -> None:
    paths = yaml.safe_load((REPO / "conf" / "paths" / "default.yaml").read_text())
    assert KEYS["paths.log_dir"] == paths["log_dir"]
    assert paths["data_dir"] == "${oc.env:DEEPLAB_DATA,data}"


def test_every_needed_package_is_listed_and_nothing_else_is_imported() -> None:
    """Packages of pyproject.toml; modules of the doctor import the standard library, but for what a probe runs."""
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    needed = {line.replace(">", "=").partition("=")[0] for line in project["dependencies"]}
    assert needed == set(NEEDED)
    for path in [REPO / "src" / "doctor.py", *(REPO / "src" / "preparation" / "doctor").glob("*.py")]:
        for node in ast.parse(path.read_text()).body:
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top = str(name).partition(".")[0]
                assert (
                    top in sys.stdlib_module_names
                    or name in ("src", "src.system.counted", "src.system.errors", "src.system.torch_home")
                    or "doctor" in str(name)
                ), name


def test_a_file_that_hides_torch_is_named(tmp_path: Path) -> None:
    lines = doctor(path=module(tmp_path, "torch", "raise ImportError('mine')"))
    (line,) = (line for line in marked(lines) if line.startswith("! torch "))
    assert "/torch.py is imported in its place: rename it, or take its folder off PYTHONPATH" in line
    assert "install" not in line


def test_a_variable_that_torch_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_LOGS", "wrong")
    sentence = "Invalid log settings: wrong, must be a list of\nnames."
    fault = reason(ValueError(f"\n{sentence}\nSettings: {'all, ' * 100}"))
    assert fault == f"ValueError: {' '.join(sentence.split())}"
    (finding,) = find_broken(Answer(fault), Answer(), {"torch": "2"})
    assert finding.remedy == "correct or unset TORCH_LOGS"


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    module(tmp_path, "torch", "raise ImportError")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "src.doctor"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{tmp_path}:{REPO}"},
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=100,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "error: standard output: No space left on device\n")


def test_a_working_folder_that_was_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    found = [("working folder", "was deleted, so no folder is examined", "cd to another folder")]
    assert examine_folders("logs", "data") == found
    monkeypatch.setattr(sys, "argv", ["deeplab", "describe"])
    with pytest.raises(SystemExit, match="2"):
        run_deeplab()
