"""Hydra reads config files through this project: each file is parsed once, and again if it has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

from src.cli.config_sources import register_config_sources


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the name of each file that Hydra parses is added."""
    names: list[str] = []
    load = OmegaConf.load

    def record(file: Any) -> Any:
        names.append(Path(file.name).name)
        return load(file)

    monkeypatch.setattr(OmegaConf, "load", record)
    return names


def compose(folder: Path, *overrides: str) -> dict[str, Any]:
    with hydra.initialize_config_dir(str(folder), version_base="1.3"):
        config: Any = OmegaConf.to_container(hydra.compose("main", list(overrides)))
    return config


def test_each_file_is_parsed_once_until_it_changes(tmp_path: Path, parsed: list[str]) -> None:
    (tmp_path / "head").mkdir()
    (tmp_path / "main.yaml").write_text("defaults: [{head: wide}, _self_]\nrate: 1\n")
    (tmp_path / "head" / "wide.yaml").write_text("kernel: 7\n")
    register_config_sources()
    assert compose(tmp_path, "rate=5") == {"head": {"kernel": 7}, "rate": 5}
    assert compose(tmp_path) == {"head": {"kernel": 7}, "rate": 1}  # the override is not kept
    own = [name for name in parsed if name in ("main.yaml", "wide.yaml")]
    assert sorted(own) == ["main.yaml", "wide.yaml"], (
        "Hydra no longer reads files through its registry of sources; see src/cli/config_sources.py"
    )
    (tmp_path / "head" / "wide.yaml").write_text("kernel: 11\n")
    assert compose(tmp_path) == {"head": {"kernel": 11}, "rate": 1}
