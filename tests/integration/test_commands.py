"""The command line as a beginner meets it."""

import os
import subprocess
import sys

import pytest
import yaml

from src.cli.compose import compose
from src.system.errors import UserError
from tests.cli.test_conf import COMMANDS, groups
from tests.commands import run_command
from tests.conftest import REPO


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_keys_groups_and_choices(command):
    done = run_command(command, "--help")
    page = done.stdout
    assert done.stderr == ""
    assert f"python -m src.{command}" in page
    assert max(map(len, page.splitlines())) <= 120
    for group in groups(command):
        for path in (REPO / "conf" / group).glob("[!_]*.yaml"):
            assert f" {path.stem}" in page
    assert "_base" not in page  # a base of choices is not a choice
    config = yaml.safe_load((REPO / "conf" / f"{command}.yaml").read_text())
    for key in set(config) - {"defaults", "command", "hydra"}:
        assert isinstance(config[key], dict) or f"{key}=" in page


def test_help_and_config_errors_load_nothing_heavy():
    script = (
        "import os, runpy, sys\n"
        "heavy = {'torch', 'lightning', 'albumentations', 'wandb', 'matplotlib', 'onnx'}\n"
        "for command in sys.argv[1:]:\n"
        "    for argument, status in (('--help', 0), ('absent=1', 2)):\n"
        "        sys.argv = [command, argument]\n"
        "        os.environ.pop('HYDRA_FULL_ERROR', None)  # which the command before has set\n"
        "        try:\n"
        "            runpy.run_module(f'src.{command}', run_name='__main__')\n"
        "        except SystemExit as end:\n"
        "            assert end.code == status, (command, argument, end.code)\n"
        "    print('loaded by', command, sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *COMMANDS], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("loaded by")] == [
        f"loaded by {command} []" for command in COMMANDS
    ]


