"""The report: its metrics against hand arithmetic, its page as a browser reads it, and broken folders."""

import base64
import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from src.reporting.report import report
from src.reporting.runs import Run
from src.system.errors import UserError
from tests.checkpoints import SHAPES, write_checkpoint
from tests.models.networks import composed

HEADS = {"vanilla": (4, 4, 4096), "largefov": (3, 12, 1024), "kernel4x4": (4, 8, 4096), "own": (5, 2, 64)}
PAGE_TAGS_WITHOUT_END = {"meta", "img", "br"}


def write_run(folder: Path, head: str, seed: int, miou: float, refined: float | None, **config: Any) -> Path:
    """Write the files of a training that the report reads; metrics are fractions."""
    (folder / "csv").mkdir(parents=True)
    kernel, rate, channels = HEADS[head]
    settings: dict[str, Any] = {
        "command": "train",
        "seed": seed,
        "head": {"_target_": "src.models.FCHead", "kernel": kernel, "rate": rate, "channels": channels},
        "dataset": {"_target_": "src.data.Shapes", "size": 60},
        "optimizer": {"lr": 0.1},
        "trainer": {"max_steps": 20, "default_root_dir": str(folder)},
        "paths": {"output_dir": str(folder)},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings | config))
    metrics = {"val/miou": miou, "val/iou/sky": miou, "val/iou/<tree>": None}
    metrics |= {} if refined is None else {"val/miou_crf": refined, "val/iou_crf/sky": refined}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    record = {
        "command": ["python -m src.train", f"head={head}", f"seed={seed}", "x=[a, b]"],
        "git_commit": "c0ffee" * 7,
    }
    (folder / "environment.json").write_text(json.dumps(record))
    (folder / "csv" / "metrics.csv").write_text("step,train/loss,val/miou\n9,1.5,\n9,,0.25\n19,0.5,0.5\n20,,0.9\n")
    return folder


def run(tmp_path: Path, runs: Any, *overrides: str) -> Path:
    output = tmp_path / "out"
    output.mkdir(exist_ok=True)
    listed = runs if isinstance(runs, str) else "[" + ",".join(map(str, runs)) + "]"
    return report(
        composed(f"runs={listed}", f"paths.output_dir={output}", f"evaluations={tmp_path}/evaluate", *overrides,
                 name="report")
    )  # fmt: skip


def table(page: Path) -> dict[str, dict[str, str]]:
    with (page.parent / "table.csv").open() as file:
        return {row["row"] or Path(row["folder"]).name: row for row in csv.DictReader(file)}


