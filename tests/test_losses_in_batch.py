"""Losses over all questions and passages of a batch, by hand."""

import math

import pytest
import torch

from losses import mega_batch_margin_loss

SIMILARITIES = torch.tensor([[0.9, 0.1, 0.5], [0.2, 0.6, 0.7]])  # rows questions, columns passages
POSITIVE = torch.tensor([0, 1])


def test_mega_batch_margin_by_hand() -> None:
    # right: max(0, 0.8 - 0.9) = 0, max(0, 0.8 - 0.6) = 0.2; hardest wrong: 0.5 - 0.3 = 0.2, 0.7 - 0.3 = 0.4
    assert mega_batch_margin_loss(SIMILARITIES, POSITIVE).item() == pytest.approx(0.1 + 0.3)
    # the passage in column 2 does not count against question 1: its hardest wrong one is 0.2, below the margin
    mask = torch.tensor([[True, True, True], [True, True, False]])
    assert mega_batch_margin_loss(SIMILARITIES, POSITIVE, mask).item() == pytest.approx(0.1 + 0.1)
    other = mega_batch_margin_loss(SIMILARITIES, POSITIVE, positive_margin=1.0, negative_margin=0.0).item()
    assert other == pytest.approx((0.1 + 0.4) / 2 + (0.5 + 0.7) / 2)


def test_mega_batch_margin_moves_only_the_right_and_the_hardest() -> None:
    similarities = SIMILARITIES.clone().requires_grad_()
    mega_batch_margin_loss(similarities, POSITIVE).backward()
    assert similarities.grad is not None
    torch.testing.assert_close(similarities.grad, torch.tensor([[0.0, 0.0, 0.5], [0.0, -0.5, 0.5]]))


def test_mega_batch_margin_without_a_wrong_passage() -> None:
    alone = torch.tensor([[0.5]], requires_grad=True)
    loss = mega_batch_margin_loss(alone, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(0.3) and alone.grad is not None and alone.grad.item() == -1.0
    assert math.isfinite(loss.item())


def test_mega_batch_margin_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"need \(Q, N\), \(Q,\)"):
        mega_batch_margin_loss(SIMILARITIES, torch.tensor([0]))
    with pytest.raises(ValueError, match="mask"):
        mega_batch_margin_loss(SIMILARITIES, POSITIVE, torch.ones(2, 2, dtype=torch.bool))
