"""Clustering: every text in one of K groups. k-means by hand, agglomerative clustering by scipy.

    labels = k_means(model.encode(texts, normalize=True), 10).labels
    labels = agglomerative(model.encode(texts, normalize=True), threshold=1.5)

Groups of a size nobody knows, with most texts in none: sbert/applications/communities.py.
Shape letters: N texts, D embedding width, K clusters.
"""

from typing import NamedTuple

import numpy as np

RESTARTS, ITERATIONS = 4, 300
CHUNK = 8192  # texts whose distances to the centres are held at once
LINKAGES = ("ward", "average", "complete", "single")
MOST = 20_000  # texts of agglomerative clustering: it holds all N * (N - 1) / 2 distances, 1.6 GB of them


class Clusters(NamedTuple):
    """labels: (N,) 0..K-1. centres: (K, D) fp64. inertia: sum of the squared distances to the own centre."""

    labels: np.ndarray
    centres: np.ndarray
    inertia: float


def k_means(
    vectors: np.ndarray,
    clusters: int,
    seed: int = 0,
    *,
    restarts: int = RESTARTS,
    iterations: int = ITERATIONS,
    start: np.ndarray | None = None,
) -> Clusters:
    """Lloyd's algorithm from k-means++ centres (Arthur and Vassilvitskii 2007), the best of ``restarts`` by inertia.

    vectors: (N, D). start: (K, D) centres to begin with, instead of drawn ones. Raises ValueError for K outside 1..N.
    """
    if not 1 <= clusters <= len(vectors):
        raise ValueError(f"{clusters} clusters of {len(vectors)} texts: allowed are 1 to {len(vectors)}")
    vectors = np.asarray(vectors, dtype=np.float64)
    draw = np.random.default_rng(seed)
    if start is not None:
        return _lloyd(vectors, np.array(start, dtype=np.float64), iterations)
    runs = (_lloyd(vectors, _spread_out(vectors, clusters, draw), iterations) for _ in range(restarts))
    return min(runs, key=lambda run: run.inertia)


def _lloyd(vectors: np.ndarray, centres: np.ndarray, iterations: int) -> Clusters:
    """Each text to its nearest centre, each centre to the mean of its texts, until no text moves."""
    labels, squared = _nearest(vectors, centres)
    for _ in range(iterations):
        counts = np.bincount(labels, minlength=len(centres))
        for empty in np.flatnonzero(counts == 0):  # the text worst served so far begins a cluster of its own
            far = int(np.where(counts[labels] > 1, squared, -1.0).argmax())
            counts[labels[far]] -= 1
            labels[far], squared[far], counts[empty] = empty, 0.0, 1
        sums = np.zeros_like(centres)
        np.add.at(sums, labels, vectors)
        centres = sums / counts[:, None]
        before = labels
        labels, squared = _nearest(vectors, centres)
        if (labels == before).all():
            break
    return Clusters(labels, centres, float(squared.sum()))


def _nearest(vectors: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the nearest centre of each text, of equal ones the first, and (N,) the squared distance to it."""
    labels, squared = np.empty(len(vectors), np.int64), np.empty(len(vectors))
    lengths = (centres * centres).sum(axis=1)
    for begin in range(0, len(vectors), CHUNK):
        rows = vectors[begin : begin + CHUNK]
        distances = lengths - 2 * rows @ centres.T + (rows * rows).sum(axis=1)[:, None]
        where = slice(begin, begin + len(rows))
        labels[where] = distances.argmin(axis=1)
        squared[where] = distances.min(axis=1).clip(min=0)
    return labels, squared


def _spread_out(vectors: np.ndarray, clusters: int, draw: np.random.Generator) -> np.ndarray:
    """k-means++: the first centre is any text, each further one a text drawn by its squared distance to the nearest."""
    centres = [vectors[draw.integers(len(vectors))]]
    squared = ((vectors - centres[0]) ** 2).sum(axis=1)
    for _ in range(1, clusters):
        total = squared.sum()
        # all texts lie on centres already: then any will do
        chosen = draw.choice(len(vectors), p=squared / total) if total > 0 else draw.integers(len(vectors))
        centres.append(vectors[chosen])
        squared = np.minimum(squared, ((vectors - centres[-1]) ** 2).sum(axis=1))
    return np.array(centres)


def agglomerative(
    vectors: np.ndarray,
    clusters: int | None = None,
    threshold: float | None = None,
    linkage: str = "ward",
) -> np.ndarray:
    """(N, D) -> (N,) labels in the order of their first text. Pairs of clusters are joined, the closest first, until
    ``clusters`` are left or none are closer than ``threshold`` (in the distance of the linkage, Euclidean between texts).

    Raises ValueError unless exactly one of the two is given, for an unknown linkage, and for more than MOST texts.
    """
    if (clusters is None) == (threshold is None):
        raise ValueError("agglomerative clustering takes a number of clusters or a threshold, one of the two")
    if linkage not in LINKAGES:
        raise ValueError(f"linkage {linkage!r}: allowed are {', '.join(LINKAGES)}")
    if len(vectors) > MOST:
        raise ValueError(f"{len(vectors):,} texts: agglomerative clustering takes at most {MOST:,}")
    if clusters is not None and not 1 <= clusters <= len(vectors):
        raise ValueError(f"{clusters} clusters of {len(vectors)} texts: allowed are 1 to {len(vectors)}")
    if len(vectors) < 2:
        return np.zeros(len(vectors), dtype=np.int64)
    from scipy.cluster import hierarchy

    tree = hierarchy.linkage(np.asarray(vectors, dtype=np.float64), linkage)
    if clusters is not None:
        return _by_first(hierarchy.cut_tree(tree, n_clusters=clusters)[:, 0])
    return _by_first(hierarchy.fcluster(tree, threshold, "distance"))


def _by_first(labels: np.ndarray) -> np.ndarray:
    """The same groups, numbered in the order of their first text."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]
