"""The forward pass of LargeFOV, computed a second time in NumPy from the definitions of its layers."""

import numpy as np
import pytest
import torch

from src.models import DeepLab
from tests.models.networks import network


def convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, pad: int, hole: int) -> np.ndarray:
    """y[o, i, j] = b[o] + sum over c, u, v of w[o, c, u, v] x[c, i + u hole - pad, j + v hole - pad]; 0 outside."""
    outputs, _, rows, columns = weight.shape
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height = padded.shape[1] - hole * (rows - 1)
    width = padded.shape[2] - hole * (columns - 1)
    y = np.zeros((outputs, height, width)) + bias[:, None, None]
    for u in range(rows):
        for v in range(columns):
            window = padded[:, u * hole : u * hole + height, v * hole : v * hole + width]
            y += np.einsum("oc,chw->ohw", weight[:, :, u, v], window)
    return y


def caffe_pool(x: np.ndarray, kernel: int, stride: int, pad: int, average: bool = False) -> np.ndarray:
    """Return the output of Caffe's pooling layer: sizes are rounded up, and no window starts in the padding at the end.

    The maximum is over pixels only; the average counts padding as zeros, up to the padded border.
    """
    channels, height, width = x.shape
    sides = []
    for side in (height, width):
        count = int(np.ceil((side + 2 * pad - kernel) / stride)) + 1
        if pad and (count - 1) * stride >= side + pad:
            count -= 1
        sides.append(count)
    y = np.empty((channels, *sides))
    for i in range(sides[0]):
        for j in range(sides[1]):
            top, left = i * stride - pad, j * stride - pad
            bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
            window = x[:, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            whole = (bottom - top) * (right - left)
            y[:, i, j] = window.sum((1, 2)) / whole if average else window.max((1, 2))
    return y


def largefov(model: DeepLab, image: np.ndarray) -> np.ndarray:
    """Return the scores of one RGB image, with the network's weights and none of its code."""
    bgr = image[::-1].astype(np.float64) - np.array([104.008, 116.669, 122.675])[:, None, None]
    height, width = image.shape[1:]
    x = np.pad(bgr, ((0, 0), (0, -(height - 1) % 8), (0, -(width - 1) % 8)))

    convs = {
        name: [p.detach().numpy() for p in (c.weight, c.bias)] for name, c in model.backbone.convs_by_name().items()
    }
    for stage, count in enumerate((2, 2, 3, 3, 3), start=1):
        hole = 2 if stage == 5 else 1
        for index in range(1, count + 1):
            x = np.maximum(convolution(x, *convs[f"conv{stage}_{index}"], pad=hole, hole=hole), 0)
        x = caffe_pool(x, kernel=3, stride=2 if stage < 4 else 1, pad=1)
    x = caffe_pool(x, kernel=3, stride=1, pad=1, average=True)
    for name, pad in (("fc6", 12), ("fc7", 0), ("fc8", 0)):
        layer = getattr(model.head, name)
        x = convolution(x, layer.weight.detach().numpy(), layer.bias.detach().numpy(), pad=pad, hole=max(pad, 1))
        x = x if name == "fc8" else np.maximum(x, 0)
    return x


@pytest.mark.parametrize("size", [(65, 65), (50, 71), (12, 33)])
def test_scores_equal_those_of_numpy(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = network("cpu", "backbone=vgg16", "head=largefov", "backbone.width=0.0625", classes=5).double().eval()
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(p, std=0.5)
    image = np.random.default_rng(0).integers(0, 256, (3, *size), dtype=np.uint8)
    with torch.no_grad():
        scores = model(torch.from_numpy(image)[None])[0].numpy()
    expected = largefov(model, image)
    assert expected.shape == (5, -(-(size[0] - 1) // 8) + 1, -(-(size[1] - 1) // 8) + 1)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [9, 10, 11, 16])
def test_pools_round_up_as_in_caffe(kernel: int, stride: int, side: int) -> None:
    """Also for sizes that are not 8k + 1. The 2x2 pool begins at the corner, and with stride 1 keeps the size."""
    from src.models.backbones.vgg import pool

    x = np.random.default_rng(side).random((2, side, side))
    if kernel == 3:
        expected = caffe_pool(x, 3, stride, pad=1)
    elif stride == 2:
        expected = caffe_pool(x, 2, 2, pad=0)
    else:
        expected = caffe_pool(np.pad(x, ((0, 0), (0, 1), (0, 1))), 2, 1, pad=0)
    ours = pool(kernel, stride)(torch.from_numpy(x)[None])[0].numpy()
    np.testing.assert_array_equal(ours, expected)
