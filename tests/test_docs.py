"""The documentation is correct: its commands compose, its links have targets, and its names exist."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import shlex
from collections.abc import Callable, Iterator, Set
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import dropwhile
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from matplotlib.figure import Figure

from src.cli.config.structure import check_structure
from src.cli.config.values import check_values
from src.system.errors import UserError
from tests.commands import run_command
from tests.conftest import REPO
from tests.models.networks import composed, decides_composition

CONF = REPO / "conf"
COMMANDS = {path.stem for path in CONF.glob("*.yaml")}
GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()} - {"hydra", "paths", "release"}
PAGES = {
    str(path.relative_to(REPO)): path.read_text()
    for path in sorted([*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")])
    if "_build" not in path.parts
}

FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LINK_TO_CODE = re.compile(r"\[`([^`\]]+)`\]\(([^)\s]+\.py)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ROW = re.compile(r"^\| (.+) \|$", re.MULTILINE)
DIRECTIVE = re.compile(r"^\.\. auto\w+:: (\S+)$", re.MULTILINE)

OTHER_PROGRAMS = {"pip", "python3", "source", "jupyter", "pytest", ".venv/bin/pip"}  # that the pages call
CHOICES_OF_YOURS = {
    "dataset=mine": "dataset=folder",
    "crf=mine": "crf=deeplab",
    "experiment=mine": "experiment=camvid_slim",
}


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (page, content) of every fenced block of a language."""
    return [(page, body) for page, text in PAGES.items() for name, body in FENCE.findall(text) if name == language]


def shell_lines() -> list[str]:
    """Every command of the pages: the lines of shell blocks, and code within sentences that calls our programs."""
    # tests/test_extending.py has the commands of the recipes, which need the new parts
    pages = {page: text for page, text in PAGES.items() if not page.startswith("docs/extending/")}
    lines = [line for page, body in blocks("sh") if page in pages for line in body.replace("\\\n", " ").splitlines()]
    for text in pages.values():
        spans = CODE_SPAN.findall(FENCE.sub("", text))
        lines += [
            span
            for span in spans
            if re.match(r"(make|deeplab|python -m) [a-z]", span) and not re.search("COMMAND|CHOICE", span)
        ]
    return sorted({line.partition(" #")[0].strip() for line in lines} - {""})


def words_of(line: str) -> list[str]:
    """Return the words of a command without comments, and without what precedes the program."""
    words = shlex.split(line, comments=True)
    if words[:1] not in (["srun"], ["torchrun"]):
        return words
    program = list(dropwhile(lambda word: word.startswith("--"), words[1:]))
    return program if words[0] == "srun" else ["python", *program]


def is_ours(words: list[str]) -> bool:
    return words[0] == "deeplab" or (words[:2] == ["python", "-m"] and words[2] in {f"src.{c}" for c in COMMANDS})


OURS = {" ".join(words): line for line in shell_lines() if (words := words_of(line)) and is_ours(words)}


def first_job(overrides: list[str]) -> Iterator[str]:
    """Yield the overrides of a multirun's first job: the first of several values, the beginning of an interval."""
    for override in OverridesParser.create().parse_overrides(overrides):
        if override.is_interval_sweep():
            yield f"{override.key_or_group}={override.value().start}"
        elif override.is_choice_sweep():
            yield f"{override.key_or_group}={next(override.sweep_string_iterator())}"
        else:
            yield override.input_line


def check_command(line: str, folder: Path) -> None:
    """Compose the config of one of our commands and check it, as the command itself does.

    Raises:
        HydraException, UserError: if the command would refuse it.
    """
    words = words_of(line)
    command, rest = (words[1], words[2:]) if words[0] == "deeplab" else (words[2].removeprefix("src."), words[3:])
    overrides = [CHOICES_OF_YOURS.get(word, word) for word in rest if not word.startswith("-") and word != "job"]
    checkpoint = folder / "best.ckpt"
    checkpoint.touch()
    overrides = [re.sub("^(ckpt|init_from)=.*", rf"\1={checkpoint}", override) for override in first_job(overrides)]
    config = composed(f"paths.output_dir={folder}", *overrides, name=command, resolve=False)
    defaults = composed(*filter(decides_composition, overrides), name=command, resolve=False)
    check_structure(config, defaults, overrides)
    check_values(config, defaults, overrides)


@pytest.mark.parametrize("line", OURS.values())
def test_command_composes(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)
    check_command(line, tmp_path)


@pytest.mark.parametrize(
    "line", ["deeplab train optimizer.lrr=0.1", "deeplab train head=largefv", "python -m src.evaluate ckpt=a trimap=0"]
)
def test_wrong_command_is_found(line: str, tmp_path: Path) -> None:
    with pytest.raises((HydraException, UserError)):
        check_command(line, tmp_path)


def test_there_are_commands_to_check() -> None:
    assert {line.split()[1] for line in OURS if line.startswith("deeplab")} == COMMANDS


def test_other_commands_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    for line in shell_lines():
        words = words_of(line)
        if is_ours(words):
            continue
        if words[0] == "make":
            assert words[1] in targets, line
        elif words[:2] == ["python", "-m"]:
            assert find_spec(words[2]), line
        elif words[0] == "python":
            assert (REPO / words[1]).is_file(), line
        else:
            assert words[0] in OTHER_PROGRAMS, line


