"""Mega-batch margin: each query near its right candidate, and away from the nearest wrong one of the whole batch.

    loss = mean over q of  max(0, m+ - s[q, p_q])  +  max(0, max over n != p_q of s[q, n]  -  m-)

As in Wieting and Gimpel 2018 (arXiv 1711.05732, "mega-batching"): the larger the batch, the harder its hardest
negative. Margins and form are those of sentence-transformers' MegaBatchMarginLoss.
"""

import torch
from torch import Tensor


def mega_batch_margin_loss(
    similarities: Tensor,
    positive: Tensor,
    mask: Tensor | None = None,
    positive_margin: float = 0.8,
    negative_margin: float = 0.3,
) -> Tensor:
    """similarities: (Q, N) cosines, rows queries, columns candidates, in fp32. positive: (Q,), each query's right column.

    mask: (Q, N) bool, False where a candidate takes no part, such as another right one. A query without any wrong
    candidate is only drawn to its right one. Raises ValueError on other shapes.
    """
    if similarities.dim() != 2 or positive.shape != similarities.shape[:1]:
        raise ValueError(
            f"similarities {tuple(similarities.shape)}, positive {tuple(positive.shape)}: need (Q, N), (Q,)"
        )
    if mask is not None and mask.shape != similarities.shape:
        raise ValueError(
            f"mask {tuple(mask.shape)} and similarities {tuple(similarities.shape)}: need the same"
        )
    similarities = similarities.float()
    right = similarities.gather(1, positive[:, None]).squeeze(1)  # (Q,)
    wrong = torch.ones_like(similarities, dtype=torch.bool) if mask is None else mask.clone()
    wrong.scatter_(1, positive[:, None], False)
    hardest = similarities.masked_fill(~wrong, -torch.inf).amax(1)  # (Q,), -inf where there is none
    return (positive_margin - right).relu().mean() + (hardest - negative_margin).relu().mean()
