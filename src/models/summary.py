"""The layers of a network: their sizes, parameters, operations and receptive fields."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakTensorKeyDictionary

from src.models.deeplab import DeepLab
from src.models.geometry import padded_side

aten = torch.ops.aten


class Field(NamedTuple):
    """The receptive field of the values of a feature map, in pixels of the image."""

    side: float = 1.0  # of the square that one value depends on
    step: float = 1.0  # between the fields of two neighbouring values

    def after_window(self, kernel: int, stride: int, dilation: int = 1) -> "Field":
        """Return the field after a convolution or a pool with a kernel of ``kernel`` x ``kernel``."""
        return Field(self.side + dilation * (kernel - 1) * self.step, self.step * stride)


class Layer(NamedTuple):
    """A layer, as one row of a table describes it."""

    name: str
    kind: str  # such as "3x3, rate 12"
    output: tuple[int, ...]  # channels, rows, columns
    parameters: int
    flops: int  # a multiplication and an addition are two
    field: float  # side of the receptive field in pixels


class FieldTracer(TorchDispatchMode):
    """Follows the theoretical receptive field through every operation, however the layers are connected.

    Args:
        image: the input of the network.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.fields = WeakTensorKeyDictionary()
        self.fields[image] = Field()

    def field_of(self, tensor: Tensor) -> Field:
        """Return the field of a tensor's values; one of side 0 if they do not depend on the image."""
        return self.fields.get(tensor, Field(0.0, 0.0))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        fields = [self.field_of(x) for x in args if isinstance(x, Tensor)]
        inputs = [f for f in fields if f.side]
        output = result[0] if isinstance(result, tuple) else result
        if not inputs or not isinstance(output, Tensor):
            return result
        field = Field(max(f.side for f in inputs), max(f.step for f in inputs))
        packet = func.overloadpacket
        if packet is aten.convolution:
            field = fields[0].after_window(args[1].shape[-1], args[3][-1], args[5][-1])
        elif packet in (aten.max_pool2d_with_indices, aten.avg_pool2d):
            field = field.after_window(args[1][-1], (args[2] or args[1])[-1])
        elif packet is aten.upsample_bilinear2d:  # a new value depends on two neighbouring ones
            before, after = args[0].shape[-1] - 1, output.shape[-1] - 1
            field = Field(field.side + field.step, field.step * before / after if after else field.step)
        self.fields[output] = field
        return result


def layers_of(model: DeepLab, height: int, width: int) -> list[Layer]:
    """Return the convolutions, pools and BatchNorms in the order of a forward pass, and the scores as the last row.

    Args:
        model: on any device; on "meta" nothing is computed.
        height, width: of the image, in pixels.
    """
    image = torch.empty(1, 3, height, width, device=next(model.parameters()).device)
    tracer, counter = FieldTracer(image), FlopCounterMode(display=False)
    found: list[Layer] = []
    flops_before: dict[nn.Module, int] = {}

    def before(module: nn.Module, _: Any) -> None:
        flops_before[module] = counter.get_total_flops()

    def after(name: str) -> Callable[..., None]:
        def append_layer(module: nn.Module, _: Any, output: Tensor) -> None:
            flops = counter.get_total_flops() - flops_before[module]
            parameters = sum(p.numel() for p in module.parameters())
            field = tracer.field_of(output).side
            found.append(Layer(name, describe_kind(module), tuple(output.shape[1:]), parameters, flops, field))

        return append_layer

    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.AvgPool2d)):
            hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after(name))]
    try:
        with torch.no_grad(), counter, tracer:
            scores = model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return [*found, Layer("scores", "", tuple(scores.shape[1:]), 0, 0, tracer.field_of(scores).side)]


def describe_kind(module: nn.Module) -> str:
    """Return a short description of a layer: "3x3, rate 12", "max 3x3, stride 2" or "batch norm"."""

    def last(value: Any) -> int:
        return value[-1] if isinstance(value, tuple) else value

    if isinstance(module, nn.BatchNorm2d):
        return "batch norm"
    assert isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d))
    side, stride = last(module.kernel_size), last(module.stride)
    rate = 1 if isinstance(module, nn.AvgPool2d) else last(module.dilation)
    words = {nn.MaxPool2d: "max ", nn.AvgPool2d: "average "}.get(type(module), "")
    return (
        f"{words}{side}x{side}" + (f", stride {stride}" if stride > 1 else "") + (f", rate {rate}" if rate > 1 else "")
    )


class MeasuredField(NamedTuple):
    """The receptive field of a score, measured by its gradient with respect to the image."""

    extent: int  # side in pixels of the smallest square that holds all of the gradient
    core: int  # side in pixels of the square around the centre that holds 95 % of it


def measure_field(model: DeepLab, field: float) -> MeasuredField:
    """Measure the receptive field by the gradient of the scores in the middle of a random image.

    Args:
        model: a network with any weights, even random ones; not on "meta".
        field: side of the theoretical field in pixels; the image is made slightly larger.
    """
    cells = -(-(padded_side(int(field)) + 15) // 16)  # gives an odd number of scores, so that one is in the middle
    side = 16 * cells + 1
    generator = torch.Generator().manual_seed(0)
    like = next(model.parameters())
    image = (255 * torch.rand(1, 3, side, side, generator=generator)).to(like).requires_grad_()
    scores = model.eval()(image)
    middle = (scores.shape[-1] - 1) // 2
    (gradient,) = torch.autograd.grad(scores[0, :, middle, middle].sum(), image)
    weight = gradient[0].abs().sum(dim=0)
    rows, columns = weight.nonzero(as_tuple=True)
    if not len(rows):
        return MeasuredField(0, 0)
    extent = 1 + max(int(axis.max() - axis.min()) for axis in (rows, columns))
    centre = 8 * cells
    distance = (torch.arange(side, device=weight.device) - centre).abs()
    ring = torch.maximum(distance[:, None], distance[None, :])
    within = torch.zeros(centre + 1, dtype=torch.float64).index_add_(0, ring.flatten(), weight.flatten().double())
    share = within.cumsum(0) / within.sum()
    return MeasuredField(extent, 1 + 2 * int((share < 0.95).sum()))
