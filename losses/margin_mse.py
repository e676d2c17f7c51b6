"""Margin MSE (Hofstätter et al. 2020, arXiv 2010.02666): learn a teacher's score differences.

    loss = mean over queries and negatives of ((s(q, p) - s(q, n)) - (t(q, p) - t(q, n)))^2

Only differences are compared, so student and teacher may score on different scales and offsets of one query cancel.
"""

import torch.nn.functional as F
from torch import Tensor


def margin_mse_loss(positive: Tensor, negatives: Tensor, margins: Tensor) -> Tensor:
    """Mean of ``(positive - negatives - margins)^2``, in fp32.

    positive: (B,) scores of (query, positive). negatives: (B,) or (B, n) scores of (query, negative). margins: as
    negatives, the teacher's ``positive - negative`` (``margins_of``). Raises ValueError on other shapes: (B,) and
    (B, 1) would broadcast to (B, B) and train on the wrong pairs.
    """
    shapes = [tuple(tensor.shape) for tensor in (positive, negatives, margins)]
    if positive.dim() != 1 or negatives.dim() not in (1, 2) or len(negatives) != len(positive):
        raise ValueError(f"positive {shapes[0]} and negatives {shapes[1]}: need (B,) and (B,) or (B, n)")
    if margins.shape != negatives.shape:
        raise ValueError(f"margins {shapes[2]} and negatives {shapes[1]}: need one margin for each negative")
    if negatives.dim() == 2:
        positive = positive[:, None]  # (B, 1), against each of the n negatives
    return F.mse_loss(positive.float() - negatives.float(), margins.float())


def margins_of(scores: Tensor) -> Tensor:
    """A teacher's margins (B, n), in fp32, of its scores (B, n + 1), whose column 0 is the positive.

    Raises ValueError unless there are two dimensions and at least one negative.
    """
    if scores.dim() != 2 or scores.shape[1] < 2:
        raise ValueError(f"scores {tuple(scores.shape)}: need (B, n + 1), the positive and n >= 1 negatives")
    scores = scores.float()
    return scores[:, :1] - scores[:, 1:]
