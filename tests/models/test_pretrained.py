"""Weights from files: decimation against indices written by hand, torchvision's names, downloads and their failures."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from src.models import VGG, DeepLab
from src.models.backbones import vgg
from src.models.backbones.backbone import WeightFile
from src.models.weights import decimation
from src.models.weights.decimation import decimate_fc6, decimate_fc7
from src.models.weights.pretrained import fetch_weights, load_pretrained, load_trained
from src.system.errors import UserError
from tests.models.networks import composed
from tests.server import Site, serving


def configured(*overrides: str, classes: int = 4) -> DeepLab:
    return instantiate(composed(*overrides).model, num_classes=classes)


@pytest.mark.parametrize(
    ("kernel", "channels", "taps"),
    [(7, 4096, [0, 1, 2, 3, 4, 5, 6]), (4, 4096, [0, 2, 4, 6]), (3, 1024, [0, 3, 6]), (3, 512, [0, 3, 6])],
)
def test_fc6_keeps_these_taps_and_channels(kernel: int, channels: int, taps: list[int]) -> None:
    # Element (o, i, y, x) holds 999 o + 50 i + 7 y + x, in little memory.
    fc6 = torch.arange(4096 * 1010, dtype=torch.float32).as_strided((4096, 512, 7, 7), (999, 50, 7, 1))
    small = decimate_fc6(fc6, kernel, channels)
    assert small.shape == (channels, 512, kernel, kernel)
    step = {4096: 1, 1024: 4, 512: 8}[channels]
    for o, i, y, x in [(0, 0, 0, 0), (1, 2, 0, 1), (channels - 1, 511, kernel - 1, 0), (7, 300, 1, kernel - 1)]:
        assert small[o, i, y, x] == 999 * (step * o) + 50 * i + 7 * taps[y] + taps[x]


def test_fc7_keeps_every_fourth_channel_on_both_sides() -> None:
    fc7 = torch.arange(4096 * 4096, dtype=torch.float32).view(4096, 4096)
    small = decimate_fc7(fc7, 1024)
    assert small.shape == (1024, 1024, 1, 1)
    assert small[3, 5, 0, 0] == 4096 * 12 + 20
    assert small[1023, 1023, 0, 0] == 4096 * 4092 + 4092


def test_a_wrong_shape_is_named() -> None:
    with pytest.raises(UserError, match=r"fc6 has shape \(4096, 100\), VGG's has \(4096, 512, 7, 7\)"):
        decimate_fc6(torch.zeros(4096, 100), 3, 1024)


def torchvision_vgg(model: VGG, fc: tuple[int, int]) -> nn.Module:
    """Return a VGG laid out as in torchvision, with random weights: numbered features, then the classifier."""
    features: list[nn.Module] = []
    before = 3
    for count, channels in zip(model.convs, model.channels[1:], strict=True):
        for _ in range(count):
            features.append(nn.Conv2d(before, channels, 3, padding=1))
            if model.batch_norm:
                features.append(nn.BatchNorm2d(channels))
            features.append(nn.ReLU())
            before = channels
        features.append(nn.MaxPool2d(2))
    channels, hidden = fc
    classifier = [nn.Linear(channels * 49, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden)]
    net = nn.ModuleDict({"features": nn.Sequential(*features), "classifier": nn.Sequential(*classifier)})
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5) if name.endswith("var") else nn.init.normal_(tensor, std=0.2)
    return net.eval()


@pytest.fixture
def small_fc(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Return VGG's fully connected layers at a sixteenth of their width."""
    monkeypatch.setattr(decimation, "FC_INPUT", (32, 7, 7))
    monkeypatch.setattr(decimation, "FC_CHANNELS", 256)
    return 32, 256


