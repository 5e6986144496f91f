"""Scores, labels and pixels are aligned to the pixel."""

import pytest
import torch

from src.models.geometry import pad_to_grid, padded_side, predict_labels, score_side, shrink_label, upsample_scores


@pytest.mark.parametrize(
    ("pixels", "padded", "scores"),
    [
        (321, 321, 41),
        (513, 513, 65),
        (500, 505, 64),
        (375, 377, 48),
        (480, 481, 61),
        (360, 361, 46),
        (1, 1, 1),
        (2, 9, 2),
    ],
)
def test_sides_are_eight_k_plus_one(pixels, padded, scores):
    assert padded_side(pixels) == padded
    assert score_side(pixels) == scores


def test_paper_label_grid():
    """The paper's crop of 321: label[::8, ::8], with the first and the last pixel."""
    label = torch.arange(321 * 321).reshape(1, 321, 321)
    small = shrink_label(label)
    assert small.shape == (1, 41, 41)
    assert torch.equal(small, label[:, ::8, ::8])
    assert small[0, 40, 40] == label[0, 320, 320]


def test_label_positions_in_the_padding_are_void():
    small = shrink_label(torch.ones(1, 10, 17, dtype=torch.int64))  # padded to 17 x 17
    assert small.tolist() == [[[1, 1, 1], [1, 1, 1], [255, 255, 255]]]


def test_scores_lie_on_every_eighth_pixel():
    """Bilinear interpolation with aligned corners keeps the given values, and is linear between them."""
    scores = torch.randn(2, 3, 6, 5)
    large = upsample_scores(scores, (41, 33))
    torch.testing.assert_close(large[:, :, ::8, ::8], scores)
    halfway = large[:, :, 4, 0]
    torch.testing.assert_close(halfway, (scores[:, :, 0, 0] + scores[:, :, 1, 0]) / 2)


def test_cropping_does_not_move_scores():
    scores = torch.randn(1, 2, 7, 6)
    torch.testing.assert_close(upsample_scores(scores, (42, 37)), upsample_scores(scores, (49, 41))[:, :, :42, :37])


def test_upsampled_one_hot_labels_shrink_back():
    label = torch.randint(0, 4, (1, 65, 57))
    one_hot = torch.nn.functional.one_hot(shrink_label(label), 4).permute(0, 3, 1, 2).float()
    assert torch.equal(shrink_label(upsample_scores(one_hot, (65, 57)).argmax(1)), shrink_label(label))


def test_padding_is_at_the_end_only():
    image = torch.rand(1, 3, 10, 9)
    padded = pad_to_grid(image, value=7.0)
    assert padded.shape == (1, 3, 17, 9)
    assert torch.equal(padded[:, :, :10], image)
    assert (padded[:, :, 10:] == 7).all()


def test_labels_are_the_first_of_the_largest_scores():
    """By hand: two scores side by side, and what lies between them; where all are equal, the first class wins."""
    scores = torch.tensor([[0.0, 8.0], [3.0, 3.0], [0.0, 4.0]])[None, :, None, :]
    assert predict_labels(scores, (1, 9)).tolist() == [[[1, 1, 1, 0, 0, 0, 0, 0, 0]]]
    assert predict_labels(torch.zeros(1, 3, 1, 2), (1, 9)).tolist() == [[[0] * 9]]
