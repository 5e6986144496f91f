"""The grid on which a criterion is computed."""

from typing import Literal

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from src.labels import VOID
from src.models.geometry import pad_to_grid, score_stride, shrink_label, upsample_scores


class SegmentationLoss(nn.Module):
    """Computes a criterion on the grid of the score map or of the image.

    On the grid of the score map (as in the paper), labels are shrunk to its stride, usually 8. The softmax then takes
    64 times less memory, and the loss is deterministic on CUDA, where the backward pass of bilinear up-sampling is not.
    On the grid of the image, scores are up-sampled by 8, as in later versions of DeepLab.

    Args:
        criterion: takes scores and labels on the same grid.
        grid: "scores" or "image".

    Raises:
        ValueError: if ``grid`` is neither "scores" nor "image".
    """

    def __init__(self, criterion: nn.Module, grid: Literal["scores", "image"] = "scores") -> None:
        super().__init__()
        if grid not in ("scores", "image"):
            raise ValueError(f"grid={grid}: must be scores or image")
        self.criterion = criterion
        self.grid = grid

    def forward(
        self, scores: Float[Tensor, "batch classes rows columns"], label: Integer[Tensor, "batch height width"]
    ) -> Float[Tensor, ""]:
        """Return the loss of a batch.

        Scores at full resolution (the tutorial's network) are compared with every label, for either ``grid``.

        Args:
            scores: output of the network.
            label: labels at the image's size, of any integer dtype; ``VOID`` where there is no label.
        """
        scores, label = scores.float(), label.to(torch.int64)
        if self.grid == "scores" and (stride := score_stride(scores.shape[-2:], label.shape[-2:])) > 1:
            # Images are padded for stride 8, whatever the stride of the scores is.
            return self.criterion(scores, shrink_label(pad_to_grid(label, VOID), stride))
        return self.criterion(upsample_scores(scores, label.shape[-2:]), label)
