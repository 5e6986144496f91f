"""The torch engine on a GPU against the CPU: CUDA_VISIBLE_DEVICES=0 python -m pytest tests/crf."""

from __future__ import annotations

import pytest
import torch

from src.crf import DenseCRF, DenseCRFModule, RefinementPool
from src.crf.inputs import upsample
from src.crf.lattice import row_sums
from tests.crf.samples import network_like_scores

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and CUDA_VISIBLE_DEVICES=0")

SIZE = (97, 130)


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return four images, with noise on flat colours so that some sums are long, their score maps and logits."""
    random = torch.Generator().manual_seed(0)
    images = 30 * torch.randint(8, (4, 3, 5, 7), generator=random)
    images = images.repeat_interleave(20, 2).repeat_interleave(20, 3)[..., : SIZE[0], : SIZE[1]]
    images[1:] += torch.randint(25, images[1:].shape, generator=random)
    score_maps = torch.stack([network_like_scores(SIZE, 21, seed) for seed in range(4)])
    return images.to(torch.uint8), score_maps, torch.stack([upsample(s, SIZE, 8) for s in score_maps])


@pytest.fixture(params=["Triton", "embedding_bag"])
def sums(request, monkeypatch):
    if request.param == "embedding_bag":
        monkeypatch.setattr(row_sums, "kernel_failure", lambda _: "not asked")
    else:
        pytest.importorskip("triton", reason="Triton is not installed")
        assert row_sums.kernel_failure(torch.device("cuda", 0)) is None


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("prune", [0.0, 0.01])
@pytest.mark.parametrize("setting", [(4, 67, 3), (4, 80, 10)])
def test_q_of_a_batch_is_the_same_as_on_the_cpu(batch, setting, prune):
    images, _, logits = batch
    crf = DenseCRF(*setting, prune=prune, engine="torch")
    expected = crf(images, logits=logits)
    found = crf(images.cuda(), logits=logits.cuda())
    assert found.is_cuda
    assert (found.cpu() - expected).abs().max() < 1e-3


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("prune", [0.0, 0.01])
def test_labels_from_several_threads(batch, prune):
    images, score_maps, _ = batch
    crf = DenseCRF(4, 67, 3, prune=prune, engine="torch")
    with RefinementPool(crf, workers=3) as pool:
        futures = [pool.refine_labels(i, s) for i, s in zip(images.cuda(), score_maps.cuda(), strict=True)]
        found = torch.stack([future.result().cpu() for future in futures])
    expected = torch.stack([crf.refine_labels(i, s) for i, s in zip(images, score_maps, strict=True)])
    assert (found != expected).sum() <= found.numel() // 10_000


def test_auto_stays_on_the_gpu_and_keeps_the_type(batch):
    images, _, logits = batch
    q = DenseCRF()(images.cuda(), logits=logits.cuda().bfloat16())
    assert q.is_cuda
    assert q.dtype == torch.bfloat16


@pytest.mark.usefixtures("sums")
def test_gradients():
    random = torch.Generator().manual_seed(0)
    image = torch.randint(255, (1, 3, 3, 4), generator=random).to(torch.uint8).cuda()
    logits = torch.randn(1, 3, 3, 4, generator=random, dtype=torch.float64).cuda().requires_grad_()
    module = DenseCRFModule(3, 1.5, 3, 60, 0.8, 2, iterations=2).double().cuda()
    assert torch.autograd.gradcheck(lambda logits: module(image, logits), (logits,))
    assert torch.autograd.gradgradcheck(lambda logits: module(image, logits), (logits,))
