"""Triplet objective (SBERT paper, section 3): ``max(d(a, p) - d(a, n) + margin, 0)``, Euclidean, margin 1."""

from torch import Tensor

from losses.similarity import PAIRWISE


def triplet_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, margin: float = 1.0, distance: str = "euclidean"
) -> Tensor:
    """Mean over the batch of ``relu(d(a, p) - d(a, n) + margin)``; anchor, positive, negative: (B, D).

    distance: "euclidean" (the paper), "manhattan" or "cosine" (1 - cosine).
    """
    if distance not in ("euclidean", "manhattan", "cosine"):
        raise ValueError(f"distance {distance!r}: allowed are 'euclidean', 'manhattan', 'cosine'")
    similarity = PAIRWISE[distance]  # a distance, negated (or cosine = 1 - distance): the constants cancel
    return (similarity(anchor, negative) - similarity(anchor, positive) + margin).relu().mean()
