"""Fast community detection: groups of texts around a centre that all its members are close to.

    for members in community_detection(model.encode(texts), threshold=0.75, min_size=10): ...

As sentence-transformers' ``util.community_detection``: every text with at least ``min_size`` texts (itself among them)
of cosine ``threshold`` or more could be a centre. They are taken by falling number of neighbours; one that already
belongs to a community is passed over, and neighbours that do are left out; what is still large enough is a community.
Unlike there, the neighbours of all texts are never held at once: they are counted first, and those of a centre are
looked up again when its turn comes, so that a hundred thousand near copies do not fill the memory with pairs.

Shape letters: N texts, D embedding width.
"""

import numpy as np

from sbert.progress import Progress
from sbert.retrieval.search import SHORTEST, norms_of

CHUNK = 1024  # texts whose cosines with all others are held: CHUNK * N fp32 numbers


def community_detection(
    vectors: np.ndarray,
    threshold: float = 0.75,
    min_size: int = 10,
    *,
    chunk: int = CHUNK,
    progress: bool = False,
) -> list[list[int]]:
    """vectors: (N, D) -> communities, largest first, each its centre, then the other members by falling cosine.

    Cosines are fp32 products: one that is within a rounding of the threshold may count or not. Communities of one size
    keep the order in which they were made: more neighbours first, then the earlier centre.
    Raises ValueError for min_size or chunk below 1 and vectors that are not finite.
    """
    for name, value in (("min_size", min_size), ("chunk", chunk)):
        if value < 1:
            raise ValueError(f"{name} is {value}, it must be at least 1")
    unit = (vectors / np.maximum(norms_of(vectors), SHORTEST)[:, None]).astype(np.float32)
    least = np.float32(threshold)
    counts = _neighbour_counts(unit, least, chunk, progress)
    centres = np.flatnonzero(counts >= min_size)
    centres = centres[np.argsort(-counts[centres], kind="stable")]
    used = np.zeros(len(unit), dtype=bool)
    communities = []
    size = max(1, chunk // 8)  # fewer at once: most candidates are members of a community before their turn
    for start in range(0, len(centres), size):
        waiting = centres[start : start + size]
        waiting = waiting[~used[waiting]]
        for centre, cosines in zip(waiting.tolist(), unit[waiting] @ unit.T, strict=True):
            if used[centre]:
                continue
            members = np.flatnonzero((cosines >= least) & ~used)
            if len(members) < min_size:
                continue
            members = members[np.argsort(-cosines[members], kind="stable")]
            communities.append([centre, *members[members != centre].tolist()])
            used[members] = True
            used[centre] = True
    return sorted(communities, key=len, reverse=True)


def _neighbour_counts(unit: np.ndarray, least: np.float32, chunk: int, progress: bool) -> np.ndarray:
    """unit: (N, D) -> (N,): how many cosines of each text, its own with itself among them, reach ``least``."""
    counts = np.zeros(len(unit), dtype=np.int64)
    with Progress(len(unit), "texts", shown=progress) as bar:
        for start in range(0, len(unit), chunk):
            rows = unit[start : start + chunk]
            counts[start : start + len(rows)] = np.count_nonzero(rows @ unit.T >= least, axis=1)
            bar.update(len(rows))
    return counts
