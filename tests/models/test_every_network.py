"""Properties of every network: all choices of backbone and head, in slim versions.

Every backbone is tested with one head, and every head with one backbone; a few of these pairs are also compiled and
exported. All other pairs take minutes: ``pytest -m slow`` runs them.
"""

import copy
import functools
import io
import re
from itertools import product

import jaxtyping
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.nn import functional as F

from src.models import DeepLab
from src.models.geometry import padded_side, score_side
from src.training.optim import grouped_optimizer
from tests.models.networks import CONF, composed
from tests.torchvision import import_timm

BACKBONES = [*sorted(path.stem for path in (CONF / "backbone").glob("*.yaml")), "timm:mobilenetv2_100"]
HEADS = sorted(path.stem for path in (CONF / "head").glob("*.yaml"))
FEW = [("slim", "msc_largefov")]  # a head with branches on the default backbone
QUICK = [(backbone, "largefov") for backbone in BACKBONES if backbone != "resnet101"]  # resnet50 and more of it
QUICK += [("slim", head) for head in HEADS if head != "largefov"]


def all_but_slow(quick: list[tuple[str, str]]) -> pytest.MarkDecorator:
    slow = [pytest.param(*pair, marks=pytest.mark.slow) for pair in product(BACKBONES, HEADS) if pair not in quick]
    return pytest.mark.parametrize(("backbone", "head"), [*quick, *slow])


CLASSES, WIDTH = 4, 1 / 16

every_network, every_network_slowly = all_but_slow(QUICK), all_but_slow(FEW)


@functools.cache
def group(name: str, choice: str) -> DictConfig:
    """Return a choice of a group, with unresolved references; CHOICE:NAME also sets ``name``."""
    choice, _, model = choice.partition(":")
    return composed(f"{name}={choice}", *([f"{name}.name={model}"] if model else []), resolve=False)[name]


@functools.cache
def built(backbone: str, head: str) -> DeepLab:
    config = OmegaConf.create({"_target_": "src.models.DeepLab", "backbone": group("backbone", backbone)})
    if "width" in config.backbone:
        config.backbone.width = WIDTH
    root = OmegaConf.create({"backbone": config.backbone, "head": group("head", head)})
    if "width" not in config.backbone:
        for part in (root.head, root.head.get("trunk")):
            if part is not None:
                part.width = WIDTH
    OmegaConf.resolve(root)
    config.backbone, config.head = root.backbone, root.head
    if backbone.startswith("timm"):
        import_timm()
    torch.manual_seed(0)
    return instantiate(config, num_classes=CLASSES)


def network(backbone: str, head: str) -> DeepLab:
    """Return a new copy in evaluation mode; weights that begin near zero are enlarged so that their effect is seen."""
    model = copy.deepcopy(built(backbone, head)).eval()
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # timm's ResNets switch their residual blocks off at the start
            torch.nn.init.ones_(module.weight)
    for branch in model.head.branches:
        for p in branch.parameters():
            torch.nn.init.normal_(p, std=0.1)
    return model


def images(batch: int, height: int = 33, width: int = 33) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator)


def assert_close(scores: Tensor, expected: Tensor, tolerance: float) -> None:
    """Compare relative to the largest score, which lies between 0.01 (timm) and 5000 (resnet101) before training."""
    assert scores.shape == expected.shape
    assert (scores - expected).abs().max() < tolerance * expected.abs().max()


@every_network
def test_any_size_gives_a_score_map_of_the_grid(backbone: str, head: str) -> None:
    model = network(backbone, head)
    for height, width in ((33, 33), (40, 21)):
        full = (padded_side(height), padded_side(width))
        eighth = (score_side(height), score_side(width))
        with torch.no_grad():
            trained = model.train()(images(1, height, width)).shape[-2:]
            tested = model.eval()(images(1, height, width)).shape[-2:]
        assert tuple(trained) == (full if head == "tutorial" else eighth)
        assert tuple(tested) == (full if head in ("tutorial", "msc", "msc_largefov") else eighth)
        assert model.predict(images(1, height, width)).shape == (1, CLASSES, height, width)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_branch_scores_are_aligned_in_training_and_test(backbone: str) -> None:
    """MSc on any backbone: the scores in training equal every eighth score at test time."""
    model = network(backbone, "msc_largefov").double()
    with torch.no_grad():
        full = model(images(1, 40, 21))
        model.head.full_resolution = False
        coarse = model(images(1, 40, 21))
    assert coarse.shape[-2:] == (score_side(40), score_side(21))
    assert_close(full[..., ::8, ::8], coarse, 1e-10)