def test_command_runs(tmp_path: Path) -> None:
    done = run_command("describe", "backbone=slim", "measure=false", f"paths.log_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "receptive field" in done.stdout


def test_every_choice_is_in_one_table() -> None:
    """The table is on a page in docs/, with a row for each choice; groups without one are in the README's table."""
    rows = [row.split(" | ") for row in ROW.findall(PAGES["README.md"])]
    readme = {row[0].strip("`"): set(CODE_SPAN.findall(row[2])) for row in rows if len(row) == 3 and row[0][0] == "`"}
    tables = tables_of_groups()
    assert readme.keys() == GROUPS
    assert len(tables) >= 6
    for group in GROUPS:
        assert tables.get(group, readme[group]) == choices(group), f"conf/{group}: a row is missing, or one too many"
        assert readme[group] <= choices(group), group


def tables_of_groups() -> dict[str, set[str]]:
    """Return the first column of every table in docs/ whose heading is a group."""
    tables = {}
    for page in PAGES.keys() - {"README.md"}:
        for table in re.findall(r"(?:^\|.*\n)+", PAGES[page], re.MULTILINE):
            header, *rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
            if (group := header[0].strip("`")) in GROUPS and header[0] != group:
                tables[group] = {name for row in rows for name in CODE_SPAN.findall(row[0])}
    return tables


def choices(group: str) -> set[str]:
    return {path.stem for path in (CONF / group).glob("[!_]*.yaml")}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in LINK.findall(FENCE.sub("", PAGES[page])):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (REPO / page).parent / path if path else REPO / page
        assert file.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(file), f"{page}: {target}"


def test_links_to_code_name_what_the_file_defines() -> None:
    """The text of a link to a Python file is the file's name, or a name that the file defines."""
    links = [(page, *link) for page, text in PAGES.items() for link in LINK_TO_CODE.findall(FENCE.sub("", text))]
    assert len(links) > 50
    for page, text, target in links:
        file = (REPO / page).parent / target
        assert text == file.name or text in definitions(file), f"{page}: {text} is not in {target}"


@cache
def definitions(file: Path) -> set[str]:
    """Return the functions, classes, methods (CLASS.METHOD) and variables that a module defines."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            names |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    return names


@cache
def anchors(file: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub and MyST make them."""
    headings = HEADING.findall(FENCE.sub("", file.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {"docs/index"}
    for page in [page for page in PAGES if page.endswith("/index.md")]:
        for toctree in re.findall(r"^```\{toctree\}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL):
            names = [line for line in toctree.splitlines() if line and not line.startswith(":")]
            listed |= {f"{Path(page).parent}/{name}" for name in names}
    assert listed == {page.removesuffix(".md") for page in PAGES if page.startswith("docs/")}


def test_every_picture_is_shown() -> None:
    shown = {Path(target).name for text in PAGES.values() for target in LINK.findall(text)}
    assert {path.name for path in (REPO / "docs" / "images").iterdir()} <= shown


def test_readme_is_one_screen() -> None:
    assert len(PAGES["README.md"].encode()) <= 10_000


@pytest.mark.parametrize("name", [name for text in PAGES.values() for name in DIRECTIVE.findall(text)])
def test_reference_names_what_exists(name: str) -> None:
    assert resolved(name).__doc__


def resolved(name: str) -> object:
    """Return a module or one of its members, by its dotted name."""
    module, _, attribute = name.rpartition(".")
    found = getattr(import_module(module), attribute, None)
    return import_module(name) if found is None else found


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_python_imports_and_calls_what_exists(page: str, code: str) -> None:
    tree = ast.parse(code)
    imported = {
        alias.name: resolved(f"{node.module}.{alias.name}")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("src.")
        for alias in node.names
    }
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and call.keywords and getattr(call.func, "id", None) in imported:
            known = inspect.signature(imported[call.func.id]).parameters
            assert {keyword.arg for keyword in call.keywords} <= set(known), ast.unparse(call)


def test_error_lines_are_those_of_the_code() -> None:
    """The text between the dots of an error line in docs/troubleshooting.md occurs in a message of the code."""
    lines = re.findall(r"^`(.+)`\n: ", PAGES["docs/troubleshooting.md"], re.MULTILINE)
    assert len(lines) > 20
    known = "\n".join(messages())
    for line in lines:
        parts = [re.escape(part.strip()) for part in line.split("...") if part.strip()]
        assert re.search(r"[^\n]*".join(parts), known), line


def messages() -> Iterator[str]:
    """Every text of the code, with dots where a value is filled in."""
    for path in sorted((REPO / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "..." for part in node.values]
                yield "".join(map(str, parts)).replace("\n", " ")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value.replace("\n", " ")


SLOW_FIGURES = {"crf_parameters.png"}  # 24 refinements


def test_figures_are_drawn() -> None:
    check_figures(figures().keys() - SLOW_FIGURES)


@pytest.mark.slow
def test_slow_figures_are_drawn() -> None:
    check_figures(SLOW_FIGURES)


def figures() -> dict[str, Callable[[], Figure]]:
    """What docs/figures.py draws, by name of the file."""
    return runpy.run_path(str(REPO / "docs" / "figures.py"))["FIGURES"]


def check_figures(names: Set[str]) -> None:
    """Draw figures; each must exist in docs/images and have panels."""
    draw = figures()
    for name in sorted(names):
        assert (REPO / "docs" / "images" / name).is_file()
        figure = draw[name]()
        assert figure.axes
        plt.close(figure)
