"""Pooling: token embeddings (B, T, D) and their mask (B, T) -> one vector a text (B, D), in fp32.

SBERT paper, section 3: the output of the CLS token, the mean of all output vectors (the default), or a max over time.
Every function is out of place, ignores whatever stands at padded positions (NaN included) and works for left padding.
A text without a single real token gives zeros.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def _masked(h: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.unsqueeze(-1), h, 0.0)


def mean(h: Tensor, mask: Tensor) -> Tensor:
    """``sum_t m_t h_t / max(sum_t m_t, 1)``."""
    return _masked(h, mask).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def mean_sqrt(h: Tensor, mask: Tensor) -> Tensor:
    """``sum_t m_t h_t / sqrt(max(sum_t m_t, 1))``."""
    return _masked(h, mask).sum(1) / mask.sum(1, keepdim=True).clamp(min=1).sqrt()


def weighted_mean(h: Tensor, mask: Tensor, skipped: int = 0) -> Tensor:
    """Mean weighted by position among the real tokens, 1, 2, 3, ... (SGPT, arXiv 2202.08904, section 3.1).

    skipped: real tokens before the pooled ones, which keep their positions.
    """
    weight = (mask.cumsum(1) + skipped) * mask
    return (_masked(h, mask) * weight.unsqueeze(-1)).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)


def max_over_time(h: Tensor, mask: Tensor) -> Tensor:
    """Per dimension the largest value of a real token; -inf (not -1e9: that overflows fp16) keeps padding out."""
    largest = h.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(1)
    return torch.where(mask.any(1, keepdim=True), largest, 0.0)


def cls(h: Tensor, mask: Tensor) -> Tensor:
    """The first unmasked token, which under left padding is not position 0."""
    return _pick(h, mask, mask.int().argmax(1))


def last(h: Tensor, mask: Tensor) -> Tensor:
    """The last unmasked token."""
    return _pick(h, mask, h.shape[1] - 1 - mask.flip(1).int().argmax(1))


def _pick(h: Tensor, mask: Tensor, position: Tensor) -> Tensor:
    rows = torch.arange(len(h), device=h.device)
    return _masked(h[rows, position].unsqueeze(1), mask.any(1, keepdim=True)).squeeze(1)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean,
    "cls": cls,
    "max": max_over_time,
    "mean_sqrt": mean_sqrt,
    "weighted_mean": weighted_mean,
    "last": last,
}


def pool(
    token_embeddings: Tensor,
    attention_mask: Tensor,
    modes: Sequence[str],
    skip: int = 0,
    known: Tensor | None = None,
) -> Tensor:
    """(B, T, D), (B, T) -> (B, D * len(modes)), the modes concatenated in the given order, in fp32.

    skip: leave the first ``skip`` real tokens out (a prompt that should be read but not averaged). known: (B, T), 0 at
    further tokens that are left out (words that word vectors do not have).
    """
    mask = attention_mask.bool()
    if skip:
        mask = mask & (mask.cumsum(1) > skip)
    if known is not None:
        mask = mask & known.bool()
    h = token_embeddings.float()  # sums of fp16 lose digits or overflow
    pooled = [
        weighted_mean(h, mask, skip) if mode == "weighted_mean" else POOLINGS[mode](h, mask) for mode in modes
    ]
    return torch.cat(pooled, dim=-1)