@every_network
def test_backward_reaches_every_parameter(backbone: str, head: str) -> None:
    model = network(backbone, head).train()
    scores = model(images(2))
    label = torch.arange(scores[:, 0].numel()).view_as(scores[:, 0]) % CLASSES
    F.cross_entropy(scores, label).backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not untouched


@every_network
def test_every_parameter_has_the_rate_and_decay_of_the_paper(backbone: str, head: str) -> None:
    """Weights x1 with decay, biases x2 without; the classifier x10 and x20; BatchNorm x1 without decay."""
    model = network(backbone, head)
    optimizer = grouped_optimizer(model, "SGD", lr=1.0, weight_decay=1.0)
    found = {p: (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    norm = {p for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    for name, p in model.named_parameters():
        classifier = re.fullmatch(r"head\.(trunk\.)?(fc8|score)\.(weight|bias)", name)
        rate = 1 if p in norm else (2 if name.endswith("bias") else 1) * (10 if classifier else 1)
        assert found[p] == (rate, 1.0 if p.ndim == 4 else 0.0), name


@every_network
def test_images_of_a_batch_do_not_interact(backbone: str, head: str) -> None:
    model = network(backbone, head)
    batch = images(3).float().requires_grad_()
    model(batch)[1].square().sum().backward()
    assert batch.grad is not None
    assert batch.grad[1].any()
    assert not batch.grad[[0, 2]].any()


@every_network
def test_a_saved_network_gives_the_same_scores(backbone: str, head: str) -> None:
    model, other = network(backbone, head), network(backbone, head)
    for p in other.parameters():
        torch.nn.init.normal_(p)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(model(images(2)), other(images(2)))


@every_network
def test_memory_format_does_not_matter(backbone: str, head: str) -> None:
    model = network(backbone, head)
    with torch.no_grad():
        expected = model(images(2))
        model = model.to(memory_format=torch.channels_last)
        scores = model(images(2).contiguous(memory_format=torch.channels_last))
    assert_close(scores, expected, 1e-5)


@every_network
def test_bfloat16(backbone: str, head: str) -> None:
    model = network(backbone, head)
    with torch.no_grad():
        expected = model(images(1))
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(images(1))
    assert scores.dtype in (torch.bfloat16, torch.float32)
    error = (scores.float() - expected).square().mean().sqrt()
    assert error < 0.05 * expected.square().mean().sqrt() + 1e-6


@every_network_slowly
def test_compiles(backbone: str, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place, so that parameters keep their names; for training too; as one graph."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # shape checks cannot be compiled
    torch.compiler.reset()
    model, plain = network(backbone, head), network(backbone, head)
    for dropout in (m for net in (model, plain) for m in net.modules() if isinstance(m, torch.nn.Dropout)):
        dropout.p = 0.0  # compiled dropout draws other numbers
    # Traced as for any backend, without the minutes of code generation.
    model.compile(backend="eager", fullgraph=True)
    for mode in (False, True):
        model.train(mode)
        plain.train(mode)
        scores = model(images(2))
        assert_close(scores, plain(images(2)), 1e-5)
    scores.square().mean().backward()
    assert list(model.state_dict()) == list(plain.state_dict())


@pytest.mark.slow  # tests/prediction/export/test_export.py has the quick ones
@every_network_slowly
def test_onnx_gives_the_same_scores(backbone: str, head: str) -> None:
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    model = network(backbone, head)
    image = images(1, 41, 33)
    file = io.BytesIO()
    program = torch.onnx.export(model, (image,), dynamo=True, verbose=False)
    assert program is not None
    program.save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():
        assert_close(torch.from_numpy(scores), model(image), 1e-4)
