"""Regression objective (SBERT paper, section 3): mean squared error of the cosine and the gold score."""

import torch.nn.functional as F
from torch import Tensor

from losses.similarity import pairwise_cosine


def cosine_regression_loss(u: Tensor, v: Tensor, score: Tensor) -> Tensor:
    """``mean((cos(u_i, v_i) - score_i)^2)``.

    u, v: (B, D). score: (B,), already scaled to 0..1 by the reader.
    Raises ValueError when a score lies outside 0..1 (a 0..5 scale that nobody divided, usually).
    """
    if score.numel() and not bool(((score >= 0) & (score <= 1)).all()):
        bad = score[(score < 0) | (score > 1) | score.isnan()][0].item()
        raise ValueError(f"score {bad:g} is outside 0..1: readers scale scores, the loss does not")
    return F.mse_loss(pairwise_cosine(u, v), score.float())
