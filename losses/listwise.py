"""Losses of a query's whole list of documents, whose relevance may be graded: ListNet and LambdaLoss.

Shapes: scores and relevance (Q, N), rows queries, columns documents in any order; mask (Q, N) bool, False where a
shorter list was filled up. What a masked cell holds changes neither the loss nor a gradient.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MU = 10.0  # weight of the NDCG-Loss2 part of NDCG-Loss2++, as sentence-transformers has it


def listnet_loss(scores: Tensor, relevance: Tensor, mask: Tensor | None = None) -> Tensor:
    """ListNet, top-one probabilities (Cao et al. 2007, ICML), in fp32.

        mean over queries of -sum over documents d of softmax(relevance)_d * log softmax(scores)_d

    Queries without any document are left out of the mean. Equals ListNetLoss of sentence-transformers 6.2. Raises
    ValueError on shapes that differ.
    """
    mask = _mask(scores, relevance, mask)
    target = relevance.float().masked_fill(~mask, -torch.inf).softmax(-1)
    log_probability = scores.float().masked_fill(~mask, -torch.inf).log_softmax(-1)
    # 0 * -inf of a masked cell, and the softmax of a row that is masked altogether, are nan
    terms = target.masked_fill(~mask, 0) * log_probability.masked_fill(~mask, 0)
    return -terms.sum() / mask.any(-1).sum().clamp(min=1)


def lambda_loss(
    scores: Tensor, relevance: Tensor, mask: Tensor | None = None, k: int | None = None, sigma: float = 1.0
) -> Tensor:
    """LambdaLoss with the weights of NDCG-Loss2++ (Wang et al. 2018, CIKM), in fp32.

    Over the pairs of one query with relevance_i > relevance_j, r the rank of a document by score (from 1):

        mean of w_ij * log2(1 + exp(-sigma * (score_i - score_j)))
        w_ij = |G_i - G_j| * (10 * (1 / D(|r_i - r_j|) - 1 / D(|r_i - r_j| + 1)) + |1 / D(r_i) - 1 / D(r_j)|)
        G = (2^relevance - 1) / DCG@k of the best order,  D(r) = log2(1 + r)

    relevance: >= 0. k: only pairs with a document among the first k by score count, and the best order is cut there.
    The weights are constants to the gradient. Documents of equal score are ranked by column. The mean is over all
    pairs of the batch, so a query counts by its number of pairs; without any pair the loss is 0. Equals LambdaLoss of
    sentence-transformers 6.2 with its default NDCGLoss2PPScheme (mu = 10, reduction_log "binary"); the paper sums
    where this takes the mean. Raises ValueError on shapes that differ, negative relevance, and k or sigma <= 0.
    """
    mask = _mask(scores, relevance, mask)
    if (k is not None and k < 1) or not sigma > 0:
        raise ValueError(f"k {k} and sigma {sigma:g}: need k >= 1 (or None) and sigma > 0")
    scores, relevance = (tensor.float().masked_fill(~mask, 0) for tensor in (scores, relevance))
    if not bool((relevance >= 0).all()):
        raise ValueError(f"relevance {relevance[~(relevance >= 0)][0].item():g} is not >= 0")
    order = scores.masked_fill(~mask, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    rank = order.argsort(-1) + 1  # (Q, N)
    gain = _normalised_gain(relevance, k)
    gap = _differences(rank).abs().clamp(min=1)  # 0 on the diagonal only, which no pair is
    weight = MU * (_discount(gap) - _discount(gap + 1)) + _differences(_discount(rank)).abs()
    weight = weight * _differences(gain).abs()  # (Q, N, N)
    counted = (_differences(relevance) > 0) & mask[:, :, None] & mask[:, None, :]
    if k is not None:
        counted &= (rank[:, :, None] <= k) | (rank[:, None, :] <= k)
    wrong = F.softplus(-sigma * _differences(scores)) / math.log(2)
    return (weight * counted * wrong).sum() / counted.sum().clamp(min=1)


def _differences(values: Tensor) -> Tensor:
    """``values_i - values_j`` at (q, i, j): (Q, N) -> (Q, N, N)."""
    return values[:, :, None] - values[:, None, :]


def _discount(rank: Tensor) -> Tensor:
    """``1 / log2(1 + rank)``."""
    return 1 / torch.log2(1.0 + rank)


def _normalised_gain(relevance: Tensor, k: int | None) -> Tensor:
    """``(2^relevance - 1) / best DCG@k``, (Q, N); 0 in a row without relevance.

    Gains are divided by 2^top first, which cancels: 2^relevance alone overflows fp32 at 128.
    """
    top = relevance.amax(-1, keepdim=True)  # (Q, 1)
    gain = torch.exp2(relevance - top) - torch.exp2(-top)
    position = torch.arange(1, gain.shape[1] + 1, device=gain.device)
    best = (gain.sort(-1, descending=True).values * _discount(position))[:, :k].sum(-1, keepdim=True)
    return gain / best.clamp(min=1e-10)


def _mask(scores: Tensor, relevance: Tensor, mask: Tensor | None) -> Tensor:
    """The mask, or one that is True everywhere, once all shapes are (Q, N)."""
    if scores.dim() != 2 or relevance.shape != scores.shape:
        shapes = f"scores {tuple(scores.shape)} and relevance {tuple(relevance.shape)}"
        raise ValueError(f"{shapes}: need (Q, N) twice")
    if mask is None:
        return torch.ones_like(scores, dtype=torch.bool)
    if mask.shape != scores.shape:
        raise ValueError(f"mask {tuple(mask.shape)} and scores {tuple(scores.shape)}: need the same")
    return mask
