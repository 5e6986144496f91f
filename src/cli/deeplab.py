"""The ``deeplab`` command: ``deeplab train head=largefov`` is ``python -m src.train head=largefov``."""

import ast
import os
import runpy
import sys

from src import __version__
from src.cli.conf_folder import PACKAGE, commands
from src.system.suggestions import did_you_mean


def main() -> None:
    """Run the command named by the first argument; exit with status 2 if it does not exist."""
    name, *overrides = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h"):
        print(overview())
    elif name == "--version":
        print(f"deeplab {__version__}")
    elif name in (names := commands()):
        sys.argv[1:] = overrides
        try:
            folder = os.getcwd()
        except FileNotFoundError:
            print("error: the working folder was deleted; cd to another folder", file=sys.stderr)
            sys.exit(2)
        sys.path.insert(0, folder)  # as python -m does: a _target_ may be in the working directory
        runpy.run_module(f"src.{name}", run_name="__main__", alter_sys=True)
    else:
        print(
            f"error: {name}: no such command.{did_you_mean(name, names)} Commands: {', '.join(names)}", file=sys.stderr
        )
        sys.exit(2)


def overview() -> str:
    """Return what ``deeplab --help`` prints."""
    width = max(map(len, commands()))
    lines = [f"  {name:<{width}}  {summary(name)}" for name in commands()]
    return "\n".join(
        [
            "DeepLab V1 by configuration.",
            "",
            "Usage: deeplab COMMAND [GROUP=CHOICE ...] [KEY=VALUE ...]",
            "",
            *lines,
            "",
            "deeplab COMMAND --help lists the groups, choices and keys of a command.",
            "deeplab COMMAND is the same as python -m src.COMMAND. deeplab --version prints the version.",
        ]
    )


def summary(name: str) -> str:
    """Return the first docstring line of a command's module, read without importing it, which would be slow."""
    docstring = ast.get_docstring(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return docstring.split(": python -m")[0]


if __name__ == "__main__":
    main()
