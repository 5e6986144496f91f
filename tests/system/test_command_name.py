"""Commands are named in messages as the user types them."""

import sys

import pytest

from src.cli.help_page import help_page
from src.system.command_name import as_typed


@pytest.mark.parametrize(
    ("orig_argv", "expected"),
    [
        (["python", "/venv/bin/deeplab", "train", "seed=1"], "deeplab prepare"),
        (["python", "-m", "src.train", "name=deeplab"], "python -m src.prepare"),
        (["python", "-m", "pytest"], "python -m src.prepare"),
    ],
)
def test_commands_are_named_as_the_user_types_them(
    orig_argv: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert as_typed("prepare") == expected
    page = help_page("prepare")
    assert f"Usage: {expected} [" in page
    assert f"{expected} dataset=camvid verify=true" in page
    assert page.count("python -m") in (0, page.count(expected))
