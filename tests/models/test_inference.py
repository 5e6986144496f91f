"""Several views of an image against averages by hand; windows against the whole image and against loops."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from src.crf import DenseCRF
from src.models import DeepLab, Inference
from src.models.geometry import score_stride, upsample_scores
from tests.models.networks import network


@pytest.fixture(scope="module", params=["largefov", "msc_largefov"])
def model(request: pytest.FixtureRequest) -> DeepLab:
    torch.manual_seed(0)
    model = network("cpu", "backbone.width=0.0625", f"head={request.param}", classes=4).eval()
    for p in model.head.parameters():
        torch.nn.init.normal_(p, std=0.3)  # confident scores
    return model.requires_grad_(False)


def random_image(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, generator=generator)


def result(inference: Inference, model: DeepLab, image: Tensor) -> Tensor:
    """Return the probabilities of every pixel, computed from the scores as validation does."""
    return upsample_scores(inference(model, image), image.shape[-2:]).softmax(dim=1)


@pytest.mark.parametrize("size", [(33, 41), (30, 47), (1, 1), (2, 9)])
def test_one_view_is_the_network_itself(model: DeepLab, size: tuple[int, int]) -> None:
    image = random_image(*size)
    torch.testing.assert_close(Inference()(model, image), model(image))
    torch.testing.assert_close(result(Inference(), model, image), model.predict(image))


def test_mirror_is_averaged(model: DeepLab) -> None:
    image = random_image(30, 47)
    expected = (model.predict(image) + model.predict(image.flip(-1)).flip(-1)) / 2
    torch.testing.assert_close(result(Inference(flip=True), model, image), expected)


def test_scales_are_averaged(model: DeepLab) -> None:
    """By hand: sides of 33 and 41 become 17 and 21 at 0.5, and 49 and 61 at 1.5; corners stay on corners."""
    image = random_image(33, 41)

    def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(x.float(), size=size, mode="bilinear", align_corners=True)

    looks = []
    for size in ((17, 21), (33, 41), (49, 61)):
        for mirror in (False, True):
            seen = resized(image, size)
            seen = seen.flip(-1) if mirror else seen
            look = model.predict(seen)
            looks.append(resized(look.flip(-1) if mirror else look, (33, 41)))
    expected = torch.stack(looks).mean(dim=0)
    torch.testing.assert_close(
        result(Inference([0.5, 1, 1.5], flip=True), model, image), expected, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("window", [47, 49, 1000])
def test_a_window_that_covers_the_image_changes_nothing(model: DeepLab, window: int) -> None:
    image = random_image(30, 47)
    assert torch.equal(Inference(window=window)(model, image), Inference()(model, image))
    torch.testing.assert_close(
        result(Inference([0.7, 1.0], True, window=window), model, image),
        result(Inference([0.7, 1.0], True), model, image),
    )


@pytest.mark.parametrize(("height", "width", "window", "step"), [(30, 47, 17, 8), (41, 20, 25, None), (17, 60, 17, 17)])
def test_overlapping_windows_are_averaged(
    model: DeepLab, height: int, width: int, window: int, step: int | None
) -> None:
    image = random_image(height, width)
    stride = step or window * 2 // 3

    def starts(side: int) -> list[int]:
        found = [0]
        while found[-1] + window < side:
            found.append(min(found[-1] + stride, side - window))
        return found

    sums, counts = torch.zeros(1, 4, height, width), torch.zeros(height, width)
    for y in starts(height):
        for x in starts(width):
            sums[..., y : y + window, x : x + window] += model.predict(image[..., y : y + window, x : x + window])
            counts[y : y + window, x : x + window] += 1
    assert counts.min() >= 1
    torch.testing.assert_close(result(Inference(window=window, step=step), model, image), sums / counts)


def test_the_crf_accepts_averaged_scores(model: DeepLab) -> None:
    image = random_image(30, 47)
    scores = Inference(flip=True)(model, image)[0]
    crf = DenseCRF(w1=3, sxy=20, srgb=10, iterations=3)
    stride = score_stride(scores.shape[-2:], (30, 47))
    assert stride == 1
    logits = upsample_scores(scores[None], (30, 47))[0]
    assert torch.equal(crf.refine_labels(image[0], scores, stride).long(), crf(image[0], logits=logits).argmax(0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scales": []}, r"^scales=\[\]: must be positive"),
        ({"scales": [1, -2]}, r"^scales=\[1, -2\]: must be positive"),
        ({"window": 0}, "^window=0: must be positive"),
        ({"window": 10, "step": 11}, "^step=11: must lie between 1 and window=10"),
        ({"window": 10, "step": 0}, "^step=0: must lie"),
    ],
)
def test_bad_values_are_named(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Inference(**options)