@pytest.mark.parametrize("backbone", ["vgg11", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19"])
def test_torchvision_weights(tmp_path: Path, small_fc: tuple[int, int], backbone: str) -> None:
    path = tmp_path / "weights.pth"
    model = configured(f"backbone={backbone}", "backbone.width=0.0625", f"backbone.weights={path}").eval()
    theirs = torchvision_vgg(model.backbone, small_fc)
    torch.save(theirs.state_dict(), path)
    assert load_pretrained(model) == f"backbone, fc6, fc7 from {path}"

    # The first four stages differ in their pools only: feed each of both what came out of the other.
    x = torch.rand(2, 3, 16, 16)
    cut = next(i for i, layer in enumerate(theirs["features"]) if isinstance(layer, nn.MaxPool2d))
    ours = nn.Sequential(*(layer for layer in model.backbone.stages[0] if not isinstance(layer, nn.MaxPool2d)))
    torch.testing.assert_close(ours(x), theirs["features"][:cut](x))
    last = list(theirs["features"])[:-1]
    start = max(i for i, layer in enumerate(last) if isinstance(layer, nn.MaxPool2d)) + 1
    conv = model.backbone.convs_by_name()["conv5_1"]
    torch.testing.assert_close(conv.weight, last[start].weight)

    fc6 = theirs["classifier"][0].weight.view(256, 32, 7, 7)
    assert torch.equal(model.head.fc6.weight[5, 7, 1, 2], fc6[20, 7, 3, 6])
    assert torch.equal(model.head.fc6.bias[5], theirs["classifier"][0].bias[20])
    assert torch.equal(model.head.fc7.weight[3, 2, 0, 0], theirs["classifier"][3].weight[12, 8])
    assert not model.backbone.bgr
    torch.testing.assert_close(model.backbone.std.flatten(), torch.tensor([58.395, 57.12, 57.375]))


def test_features_without_fully_connected_layers(tmp_path: Path, small_fc: tuple[int, int]) -> None:
    """torchvision's IMAGENET1K_FEATURES has NaN for these layers, and Caffe's normalisation."""
    path = tmp_path / "vgg16_features-local.pth"
    model = configured("backbone=vgg16", "backbone.width=0.0625", f"backbone.weights={path}")
    theirs = torchvision_vgg(model.backbone, small_fc)
    for p in theirs["classifier"].parameters():
        nn.init.constant_(p, float("nan"))
    torch.save(theirs.state_dict(), path)
    assert load_pretrained(model) == f"backbone from {path}"
    assert bool(torch.isfinite(model.head.fc6.weight).all())
    assert model.backbone.bgr


def images() -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((33, 33), (40, 57))]


def deviations(model: DeepLab) -> list[float]:
    """Return the standard deviations of fc6's and fc7's outputs on the images, before their ReLU."""
    trunk = getattr(model.head, "trunk", model.head)
    outputs: dict[str, list[Tensor]] = {"fc6": [], "fc7": []}
    for name, found in outputs.items():
        getattr(trunk, name).register_forward_hook(
            lambda _, __, output, found=found: found.append(output.flatten().clone())
        )
    model.eval()
    with torch.no_grad():
        for image in images():
            model(image[None])
    return [float(torch.cat(found).std()) for found in outputs.values()]


@pytest.mark.parametrize("head", ["largefov", "vanilla", "msc_largefov"])
@pytest.mark.parametrize("weights", ["none", "features"])
def test_random_fc6_and_fc7_are_scaled_to_the_features(tmp_path: Path, weights: str, head: str) -> None:
    path = "none" if weights == "none" else str(tmp_path / "vgg16_features-local.pth")
    model = configured("backbone=vgg16", f"head={head}", "backbone.width=0.0625", f"backbone.weights={path}")
    if path != "none":
        theirs = torchvision_vgg(model.backbone, (32, 256))
        torch.save({n: t for n, t in theirs.state_dict().items() if n.startswith("features")}, path)
    said = load_pretrained(model, images())
    assert said.endswith("; random fc6 and fc7, scaled to the backbone's features")
    assert deviations(model) == pytest.approx([1, 1], rel=1e-3)


def test_loaded_fc6_and_fc7_keep_their_scale(tmp_path: Path, small_fc: tuple[int, int]) -> None:
    path = tmp_path / "weights.pth"
    model = configured("backbone=vgg16", "backbone.width=0.0625", f"backbone.weights={path}")
    theirs = torchvision_vgg(model.backbone, small_fc)
    torch.save(theirs.state_dict(), path)
    assert load_pretrained(model, images()) == f"backbone, fc6, fc7 from {path}"
    assert torch.equal(model.head.fc6.bias[5], theirs["classifier"][0].bias[20])
    assert torch.equal(model.head.fc7.weight[3, 2, 0, 0], theirs["classifier"][3].weight[12, 8])


@pytest.mark.parametrize("overrides", [["backbone=slim"], ["backbone=vgg16", "head.batch_norm=true"]])
def test_batch_norm_needs_no_scale(overrides: list[str]) -> None:
    model = configured(*overrides, "backbone.width=0.0625")
    before = model.head.fc6.weight.clone()
    assert load_pretrained(model, images()) == "random weights"
    assert torch.equal(model.head.fc6.weight, before)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["backbone.weights=nowhere.pth"], "^weights=nowhere.pth: no such file"),
        (["backbone.weights=imagenet", "backbone.width=0.5"], "^weights=imagenet: needs width=1, not 0.5"),
        (
            ["backbone.weights=imagenet", "backbone.convs=[1,1,1,1,1]"],
            r"there is no file for convs=\[1, 1, 1, 1, 1\]",
        ),
        (["backbone.weights=caffe", "backbone.width=0.5"], "^weights=caffe: needs width=1, not 0.5"),
        (["backbone.weights=caffe", "backbone.batch_norm=true"], r"^weights=caffe: .* with BatchNorm"),
    ],
)
def test_unloadable_files_are_named(overrides: list[str], message: str) -> None:
    with torch.device("meta"):
        model = configured("backbone=vgg16", *overrides)
    with pytest.raises(UserError, match=message):
        load_pretrained(model)


