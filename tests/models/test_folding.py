"""Folded networks: no BatchNorm is left behind a convolution, and the scores are the same."""

import pytest
import torch
from torch import Tensor, nn

from src.models.folding import fold_batch_norm
from tests.models.networks import network


def trained(*overrides: str) -> nn.Module:
    """A network whose BatchNorm layers have seen images, with weights of any sign and size."""
    torch.manual_seed(0)
    model = network("cpu", *overrides)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        for tensor, low, high in ((norm.weight, -1, 2), (norm.bias, -1, 1), (norm.running_mean, -2, 2),
                                  (norm.running_var, 0.5, 2)):  # fmt: skip
            nn.init.uniform_(tensor, low, high)
    return model.eval()


@pytest.mark.parametrize(
    "overrides",
    [
        ("backbone=slim", "backbone.width=0.0625", "head.batch_norm=true"),
        ("backbone=slim", "backbone.width=0.0625", "head=msc"),
        ("backbone=resnet50",),
    ],
)
def test_the_scores_stay_and_no_norm_does(overrides: tuple[str, ...]) -> None:
    model = trained(*overrides)
    image = torch.randint(0, 256, (2, 3, 50, 41), dtype=torch.uint8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        folded, expected = fold_batch_norm(model), model(image)
        assert (folded(image) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Twice(nn.Module):
    """The output of the convolution is used with and without BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)
        nn.init.constant_(self.norm.running_mean, 3.0)

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv(image.float())
        return x + self.norm(x)


def test_what_cannot_be_folded_stays() -> None:
    model, plain = Twice().eval(), trained("backbone=vgg16", "backbone.width=0.0625")
    assert fold_batch_norm(model) is model
    assert fold_batch_norm(plain) is plain  # has no BatchNorm
    with pytest.raises(ValueError, match="evaluation mode"):
        fold_batch_norm(model.train())
