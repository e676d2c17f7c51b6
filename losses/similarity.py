"""Row-by-row similarities of two batches of vectors: (B, D), (B, D) -> (B,), always computed in fp32.

Larger means more alike for every measure, so the two distances are negated (SBERT paper, section 4, compares
cosine with negative Manhattan and negative Euclidean distance).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def pairwise_cosine(u: Tensor, v: Tensor) -> Tensor:
    """Cosine of row i of u and row i of v; a zero row gives 0."""
    return (F.normalize(u.float(), dim=-1) * F.normalize(v.float(), dim=-1)).sum(-1)


def pairwise_dot(u: Tensor, v: Tensor) -> Tensor:
    """Dot product of row i of u and row i of v."""
    return (u.float() * v.float()).sum(-1)


def pairwise_euclidean(u: Tensor, v: Tensor) -> Tensor:
    """Negated Euclidean distance of row i of u and row i of v."""
    return -torch.linalg.vector_norm(u.float() - v.float(), dim=-1)


def pairwise_manhattan(u: Tensor, v: Tensor) -> Tensor:
    """Negated Manhattan (L1) distance of row i of u and row i of v."""
    return -(u.float() - v.float()).abs().sum(-1)


PAIRWISE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": pairwise_cosine,
    "euclidean": pairwise_euclidean,
    "manhattan": pairwise_manhattan,
    "dot": pairwise_dot,
}
