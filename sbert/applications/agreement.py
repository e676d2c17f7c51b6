"""How well what was found agrees with what is known: clusters with classes, mined pairs with labelled ones.

V-measure, in which MTEB reports clustering: Rosenberg and Hirschberg 2007: homogeneity, 1 - H(class | cluster) / H(class), asks that a cluster hold one class;
completeness, 1 - H(cluster | class) / H(cluster), that a class lie in one cluster; V is their harmonic mean.
"""

from collections.abc import Collection, Hashable, Iterable, Sequence

import numpy as np


def v_measure(classes: Sequence[Hashable], clusters: Sequence[Hashable]) -> dict[str, float]:
    """{"homogeneity", "completeness", "v_measure"} in 0..1. One class (or one cluster) is homogeneous (complete).

    Raises ValueError when the two differ in length.
    """
    if len(classes) != len(clusters):
        raise ValueError(f"{len(classes)} classes and {len(clusters)} clusters: expected one each a text")
    if not len(classes):
        return {"homogeneity": 1.0, "completeness": 1.0, "v_measure": 1.0}
    rows, columns = _numbered(classes), _numbered(clusters)
    counts = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(counts, (rows, columns), 1)
    both, of_class, of_cluster = _entropy(counts), _entropy(counts.sum(1)), _entropy(counts.sum(0))
    homogeneity = max(0.0, 1 - (both - of_cluster) / of_class) if of_class else 1.0
    completeness = max(0.0, 1 - (both - of_class) / of_cluster) if of_cluster else 1.0
    total = homogeneity + completeness
    v = 2 * homogeneity * completeness / total if total > 0 else 0.0
    return {"homogeneity": float(homogeneity), "completeness": float(completeness), "v_measure": float(v)}


def average_precision(
    pairs: Iterable[tuple[int, int]], gold: Collection[tuple[int, int]]
) -> dict[str, float]:
    """{"average_precision", "recall"} of pairs, best first: the mean, over the gold pairs, of the precision of the list up
    to each (0 for one that is not in it), as in sentence-transformers' ParaphraseMiningEvaluator.

    Raises ValueError where there are no gold pairs.
    """
    if not gold:
        raise ValueError("no gold pairs: average precision is the mean over them")
    hits, total = 0, 0.0
    for taken, pair in enumerate(pairs, start=1):
        if pair in gold:
            hits += 1
            total += hits / taken
    return {"average_precision": total / len(gold), "recall": hits / len(gold)}


def _numbered(names: Sequence[Hashable]) -> np.ndarray:
    """Names as numbers 0, 1, ... in the order of their first appearance."""
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(name, len(number)) for name in names])


def _entropy(counts: np.ndarray) -> float:
    """In nats, of counts of any shape."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
