"""The right candidate among many: softmax cross-entropy over each query's candidates.

    loss = mean over q of -log(exp(s[q, p_q]) / sum over candidates c of exp(s[q, c]))

As in Henderson et al. 2017 (arXiv 1705.00652, section 4.4). A cross-encoder hands in raw logits, a bi-encoder cosines
times a scale (1 / temperature).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_ranking_loss(scores: Tensor, positive: Tensor | int = 0, mask: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of one right candidate a query, in fp32.

    scores: (Q, N), rows queries, columns candidates. positive: (Q,), the column of each query's right candidate, or
    one column for all. mask: (Q, N) bool, False where there is no candidate; such a cell takes no part whatever it
    holds. Raises ValueError on other shapes, and where a right candidate is masked or outside the N columns.
    """
    if scores.dim() != 2:
        raise ValueError(f"scores {tuple(scores.shape)}: need (Q, N)")
    queries, candidates = scores.shape
    if isinstance(positive, int):
        positive = torch.full((queries,), positive, device=scores.device)
    if positive.shape != (queries,):
        raise ValueError(f"positive {tuple(positive.shape)} and scores {tuple(scores.shape)}: need (Q,)")
    if mask is not None and mask.shape != scores.shape:
        raise ValueError(f"mask {tuple(mask.shape)} and scores {tuple(scores.shape)}: need the same")
    outside = (positive < 0) | (positive >= candidates)
    if bool(outside.any()):
        raise ValueError(f"positive {int(positive[outside][0])} is not a column 0..{candidates - 1}")
    scores = scores.float()
    if mask is not None:
        masked = ~mask.gather(1, positive[:, None]).squeeze(1)  # (Q,)
        if bool(masked.any()):
            raise ValueError(f"the positive of query {int(masked.nonzero()[0])} is masked")
        scores = scores.masked_fill(~mask, -torch.inf)
    return F.cross_entropy(scores, positive)
