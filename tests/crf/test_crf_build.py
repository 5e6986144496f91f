"""The compiled engine is optional: without a compiler the build succeeds and prints one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from src.crf import DenseCRF

ROOT = Path(__file__).resolve().parents[2]


def test_the_build_succeeds_without_a_compiler(tmp_path):
    pytest.importorskip("setuptools")
    shutil.copy(ROOT / "setup.py", tmp_path)
    shutil.copytree(ROOT / "src" / "crf" / "native", tmp_path / "src" / "crf" / "native")
    environment = {**os.environ, "CC": "no-such-compiler", "CXX": "no-such-compiler", "LDCXXSHARED": "no-such-compiler"}
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "native engine not built" in done.stderr
    assert "the torch engine is used instead" in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "crf").glob("[!_]*.yaml")), ids=lambda path: path.stem)
def test_every_preset_mirrors_the_constructor(path):
    assert path.read_text().startswith("#")
    with hydra.initialize_config_dir(str(path.parent), version_base="1.3"):
        config = OmegaConf.to_container(hydra.compose(path.stem))
    assert isinstance(config, dict)
    if path.stem == "none":
        assert not config
        return
    assert config.pop("_target_") == "src.crf.DenseCRF"
    names = DenseCRF.__init__.__code__.co_varnames[1 : DenseCRF.__init__.__code__.co_argcount]
    assert tuple(config) == names
    DenseCRF(**config)