@pytest.mark.parametrize(
    ("command", "override", "said"),
    [
        (
            "train",
            "inference=windows",
            "inference: not a group of train; evaluate, playground, predict and tune_crf have it.",
        ),
        (
            "train",
            "inference.window=3",
            "inference.window: not a group of train; evaluate, ",
        ),
        ("predict", "search=grid", "search: not a group of predict; tune_crf has it."),
        ("train", "verify=true", "verify: not a key of train; prepare has it."),
        ("evaluate", "ckptt=x", "ckptt: no such key. Did you mean ckpt? Top level has: archive, "),
        ("evaluate", "ckpt=/nowhere/best.ckpt", "ckpt=/nowhere/best.ckpt: no such file; give the best.ckpt or"),
        ("export", "ckpt=last", "ckpt=last: no run below"),
        ("evaluate", "inference=multiscale", "no such choice. Did you mean multi_scale?"),
        ("evaluate", "trimap=wide", "trimap takes a number"),
        ("evaluate", "split=validation", "split=validation: split takes train, val or test"),
        ("evaluate", "trimap=0", "trimap=0: trimap takes a whole number from 1 to 1024"),
        ("predict", "masks=1", "masks=1: masks takes true or false, such as masks=true"),
        ("prepare", "splits=val", "splits=val: splits takes a list of train, val, test"),
        ("report", "runs=3", "runs=3: runs takes a string, or a list of strings"),
        ("describe", "size=0", "size=0: size takes a whole number, 1 or more"),
        ("prepare", "workers=null", "workers=null: workers takes auto, or a whole number, 0 or more"),
        ("tune_crf", "workers=auto", "workers=auto: workers takes null, or a whole number, 1 or more"),
        ("tune_crf", "images=0", "images=0: images takes a whole number, 1 or more"),
        ("export", "output=3", "output=3: output takes null, or a string; quote a value that looks like a number"),
        ("tune_crf", "grid=3", "grid=3: grid is a group of keys: w1, sxy, srgb, w2, sg"),
        ("predict", "inptu=x", "inptu: no such key. Did you mean input?"),
        ("predict", "overwrite=perhaps", "overwrite takes true or false, such as overwrite=true"),
        ("predict", "masks=off", "masks=off: masks takes true or false, such as masks=false"),
        ("prepare", "verify=yes", "verify=yes: verify takes true or false, such as verify=true"),
        ("predict", "ckpt=camvid_slm", "ckpt=camvid_slm: no such file. Did you mean camvid_slim? Give the best.ckpt"),
        ("predict", "ckpt=lst", "ckpt=lst: no such file. Did you mean last? Give the best.ckpt"),
        (
            "train",
            "init_from=camvid_slm",
            "init_from=camvid_slm: no such file. Did you mean camvid_slim? Give the checkpoint of a trained network",
        ),
        ("train", "hydra/launcher=absent", 'is not installed: pip install "deeplab-v1[sweep]"'),
        ("export", "fromat=onnx", "fromat: no such key. Did you mean format?"),
        ("report", "rnus=x", "rnus: no such key. Did you mean runs?"),
        ("train", "head=largefv", "head=largefv: no such choice. Did you mean largefov? head may be: "),
        ("train", "dataset=mine", "voc12_aug; conf/dataset/mine.yaml in this folder would define it"),
        ("predict", "accelerator=abacus", "accelerator=abacus: accelerator takes auto, cpu, gpu, cuda or mps"),
        ("train", "haed=largefov", "haed: no such key. Did you mean head?"),
        ("train", "lr=0.1", "lr: no such key. Did you mean optimizer.lr?"),
        ("train", "epochs=3", "epochs: no such key. Did you mean trainer.max_epochs?"),
        ("train", "exp=overfit", "exp: no such key. Did you mean experiment?"),
        ("train", "dataset=/my/data", "no such choice; for a folder of your own: dataset=folder dataset.root=/my/data"),
        (
            "train",
            "dataset.root=x",
            "dataset.root: no such key with dataset=shapes; dataset=ade20k|camvid|cityscapes|folder|voc12|voc12_aug h",
        ),
        ("train", "+dataset=folder", "dataset is already chosen: remove the +"),
        ("train", "head largefov", "head largefov: not KEY=VALUE; write KEY=VALUE or GROUP=CHOICE"),
        ("train", "optimizer.lrr=1", "optimizer.lrr: no such key. Did you mean lr? optimizer has: "),
        ("train", "experiment=camvid_slm", "experiment=camvid_slm: no such choice. Did you mean camvid_slim?"),
        ("train", "trainer.max_steps=many", "trainer.max_steps=many: trainer.max_steps takes a number, such as"),
        ("train", "augmentation.mirror=perhaps", "augmentation.mirror takes true or false"),
        ("train", "optimizer.lr", "optimizer.lr: not KEY=VALUE"),
        (
            "train",
            "callbacks=[ema,swa]",
            "ema and swa exclude each other, because both set callbacks.weight_averaging",
        ),
        ("train", "head=[vanilla,msc]", "head takes one choice; for one run with each, write -m head=vanilla,msc"),
        ("train", "callbacks=ema,swa", "with each, or brackets, for a list: 'callbacks=[a,b]'"),
        ("train", "init_from=last", "init_from=last: no run below"),
        ("train", "init_from=lst", "init_from=lst: no such file. Did you mean last?"),
        (
            "train",
            "experiment=voc12_msc",
            "init_from=CKPT is needed: best.ckpt of the first stage, a run of experiment=voc12_vanilla",
        ),
        ("train", "init_from=hf://a", "init_from=hf://a: names no repository; write hf://OWNER/NAME"),
        ("predict", "ckpt=ftq://a/b", "ckpt=ftq://a/b: no such protocol; write https://HOST/FILE, s3://BUCKET/FILE or"),
        (
            "export",
            "output=labelz",
            "output=labelz: Did you mean labels? For a file of this name, write output=./",
        ),
        ("train", "head=vanilla,largefov", "head: several values need -m, for one run with each"),
        ("train", "logger=csv,wandb", "with each, or brackets, for a list: 'logger=[a,b]'"),
        (
            "train",
            "dataset.classes=[a,",
            "the list has no end; quote a list that contains spaces: 'dataset.cl",
        ),
        (
            "predict",
            "photo.png",
            "KEY=VALUE; write KEY=VALUE or GROUP=CHOICE, such as ckpt=VALUE or input=",
        ),
        ("predict", "input=", "input='': input takes no empty value"),
        (
            "train",
            "trainer.precision=16bit",
            "trainer.precision takes auto, 32-true, bf16-mixed",
        ),
        ("train", "hed=vanilla,largefov", "hed: no such key. Did you mean head?"),
        ("train", "head.rate=abc", "head.rate=abc: head.rate takes a number, such as head.rate=12"),
        ("train", "seed=nan", "seed=nan: must be a finite number"),
        ("train", "backbone.convs.a=3", "backbone.convs.a: backbone.convs is a list; its indices are 0 to "),
        ("train", "seed=1.5", "seed=1.5: seed takes a whole number from 0 to 4294967295"),
        ("train", "ckpt=3", "ckpt=3: ckpt takes null, or a string"),
        (
            "train",
            "ckpt=/nowhere/last.ckpt",
            "ckpt=/nowhere/last.ckpt: no such file; give the best.ckpt or last.ckpt of a run",
        ),
        ("train", "init_from=/nowhere/best.ckpt", "init_from=/nowhere/best.ckpt: no such file; give the checkpoint"),
    ],
)
@pytest.mark.usefixtures("defaults_composed_once")
def test_typing_errors_are_named(command, override, said, tmp_path):
    with pytest.raises(UserError) as refusal:
        compose(command, override, f"paths.log_dir={tmp_path}", output_dir=tmp_path / "run")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("command", "override", "said"),
    [
        # A fault of each kind that composing finds
        ("predict", "masks=1", "masks=1: masks takes true or false, such as masks=true"),
        ("train", "head=largefv", "head=largefv: no such choice. Did you mean largefov? head may be: "),
        ("train", "head largefov", "head largefov: not KEY=VALUE; write KEY=VALUE or GROUP=CHOICE"),
        ("train", "backbone.convs.a=3", "backbone.convs.a: backbone.convs is a list; its indices are 0 to "),
        # What the parts of a command find themselves
        ("evaluate", "split=val", "ckpt=CKPT is needed: the best.ckpt of a run, or ckpt=last"),
        ("tune_crf", "ckpt=camvid_slim held_back=2", "held_back=2: must be a share, 0 <= held_back < 1"),
        ("predict", "input=pyproject.toml", "ckpt=camvid_slim, which comes with the package"),
        ("export", "overwrite=true", "ckpt=CKPT is needed"),
        ("predict", "ckpt=pyproject.toml", "input=FILE, FOLDER or PATTERN is needed"),
        ("tune_crf", "ckpt=camvid_slim crf=none", "crf=none: choose the preset to start from"),
        ("tune_crf", "ckpt=camvid_slim name=deeplab", "was not written by a command, so it is not overwritten; choose"),
        ("report", "runs=nowhere/*", "runs=nowhere/*: finds no folder"),
        ("export", "ckpt=camvid_slim format=onx", "format=onx: must be one of onnx, torchscript, pt2"),
        (
            "train",
            "dataset=camvid",
            "dataset.root=data/camvid: no such folder (a relative path starts where you run the command); set "
            "dataset.root=FOLDER, or "
            "get the data: python -m src.prepare dataset=camvid",
        ),
        ("train", "loss.grid=pixels", "loss.grid=pixels: must be scores or image"),
        (
            "train",
            "optimizer.algorithm=SGDD",
            "optimizer.algorithm=SGDD: torch.optim has no such optimiser; try SGD",
        ),
        ("train", "optimizer.lr=-1", "optimizer.lr=-1: must be 0 or more"),
        ("train", "optimizer=adamw +optimizer.betas=[2,0.9]", "optimizer: Invalid beta parameter at index 0: 2"),
        ("train", "data.batch_size=0", "data.batch_size=0: must be a whole number, 1 or more"),
        ("train", "head.rate=-1", "head.rate=-1: must be positive"),
        ("train", "crf.srgb=0", "crf.srgb=0 is not a width"),
        (
            "train",
            "crf.engine=pydensecrf",
            "crf.engine=pydensecrf cannot prune (crf.prune=0.01): set crf.prune=0, or choose",
        ),
        ("train", "trainer.accelerator=abacus", "trainer.accelerator takes auto, cpu, gpu, cuda or mps"),
    ],
)
def test_every_command_reports_errors_in_one_line(command, override, said, tmp_path):
    words = [override] if "=" not in override else override.split()
    done = run_command(command, *words, f"paths.log_dir={tmp_path}", environment={"DEEPLAB_DATA": "data"})
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if "Warning" not in line]
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("error: ")
    assert said in errors[0]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["logger=[csv,wandb]", "logger.wandb.projct=x"], "with logger=[csv,wandb]. Did you mean project?"),
        (["logger=[csv, wandb]", "logger.wandb.projct=x"], "Did you mean project?"),
        (["logger=[]", "logger.csv.x=x"], "logger.csv.x: no such key with logger=[]."),
        (["augmentation=scale_jitter", "augmentation.scale.5=1"], "augmentation.scale is a list; its indices are 0 to"),
        (["dataset=voc12", "dataset.rot=x"], "with dataset=voc12. Did you mean root? dataset has: _partial_, _target_, "
                                             "cache, lists, masks, on_error, root"),
    ],
)  # fmt: skip
def test_suggested_keys_belong_to_the_chosen_groups(overrides, said, tmp_path):
    with pytest.raises(UserError) as refusal:
        compose("train", *overrides, output_dir=tmp_path / "run")
    assert said in str(refusal.value)


