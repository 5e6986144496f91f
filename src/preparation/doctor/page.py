"""The page of ``python -m src.doctor``: what this machine has, and what to do about what is missing."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Sequence

from src import __version__
from src.preparation.doctor import folders, machine, versions
from src.preparation.doctor.finding import Finding, hide_private, reason
from src.preparation.doctor.probes import Probe
from src.system.errors import printable

MARK = "!"  # begins the lines that need a remedy
WIDTH = 118
KEYS = {"paths.log_dir": "logs", "paths.data_dir": os.environ.get("DEEPLAB_DATA", "data")}  # as conf/paths has them
USAGE = " ".join(f"{key}=FOLDER" for key in KEYS)


def main() -> None:
    """Print the page; the exit status is 0, or 2 if an argument is wrong."""
    arguments = sys.argv[1:]
    if "--version" in arguments:
        print(f"deeplab {__version__}")
        return
    if {"--help", "-h"} & set(arguments):
        print(make_help())
        return
    chosen = dict(argument.partition("=")[::2] for argument in arguments)
    if unknown := [argument for argument in arguments if argument.partition("=")[0] not in KEYS or "=" not in argument]:
        print(f"error: {printable(unknown[0])}: the doctor takes {USAGE} only", file=sys.stderr)
        sys.exit(2)
    try:
        print(make_page({**KEYS, **chosen}).encode("ascii", "backslashreplace").decode())
        sys.stdout.flush()
    except BrokenPipeError:  # of a reader that has seen enough, such as head
        drop_output()
    except OSError as error:
        drop_output()
        print(f"error: standard output: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def drop_output() -> None:
    """Let the flush at the exit not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_help() -> str:
    """Return what --help prints; without the packages that it is made with, the arguments only."""
    try:
        from src.cli.help_page import MORE, help_page

        return help_page("doctor").removesuffix(MORE).rstrip()
    except ImportError:
        return f"Usage: python -m src.doctor {USAGE}"


def make_page(paths: dict[str, str]) -> str:
    """Return the page as a text.

    Args:
        paths: ``paths.log_dir`` and ``paths.data_dir``.
    """
    torch, engine, libraries = Probe("torch"), Probe("engine"), Probe("libraries")  # they run beside each other
    parts: dict[str, Callable[[], Sequence[Finding]]] = {
        "Versions": lambda: versions.examine(torch, libraries),
        "Processor": lambda: machine.examine_processor(torch),
        "GPU": lambda: machine.examine_gpu(torch),
        "Dense CRF": lambda: machine.examine_engine(engine),
        "Memory": machine.examine_memory,
        "Folders": lambda: folders.examine(paths["paths.log_dir"], paths["paths.data_dir"]),
        "Weights & Biases": versions.examine_wandb,
        "Environment": machine.examine_environment,
    }
    lines, marks = [], 0
    for title, part in parts.items():
        findings = examine(part)
        marks += sum(bool(finding.remedy) for finding in findings)
        lines += ["", title, *(line for finding in findings for line in layout(finding))]
    count = f"{marks} line{'s' if marks > 1 else ''} with {MARK}" if marks else f"No line with {MARK}"
    return "\n".join([f"deeplab doctor. {count}: {'see there what to do' if marks else 'nothing to do'}.", *lines])


def examine(part: Callable[[], Sequence[Finding]]) -> Sequence[Finding]:
    """Return the findings of a part; what goes wrong in it is a finding too."""
    try:
        return part()
    except Exception as error:
        return [Finding("not examined", reason(error), "please report this line")]


def layout(finding: Finding) -> list[str]:
    """Return the lines of a finding: mark, name, what was found and the remedy, without what is private."""
    text = f"{finding.found}; {finding.remedy}" if finding.remedy else finding.found
    head = f"{MARK if finding.remedy else ' '} {finding.name:<17} "
    text = printable(hide_private(text))
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
    ) or [head.rstrip()]