class Reader(HTMLParser):
    """Checks that every tag is closed in order, and collects addresses and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in PAGE_TAGS_WITHOUT_END:
            self.open.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    top = tmp_path / "sweep"
    write_run(top / "0", "vanilla", 0, 0.50, 0.54)
    write_run(top / "1", "vanilla", 1, 0.54, 0.60)
    write_run(top / "2", "largefov", 0, 0.60, 0.70)
    write_run(top / "3", "largefov", 1, 0.62, 0.66)
    write_run(top / "4", "kernel4x4", 0, 0.40, 0.44)
    write_run(top / "5", "own", 0, 0.30, None)
    return top


def test_figures_are_those_of_hand_arithmetic(sweep: Path, tmp_path: Path) -> None:
    page = run(tmp_path, str(sweep), "images=0")
    rows = table(page)
    assert list(rows) == ["vanilla", "kernel4x4", "largefov", "5x5, rate 2, 64"]
    expected = {
        # (50 + 54) / 2; |54 - 50| / sqrt 2; (60 + 62) / 2 = 61 and 61 - 52; 68 - 57
        "vanilla": (52, 2.828427, 57, 4.242641, 5, 0, 0),
        "largefov": (61, 1.414214, 68, 2.828427, 7, 9, 11),
        "kernel4x4": (40, None, 44, None, 4, -12, -13),
        "5x5, rate 2, 64": (30, None, None, None, None, -22, None),
    }
    columns = ("miou", "miou_std", "miou_crf", "miou_crf_std", "crf_gain", "delta_miou", "delta_miou_crf")
    for label, numbers in expected.items():
        for column, number in zip(columns, numbers, strict=True):
            cell = rows[label][column]
            assert (cell == "") if number is None else float(cell) == pytest.approx(number, abs=1e-5), (label, column)
    assert rows["largefov"]["seeds"] == "0 1"
    paper = {name: rows["largefov"][name] for name in rows["largefov"] if name.startswith("paper_")}
    assert (paper["paper_miou"], paper["paper_miou_crf"], paper["paper_test_crf"]) == ("62.25", "67.64", "70.3")
    assert (float(paper["paper_delta_miou"]), float(paper["paper_delta_miou_crf"])) == pytest.approx((2.45, 3.9))
    assert "Table 2" in paper["paper_source"]
    text = read(page).text
    for shown in ("61.0", "± 1.4", "68.0", "+11.0", "−13.0", "DeepLab-7x7", "no run", "c0ffeec0ffee"):
        assert shown in text
    # 57 < 68 and 44 < 68 as the paper; vanilla above kernel4x4 is the other way round
    assert "Of 3 pairs of heads" in text
    assert "vanilla above kernel4x4 (+13.0, paper −3.4)" in text
    assert "python -m src.train head=largefov seed=1 'x=[a, b]'" in text
    markdown = (page.parent / "table.md").read_text()
    assert "| largefov | 0 1 | 61.0 ± 1.4 | 68.0 ± 2.8 | +7.0 | +9.0 | +11.0 | 62.25 | 67.64 | +3.90 |" in markdown


def test_another_baseline(sweep: Path, tmp_path: Path) -> None:
    rows = table(run(tmp_path, str(sweep), "images=0", "baseline=largefov"))
    assert float(rows["vanilla"]["delta_miou_crf"]) == pytest.approx(57 - 68)
    assert float(rows["vanilla"]["paper_delta_miou_crf"]) == pytest.approx(63.74 - 67.64)
    with pytest.raises(UserError, match="baseline=largefv: no such row; the rows are vanilla, "):
        run(tmp_path, str(sweep), "images=0", "baseline=largefv")


def test_rows_of_one_head_say_what_differs_and_data_sets_are_kept_apart(tmp_path: Path) -> None:
    write_run(tmp_path / "s" / "a", "vanilla", 0, 0.5, 0.5)
    write_run(tmp_path / "s" / "b", "vanilla", 0, 0.6, 0.6, optimizer={"lr": 0.01})
    write_run(tmp_path / "s" / "c", "largefov", 0, 0.7, 0.7, dataset={"_target_": "src.data.CamVid"})
    page = run(tmp_path, str(tmp_path / "s"), "images=0")
    rows = table(page)
    assert set(rows) == {"vanilla, optimizer.lr 0.1", "vanilla, optimizer.lr 0.01", "largefov"}
    assert rows["largefov"]["data"] == "CamVid"
    assert float(rows["largefov"]["delta_miou"]) == 0  # no comparison across data sets
    assert "optimizer.lr" in read(page).text


def test_the_page_refers_to_nothing_outside_and_escapes_what_it_shows(sweep: Path, tmp_path: Path) -> None:
    page = run(tmp_path, str(sweep), "images=0")
    reader = read(page)
    source = page.read_text()
    assert all(address.startswith(("#", "data:")) for address in reader.addresses)
    assert not re.search(r"https?://|@import|url\(|<script|<link", source)
    assert "<tree>" not in source  # a class of that name
    assert "<tree>" in reader.text


def test_curves_end_with_the_run(sweep: Path, tmp_path: Path) -> None:
    """Steps 10 and 20 of 20. What is logged after the last step is of the best checkpoint, and not part of a curve."""
    source = run(tmp_path, str(sweep / "0"), "images=0").read_text()
    points = re.findall(r'points="([^"]+)"', source)
    assert len(points) == 2  # loss and mean IoU
    for line in points:
        assert [float(pair.split(",")[0]) for pair in line.split()] == [50, 100]


def test_broken_folders_are_named_and_not_fatal(sweep: Path, tmp_path: Path) -> None:
    for name in ("torn", "unfinished", "no_config", "no_miou", "words", "bare", "failed"):
        write_run(sweep / name, "vanilla", 7, 0.5, 0.5)
    (sweep / "torn" / "metrics.json").write_text('{"val/miou": 0.')
    (sweep / "unfinished" / "metrics.json").unlink()
    (sweep / "unfinished" / "csv" / "metrics.csv").write_text("step,train/loss\n9,1.5\n")
    (sweep / "no_config" / "config.yaml").write_text("head: [1, 2\n")
    (sweep / "no_miou" / "metrics.json").write_text("{}")
    (sweep / "words" / "metrics.json").write_text('{"val/miou": "good"}')
    (sweep / "bare" / "environment.json").unlink()
    (sweep / "bare" / "csv" / "metrics.csv").write_bytes(b"step,val/miou\n9,0.5\n19,0.\0x\n")
    (sweep / "failed" / "status.json").write_text('{"status": "failed", "error": "loss is <nan>"}')
    (sweep / "empty").mkdir()
    page = run(tmp_path, f"{sweep}/*", "images=0")
    rows, text = table(page), read(page).text
    for name, reason in {
        "torn": "metrics.json cannot be read",
        "unfinished": "no metrics: metrics.json is missing; the last step logged is 10 of 20",
        "no_config": "config.yaml cannot be read",
        "no_miou": "metrics.json holds no mean IoU",
        "words": "metrics.json holds a value that is not a number",
        "empty": "config.yaml is missing",
        "failed": "failed: loss is <nan>",
    }.items():
        assert reason in rows[name]["status"]
        assert f"{sweep / name}: {reason}" in text
    assert rows["vanilla"]["seeds"] == "0 1 7"  # the bare one has its figures
    assert "environment.json is missing; csv/metrics.csv: 1 line cannot be read" in text
    assert float(rows["vanilla"]["miou"]) == pytest.approx((50 + 54 + 50) / 3)


def test_the_same_run_twice_counts_once(sweep: Path, tmp_path: Path) -> None:
    write_run(sweep / "again", "kernel4x4", 0, 0.42, 0.46)
    rows = table(run(tmp_path, str(sweep), "images=0"))
    assert float(rows["kernel4x4"]["miou"]) == pytest.approx(42)
    assert "ran again in" in rows["4"]["status"]


def test_nothing_found_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"runs=.*/nowhere/\*: finds no folder"):
        run(tmp_path, f"{tmp_path}/nowhere/*")
    (tmp_path / "logs").mkdir()
    with pytest.raises(UserError, match="runs=GLOB is needed"):
        run(tmp_path, "null")


def test_trimap_curves_of_a_runs_evaluation(sweep: Path, tmp_path: Path) -> None:
    folder = tmp_path / "evaluate" / "one"
    folder.mkdir(parents=True)
    config = {"command": "evaluate", "ckpt": str(sweep / "2" / "checkpoints" / "best.ckpt"), "split": "val"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.json").write_text('{"val/miou": 0.6}')
    (folder / "trimap.csv").write_text(
        "width,miou,pixel_accuracy,miou_crf,pixel_accuracy_crf\n1,0.2,0.3,0.4,0.5\n2,0.3,,,\n"
    )
    page = run(tmp_path, str(sweep), "images=0")
    assert "largefov, with CRF" in page.read_text()
    assert str(folder) in read(page).text
    assert len(table(page)) == 4  # it does not get its own row


def test_images_under_every_run(tmp_path: Path) -> None:
    for index, head in enumerate(("vanilla", "largefov", "own")):
        folder = write_run(
            tmp_path / "s" / str(index), head, 0, 0.5, 0.5, crf={"w1": 4, "iterations": 1}, dataset=SHAPES
        )
        (folder / "checkpoints").mkdir()
        if head != "own":
            write_checkpoint(folder / "checkpoints" / "best.ckpt", dataset=SHAPES)
    reader = read(page := run(tmp_path, str(tmp_path / "s"), "images=2", "candidates=3"))
    pictures = [address for address in reader.addresses if address.startswith("data:image/")]
    assert len(pictures) == 2 * (2 + 2 * 2)  # best and worst: image, truth; raw and CRF of two runs
    for picture in pictures:
        assert base64.b64decode(picture.partition(",")[2])[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0")
    assert f"No pictures of 5x5, rate 2, 64: ckpt={tmp_path}" in reader.text
    scores = [float(s) for s in re.findall(r"mean IoU of this image over all rows: ([\d.]+)", page.read_text())]
    assert scores[0] >= scores[1]


def test_an_evaluation_by_itself_is_what_its_checkpoint_says(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt", dataset=SHAPES)
    folder = write_run(tmp_path / "s", "vanilla", 0, 0.5, 0.6, command="evaluate", ckpt=str(tmp_path / "net.ckpt"))
    (folder / "trimap.csv").write_text("width,miou,pixel_accuracy\n1,0.25,0.5\n2,0.5,0.75\n")
    page = run(tmp_path, str(folder), "images=0")
    assert list(table(page)) == ["3x3, rate 2, 32"]  # not those of the folder's config
    assert "mean IoU in the band, %" in read(page).text


def test_configs_as_they_are_composed_differ_in_nothing_but_the_seed() -> None:
    """Copies of the seed in a config must not put runs in different rows."""
    first, second, other = (
        Run(Path("run"), OmegaConf.to_container(composed(*overrides)))
        for overrides in (["seed=0"], ["seed=1"], ["seed=0", "optimizer.lr=0.5"])
    )
    assert first.settings == second.settings
    assert {key for key, value in other.settings.items() if first.settings[key] != value} == {"optimizer.lr"}


@pytest.mark.parametrize(
    "overrides",
    [
        ["callbacks.pictures.count=2"],
        ["callbacks.crf.workers=1", "callbacks.crf.every_n_validations=2"],
        ["data.num_workers=0", "trainer=cpu", "logger=none"],
        ["crf.engine=torch", "paths.log_dir=elsewhere", "name=mine", "~callbacks.rates"],
    ],
)
def test_what_decides_no_figure_does_not_split_a_row(overrides: list[str]) -> None:
    assert settings(*overrides) == settings()


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("callbacks=ema", "callbacks.weight_averaging.avg_fn.decay"),
        ("callbacks.crf.first_n=5", "callbacks.crf.first_n"),
        ("callbacks.best.monitor=val/miou_crf", "callbacks.best.monitor"),
        ("trainer.max_steps=7", "trainer.max_steps"),
        ("trainer.precision=16-mixed", "trainer.precision"),
        ("crf.w1=7", "crf.w1"),
        ("data.batch_size=4", "data.batch_size"),
        ("model.frozen_norm=true", "model.frozen_norm"),
        ("init_from=best.ckpt", "init_from"),
        ("augmentation.mirror=false", "augmentation.mirror"),
        ("+trainer.gradient_clip_val=1", "trainer.gradient_clip_val"),
    ],
)
def test_what_decides_figures_is_a_row_of_its_own(override: str, key: str) -> None:
    usual, changed = settings(), settings(override)
    assert key in {key for key in usual | changed if usual.get(key, "none") != changed.get(key, "none")}


def settings(*overrides: str) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(composed(*overrides))
    return Run(Path("run"), config).settings
