"""The package as pip installs it: with conf/, the deeplab command, and YAML files of the user in ./conf."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import build_meta

import src
from src.cli.crf_presets import preset_path
from src.system.errors import UserError
from tests.cli.test_conf import COMMANDS
from tests.conftest import REPO

NO_COMPILER = dict.fromkeys(("CC", "CXX", "LDCXXSHARED"), "no-such-compiler")


def python(*arguments: str, cwd: Path, package: Path = REPO) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder in which ``src`` is that of a checkout or of an unpacked wheel."""
    environment = {**os.environ, "PYTHONPATH": str(package)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, env=environment, timeout=300
    )


def deeplab(*arguments: str, cwd: Path, package: Path = REPO) -> subprocess.CompletedProcess[str]:
    """Run the script that pip makes from the entry point, from a folder of its own."""
    script = cwd / "bin" / "deeplab"
    script.parent.mkdir(exist_ok=True)
    script.write_text("import sys\nfrom src.cli.deeplab import main\nsys.exit(main())\n")
    return python(str(script), *arguments, cwd=cwd, package=package)


def yaml_files(names: Iterable[str], root: str) -> set[str]:
    return {name.partition(root)[2] for name in names if name.startswith(root) and name.endswith(".yaml")}


CONF_FILES = {str(path.relative_to(REPO / "conf")) for path in (REPO / "conf").rglob("*.yaml")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel built from an sdist of a copy of the checkout, without the compiled engine."""
    folder = tmp_path_factory.mktemp("build")
    unwanted = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("src", "conf"):
        shutil.copytree(REPO / name, folder / "checkout" / name, ignore=unwanted)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(REPO / name, folder / "checkout")
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        for variable, value in NO_COMPILER.items():
            context.setenv(variable, value)
        context.chdir(folder / "checkout")
        sdist = folder / build_meta.build_sdist(str(folder))
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        context.chdir(folder / sdist.name.removesuffix(".tar.gz"))
        return folder / build_meta.build_wheel(str(folder))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the package as site-packages would."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_every_yaml_and_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert "deeplab = src.cli.deeplab:main" in archive.read(entry_points).decode()
    assert yaml_files(names, "src/conf/") == CONF_FILES
    assert not [name for name in names if name.startswith(("conf/", "tests/")) or name.endswith((".cpp", ".hpp"))]
    for ending in (".jinja", ".js"):
        files = {path.relative_to(REPO).as_posix() for path in (REPO / "src").rglob(f"*{ending}")}
        assert {name for name in names if name.endswith(ending)} == files
    assert {"src/runs/networks/camvid_slim.ckpt", "src/runs/networks/camvid_slim.md"} <= set(names)
    assert wheel.name.startswith(f"deeplab_v1-{src.__version__}-")


def test_an_installed_package_runs_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    """It also finds classes in the working folder, as python -m does."""
    (tmp_path / "mine.py").write_text("from src.models import FCHead as Mine\n")
    arguments = ["describe", "head=vanilla", "head._target_=mine.Mine", "measure=false"]
    done = deeplab(*arguments, cwd=tmp_path, package=installed)
    assert done.returncode == 0, done.stderr
    assert "fc6" in done.stdout
    assert (tmp_path / "logs" / "describe").is_dir()


def test_an_installed_package_writes_presets_to_the_working_folder(installed: Path, tmp_path: Path) -> None:
    script = "from src.cli.conf_folder import writable_conf; print(writable_conf())"
    assert python("-c", script, cwd=tmp_path, package=installed).stdout == f"{tmp_path / 'conf'}\n"


def test_an_installed_package_keeps_the_names_of_its_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset of the user with the same name would never be found, because the package's comes first."""
    monkeypatch.setattr("src.cli.crf_presets.INSTALLED", True)
    folder = tmp_path / "conf" / "crf"
    assert preset_path("mine", folder) == folder / "mine.yaml"
    assert not folder.exists()
    with pytest.raises(UserError, match=r"camvid\.yaml was not written by a command, so it is not overwritten; choose"):
        preset_path("camvid", folder)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with two presets in ./conf, one of which has the name of one of the package's."""
    folder = tmp_path / "conf" / "crf"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("defaults: [deeplab]\nsxy: 33\n")
    (folder / "camvid.yaml").write_text("hidden: true\n")
    return tmp_path


def test_yaml_in_the_working_folder_is_a_choice(project: Path) -> None:
    done = python("-m", "src.train", "crf=mine", "--cfg", "job", "--package", "crf", cwd=project)
    assert "\nsxy: 33\n" in done.stdout, done.stderr
    assert "\niterations: 10\n" in done.stdout  # of the package's deeplab
    assert "mine" in python("-m", "src.train", "--help", cwd=project).stdout
    typo = python("-m", "src.train", "crf=mini", cwd=project)
    assert "crf=mini: no such choice. Did you mean mine? crf may be: camvid, " in typo.stderr
    unknown = python("-m", "src.train", "crf=mine", "crf.sx=3", cwd=project)
    assert "crf.sx: no such key with crf=mine. Did you mean sxy?" in unknown.stderr


def test_the_packages_yaml_comes_first(project: Path) -> None:
    done = python("-m", "src.train", "crf=camvid", "--cfg", "job", "--package", "crf", cwd=project)
    assert "hidden" not in done.stdout
    assert "sxy:" in done.stdout


def test_yaml_in_the_working_folder_is_checked_as_the_packages_is(project: Path) -> None:
    """Also in a job, where the config is composed again, and if Hydra changes the working folder."""
    done = python("-m", "src.train", "crf=mine", "crf.sxy=wide", "hydra.job.chdir=true", cwd=project)
    assert done.stderr == "error: crf.sxy=wide: crf.sxy takes a number, such as crf.sxy=33\n"


def test_compose_finds_yaml_in_the_working_folder(project: Path) -> None:
    script = "from src.cli.compose import compose; print(compose('train', 'crf=mine', output_dir='run').crf.sxy)"
    assert python("-c", script, cwd=project).stdout == "33\n"


def test_deeplab_lists_the_commands_and_loads_nothing(tmp_path: Path) -> None:
    script = (
        "import sys; sys.argv = ['deeplab', '--help']\n"
        "from src.cli.deeplab import main; main()\n"
        "print('heavy:', sorted({'hydra', 'omegaconf', 'torch', 'lightning', 'numpy'} & set(sys.modules)))\n"
    )
    page = python("-c", script, cwd=tmp_path).stdout
    assert page.endswith("heavy: []\n")
    listed = [line.split()[0] for line in page.splitlines() if line.startswith("  ")]
    assert listed == COMMANDS
    assert re.search(
        r"^  train +Train a network, validate it with and without CRF, keep the best checkpoint$", page, re.M
    )


def test_deeplab_train_is_python_m_src_train(tmp_path: Path) -> None:
    arguments = ["head=vanilla", "seed=3", "--cfg", "job"]
    by_name = deeplab("train", *arguments, cwd=tmp_path)
    assert by_name.returncode == 0, by_name.stderr
    assert by_name.stdout == python("-m", "src.train", *arguments, cwd=tmp_path).stdout
    assert "seed: 3" in by_name.stdout


def test_deeplab_names_the_closest_command(tmp_path: Path) -> None:
    done = deeplab("trian", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: trian: no such command. Did you mean train? Commands: describe, ")
    assert deeplab(cwd=tmp_path).stdout == deeplab("--help", cwd=tmp_path).stdout


def test_every_command_prints_its_version(tmp_path: Path) -> None:
    for module in ("src.cli.deeplab", "src.train", "src.predict"):
        assert python("-m", module, "--version", cwd=tmp_path).stdout == f"deeplab {src.__version__}\n"


@pytest.mark.slow
def test_deeplab_starts_all_processes_of_a_training(tmp_path: Path) -> None:
    """Lightning starts them by the name of the main module."""
    options = ["trainer=ddp_cpu", "debug=fast", "crf=none", "logger=none", "dataset.size=48"]
    done = deeplab("train", *options, "augmentation.crop_size=33", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("logs/train/runs/*/*/metrics.json"))


def pinned(name: str) -> dict[str, str]:
    """Return the versions in a constraints file."""
    lines = (line.partition(";")[0].partition("#")[0].strip() for line in (REPO / name).read_text().splitlines())
    return {canonicalize_name(package): version for package, _, version in (line.partition("==") for line in lines)}


def test_the_lowest_constraints_are_the_bounds_of_pyproject() -> None:
    """Except for torch. Neither file holds a release that pyproject.toml excludes."""
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    requirements = [requirement for line in lines if not (requirement := Requirement(line)).extras]
    lowest = pinned("constraints-lowest.txt")
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        bound = next(part.version for part in requirement.specifier if part.operator in (">=", "=="))
        assert name == "torch" or [*map(int, lowest[name].split("."))][:2] == [*map(int, f"{bound}.0".split("."))][:2]
        for versions in (lowest, pinned("constraints.txt")):
            assert requirement.specifier.contains(versions.get(name, bound)), name


def test_pre_commit_has_the_ruff_of_the_constraints() -> None:
    repositories = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())["repos"]
    ruff = next(repository for repository in repositories if repository["repo"].endswith("/ruff-pre-commit"))
    assert ruff["rev"] == f"v{pinned('constraints.txt')['ruff']}"