def test_a_path_may_begin_in_the_home_folder_or_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save({}, tmp_path / "vgg.pth")
    for weights in ("~/vgg.pth", "$HOME/vgg.pth"):
        model = DeepLab(VGG(width=1 / 64, weights=weights), lambda _, classes: nn.Conv2d(8, classes, 1), 2)
        with pytest.raises(UserError, match=f"^weights={tmp_path}/vgg.pth: holds 0 layers"):
            load_pretrained(model)


def test_another_vgg_is_refused(tmp_path: Path, small_fc: tuple[int, int]) -> None:
    path = tmp_path / "weights.pth"
    eleven = configured("backbone=vgg11", "backbone.width=0.0625", f"backbone.weights={path}")
    torch.save(torchvision_vgg(eleven.backbone, small_fc).state_dict(), path)
    with pytest.raises(UserError, match=f"^weights={path}: holds 8 layers with weights, the network has 13"):
        load_pretrained(configured("backbone=vgg16", "backbone.width=0.0625", f"backbone.weights={path}"))


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """Return a server in place of Keras's, which has a file of known content for weights=caffe; the cache is empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    with serving() as site:
        site.files["/vgg.h5"] = b"weights"
        checksum = f"md5:{hashlib.md5(b'weights').hexdigest()}"
        monkeypatch.setitem(vgg.CAFFE, vgg.VGG16, WeightFile([f"{site.url}/vgg.h5"], checksum))
        yield site


def fetched() -> Path:
    with torch.device("meta"):
        return fetch_weights(VGG(weights="caffe"))


def test_a_download_is_cached(site: Site, tmp_path: Path) -> None:
    path = fetched()
    assert path == tmp_path / "cache" / "checkpoints" / "vgg.h5"
    assert path.read_bytes() == b"weights"
    assert fetched() == path
    assert site.asked == [("/vgg.h5", None)]


def test_a_wrong_checksum_leaves_nothing(site: Site, tmp_path: Path) -> None:
    site.files["/vgg.h5"] = b"other"
    with pytest.raises(UserError, match=r"^weights=caffe: vgg\.h5: no server gave it .*its checksum is not md5:"):
        fetched()
    assert not list((tmp_path / "cache" / "checkpoints").glob("vgg*"))


def test_a_closed_network_says_where_to_put_the_file(site: Site, tmp_path: Path) -> None:
    del site.files["/vgg.h5"]
    by_hand = rf"Get it from {site.url}/vgg.h5, put it at {tmp_path}/cache/checkpoints/vgg.h5 and run this again"
    with pytest.raises(UserError, match=rf"^weights=caffe: .*404 Not Found.*{by_hand}; or name a file with weights="):
        fetched()


def test_a_damaged_file_in_the_cache_is_named(site: Site, tmp_path: Path) -> None:
    fetched().write_bytes(b"weig")
    with pytest.raises(UserError, match=rf"^weights=caffe: {tmp_path}/cache/checkpoints/vgg\.h5: not the file of"):
        fetched()


def test_a_fetched_file_that_cannot_be_read_is_named(site: Site, tmp_path: Path) -> None:
    path = fetched()
    with torch.device("meta"):
        model = DeepLab(VGG(weights="caffe"), lambda _, classes: nn.Conv2d(8, classes, 1), 2)
    with pytest.raises(UserError, match=rf"^weights=caffe \({path}\): cannot be read as an HDF5 file of Keras"):
        load_pretrained(model)


@pytest.mark.parametrize(
    ("name", "address", "checksum"),
    [
        ("vgg16", "/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
         "md5:64373286793e3c8b2b4e3219cbf3544b"),
        ("vgg19", "/tensorflow/keras-applications/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels.h5",
         "md5:cbe5617147190e668d6c5d5026f83318"),
    ],
)  # fmt: skip
def test_caffe_s_networks_are_those_that_keras_distributes(name: str, address: str, checksum: str) -> None:
    """The addresses and checksums are those of keras/src/applications/vgg16.py and vgg19.py."""
    with torch.device("meta"):
        model = configured(f"backbone={name}", "backbone.weights=caffe")
    urls, digest = model.backbone.weight_file()
    assert (urls[0], digest) == (f"https://storage.googleapis.com{address}", checksum)
    assert model.backbone.bgr


def test_torchvision_s_checksum_is_in_the_name() -> None:
    with torch.device("meta"):
        file = configured("backbone=vgg16", "backbone.weights=imagenet").backbone.weight_file()
    assert file == (["https://download.pytorch.org/models/vgg16-397923af.pth"], "sha256:397923af")


SLIM = ("backbone=vgg11", "backbone.width=0.0625")


def save_checkpoint(model: DeepLab, path: Path) -> dict[str, Tensor]:
    torch.save({"state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}}, path)
    return model.state_dict()


def test_msc_starts_from_a_first_stage(tmp_path: Path) -> None:
    saved = save_checkpoint(configured(*SLIM, "head=largefov"), tmp_path / "first.ckpt")
    model = configured(*SLIM, "head=msc_largefov")
    before = {name: p.clone() for name, p in model.head.scales.named_parameters()}
    said = load_trained(model, str(tmp_path / "first.ckpt"))
    assert said.endswith("first.ckpt, 30 tensors of the branches at random")
    assert torch.equal(model.head.trunk.fc8.weight, saved["head.fc8.weight"])
    assert torch.equal(model.backbone.stages[0][0].weight, saved["backbone.stages.0.0.weight"])
    assert all(torch.equal(before[name], p) for name, p in model.head.scales.named_parameters())


def test_a_second_stage_keeps_its_branches(tmp_path: Path) -> None:
    saved = save_checkpoint(configured(*SLIM, "head=msc_largefov"), tmp_path / "second.ckpt")
    model = configured(*SLIM, "head=msc_largefov")
    load_trained(model, str(tmp_path / "second.ckpt"))
    assert all(torch.equal(saved[name], value) for name, value in model.state_dict().items())


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "first.ckpt"
    save_checkpoint(configured(*SLIM, "head=largefov"), path)
    with pytest.raises(
        UserError, match=r"another network \(head.trunk.fc6.weight is \(64, 32, 3, 3\), not \(256, 32, 4, 4\)"
    ):
        load_trained(configured(*SLIM, "head=msc"), str(path))
    with pytest.raises(UserError, match="another normalisation"):
        load_trained(configured(*SLIM, "head=largefov", "backbone.bgr=false"), str(path))
    with pytest.raises(UserError, match=r"^init_from=nowhere\.ckpt: no such file; give the best\.ckpt"):
        load_trained(configured(*SLIM), "nowhere.ckpt")


@pytest.mark.parametrize("head", ["largefov", "msc"])
def test_another_number_of_classes_is_not_another_network(head: str, tmp_path: Path) -> None:
    path = tmp_path / "eleven.ckpt"
    save_checkpoint(configured(*SLIM, f"head={head}", classes=11), path)
    with pytest.raises(UserError, match=rf"^init_from={path}: has 11 classes, the data set has 7; train on data with"):
        load_trained(configured(*SLIM, f"head={head}", classes=7), str(path))


def test_a_file_that_holds_no_weights_is_named_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "notes.ckpt"
    path.write_text("no weights")
    with pytest.raises(UserError, match=rf"^init_from={path}: cannot be read as weights \(.*\); give the best\.ckpt"):
        load_trained(configured(*SLIM), str(path))


def test_a_normalisation_rounded_to_16_bits_is_the_same(tmp_path: Path) -> None:
    model = configured("backbone=slim", "backbone.width=0.0625", "head.channels=64")
    state = {f"model.{n}": v.half() if n.endswith(("mean", "std")) else v for n, v in model.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "small.ckpt")
    assert load_trained(model, str(tmp_path / "small.ckpt")).startswith("network from")
    other = configured("backbone=slim", "backbone.width=0.0625", "head.channels=64", "backbone.mean=[104,117,123]")
    with pytest.raises(UserError, match="another normalisation"):
        load_trained(other, str(tmp_path / "small.ckpt"))
