"""The private names of other libraries that this project imports exist, and do what it relies on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests.conftest import REPO


def private_imports() -> Iterator[tuple[str, str, str]]:
    """Yield (file, module, name) of each import in src/ of a private name, or from a private module, of a library."""
    for path in sorted((REPO / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("src."):
                for name in [alias.name for alias in node.names]:
                    if "._" in f"{node.module}.{name}":
                        yield str(path.relative_to(REPO)), node.module, name


@pytest.mark.parametrize(("file", "module", "name"), list(private_imports()))
def test_a_private_name_exists(file: str, module: str, name: str) -> None:
    try:
        exists = hasattr(import_module(module), name)
    except ImportError:
        exists = False
    assert exists, f"{module.partition('.')[0]} has changed: {module}.{name} is gone; look at {file}"


def test_the_private_names_are_found() -> None:
    found = {f"{module}.{name}" for _, module, name in private_imports()}
    assert found >= {"hydra._internal.utils.get_args_parser", "torch._compile._disable_dynamo"}


def test_hydras_parser_separates_overrides_from_unknown_options() -> None:
    from hydra._internal.utils import get_args_parser

    known, unknown = get_args_parser().parse_known_args(["-m", "seed=0,1", "--cfg", "job", "--max_steps"])
    changed = "Hydra's parser has changed: look at src/cli/arguments.py"
    assert (known.multirun, known.overrides, known.cfg) == (True, ["seed=0,1"], "job"), changed
    assert unknown == ["--max_steps"], changed
