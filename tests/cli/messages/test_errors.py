"""The remedies in error messages work."""

import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from src.cli.compose import compose
from src.cli.messages.errors import explain
from src.cli.messages.overrides import quote_value
from src.system.errors import UserError


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("dataset.classes=[фон,кошка]", ["фон", "кошка"]),
        ("dataset.classes=[背景, 猫 (大)]", ["背景", "猫 (大)"]),
        ("dataset.classes=[a,b,]", ["a", "b"]),
        ("dataset.root=/数据 集/plain", "/数据 集/plain"),
        ("dataset.root=~/data", "~/data"),
        ("input=photos(1)", "photos(1)"),
    ],
)
def test_the_suggested_quotes_give_the_intended_value(override: str, meant: object) -> None:
    (argument,) = shlex.split(quote_value(override))
    (parsed,) = OverridesParser.create().parse_overrides([argument])
    assert (parsed.key_or_group, parsed.value()) == (override.partition("=")[0], meant)


@pytest.mark.parametrize(("override", "has_no_end"), [("name=[a,", True), ("name=a]", False)])
def test_only_a_list_without_an_end_is_called_so(override: str, has_no_end: bool) -> None:
    with pytest.raises(OverrideParseException) as refusal:
        OverridesParser.create().parse_overrides([override])
    assert ("the list has no end" in explain(refusal.value, "train", [override])) == has_no_end


def test_a_mapping_where_a_list_should_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^dataset\.classes: must be a list, in brackets: 'dataset\.classes=\[a,b\]'$"):
        compose("train", "dataset=folder", "dataset.classes={ground: 0, thing: 1}", output_dir=tmp_path)


def test_a_list_where_a_mapping_should_be(tmp_path: Path) -> None:
    line = r"^dataset\.samples: must be a mapping, in braces: 'dataset\.samples=\{a: b\}'$"
    with pytest.raises(UserError, match=line):
        compose("train", "dataset.samples=[1,2]", output_dir=tmp_path)


@pytest.mark.parametrize("error", [UserError(), HydraException(""), OmegaConfBaseException(" \n")])
def test_an_error_without_a_message_gives_its_type(error: Exception) -> None:
    line = explain(error, "report", [])
    assert line == f"{type(error).__name__} without a message (HYDRA_FULL_ERROR=1 prints the traceback)"


@pytest.mark.parametrize("others", [[], ["size=33"], ["head=vanilla", "loss=ohem"]])
def test_a_group_that_belongs_to_other_commands_is_no_key(tmp_path: Path, others: list[str]) -> None:
    with pytest.raises(UserError, match=r"^(crf|loss): not a group of describe; .* Top level has: .*backbone.*head"):
        compose("describe", *others, "crf=none", output_dir=tmp_path)
    with pytest.raises(UserError, match=r"^crf: not a group of describe; evaluate, .* and tune_crf have it"):
        compose("describe", "~crf", output_dir=tmp_path)


def test_a_sure_suggestion_is_not_followed_by_a_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^batch_size: no such key\. Did you mean data\.batch_size\?$"):
        compose("train", "batch_size=16", output_dir=tmp_path)


def test_a_choice_like_no_other_may_be_defined(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^dataset=mine: .*, voc12_aug; conf/dataset/mine\.yaml in this folder would "):
        compose("train", "dataset=mine", output_dir=tmp_path)
    with pytest.raises(UserError, match=r"Did you mean largefov\? head may be: .*, vanilla$"):
        compose("train", "head=largefv", output_dir=tmp_path)


def test_the_token_of_an_unquoted_address_is_not_repeated() -> None:
    override = "ckpt=http://ann:secret@host/net.ckpt?token=secret"
    with pytest.raises(OverrideParseException) as error:
        OverridesParser.create().parse_overrides([override])
    line = explain(error.value, "predict", [override])
    assert line.startswith("ckpt=http://host/net.ckpt: not KEY=VALUE as Hydra reads it")
    assert line.endswith("""quote values with special characters: 'KEY="VALUE"'""")
    assert "secret" not in line


@pytest.mark.parametrize("key", ["ckpt", "init_from"])
def test_a_folder_without_a_network_is_no_missing_file(key: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=rf"^{key}=.*empty: a folder that holds no model\.safetensors; give"):
        compose("train" if key == "init_from" else "predict", f"{key}={tmp_path}/empty", output_dir=tmp_path)


def test_a_broken_choice_does_not_hide_an_unknown_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf/head").mkdir(parents=True)
    (tmp_path / "conf/head/broken.yaml").write_text("kernel: [")
    monkeypatch.setattr("src.cli.conf_folder.USER_CONF", tmp_path / "conf")
    with pytest.raises(UserError, match=r"^head\.foobar: no such key with head=largefov\. head has: "):
        compose("train", "head.foobar=3", output_dir=tmp_path)


def test_keys_of_a_group_without_any(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^crf\.srgb: no such key with crf=none; crf=.*deeplab.* has it$"):
        compose("train", "crf.srgb=3", "crf=none", output_dir=tmp_path)
    with pytest.raises(UserError, match=r"^crf\.srgbb: .* with crf=none, which has no keys; choose another crf$"):
        compose("train", "crf.srgbb=3", "crf=none", output_dir=tmp_path)


@pytest.mark.parametrize(("name", "meant"), [("labelz", "labels"), ("lables", "labels"), ("score", "scores")])
def test_one_wrong_letter_of_a_short_form_is_a_misspelling(name: str, meant: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^output={name}: Did you mean {meant}?"):
        compose("export", "ckpt=camvid_slim", f"output={name}", output_dir=tmp_path)


@pytest.mark.parametrize("overrides", [["output=labelling"], ["output=label", "format=hub"]])
def test_a_name_like_a_short_form_is_a_file(overrides: list[str], tmp_path: Path) -> None:
    config = compose("export", "ckpt=camvid_slim", *overrides, output_dir=tmp_path)
    assert Path(config.output).name == overrides[0].partition("=")[2]