def test_a_choice_that_lacks_what_a_recipe_refers_to(tmp_path):
    with pytest.raises(UserError, match=r"crf=none: has no crf\.w1, which model\.crf\.w1 needs"):
        compose("train", "experiment=crf_rnn", "crf=none", "init_from=camvid_slim", output_dir=tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["sweep=joblib", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs=0: must be a whole number, not 0; "),
        (["sweep=optuna", "hydra.sweeper.n_jobs=0"], "hydra.sweeper.n_jobs=0: must be a whole number, 1 or more"),
    ],
)
def test_invalid_numbers_of_jobs_are_explained(tmp_path, settings, said):
    done = run_command("train", "-m", "seed=0,1", *settings, f"paths.log_dir={tmp_path}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"error: {said}" in done.stderr


def test_hydra_full_error_prints_the_traceback(tmp_path):
    overrides = ("data.batch_size=0", f"paths.log_dir={tmp_path}")
    done = run_command("train", *overrides, environment={"HYDRA_FULL_ERROR": "1"})
    assert "Traceback" in done.stderr


def test_runs_from_any_folder_once_installed(tmp_path):
    command = [sys.executable, "-m", "src.train", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "No module named" in done.stderr:
        pytest.skip("the package is not installed (pip install -e .)")
    assert "Usage: python -m src.train" in done.stdout


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_a_closed_pipe_is_no_error(option):
    """As in ``python -m src.train --help | head``: 141 is the exit status after SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "src.train", option], cwd=REPO, stdout=writer, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("override", ["trainer.max_steps=abc", "crf.w1=strong", "ckpt=/nowhere.ckpt"])
def test_compose_checks_values_as_the_command_line_does(tmp_path, override):
    with pytest.raises(UserError, match=override.partition("=")[0]):
        compose("train", override, output_dir=tmp_path / "run")
