"""Fusion: several rankings of the same passages for the same queries made into one.

By ranks (Cormack, Clarke and Büttcher 2009, reciprocal rank fusion) or by scores (convex combination of min-max scaled
scores; Bruch, Gai and Ingber 2023, arXiv 2210.11934, find it the better one where its weight is chosen on some data).
Equal fused scores put the earlier passage first.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sbert.evaluation.retrieval import retrieval_metrics
from sbert.retrieval.search import Ranking, best

GRID = tuple(i / 20 for i in range(21))  # weights tried: 0, 0.05, ... 1


def reciprocal_rank_fusion(rankings: Sequence[Ranking], k: int = 60, depth: int | None = None) -> Ranking:
    """score(passage) = sum over the lists that hold it of 1 / (k + rank), ranks from 1. Passages of any list.

    k: how little the first ranks stand out (60 in the paper). depth: only so many of each list take part.
    """
    if k < 0:
        raise ValueError(f"k is {k}, it must be at least 0")
    _check(rankings, depth)
    out = Ranking([], [])
    for rows in zip(*(ranking.cut(depth).ids for ranking in rankings), strict=True):
        parts: dict[int, list[float]] = {}
        for row in rows:
            for rank, passage in enumerate(row, start=1):
                parts.setdefault(passage, []).append(1 / (k + rank))
        # fsum does not depend on the order of the lists, so equal sums are equal to the last bit
        _append(out, np.array(list(parts), dtype=np.int64), np.array([math.fsum(p) for p in parts.values()]))
    return out


def convex_combination(a: Ranking, b: Ranking, weight: float, depth: int | None = None) -> Ranking:
    """weight * a + (1 - weight) * b, after each query's scores of a list were scaled to 0..1. Passages of either list.

    A passage that is missing from a list gets that list's lowest score, which is 0 after scaling. A list whose scores
    are all equal, one passage say, scales to 1: what it found is still worth more than what it did not find.
    depth: only so many of each list take part, in the scaling too.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}, allowed are 0 to 1")
    _check([a, b], depth)
    a, b = a.cut(depth), b.cut(depth)
    out = Ranking([], [])
    for a_ids, a_scores, b_ids, b_scores in zip(a.ids, a.scores, b.ids, b.scores, strict=True):
        both = np.array([*a_ids, *b_ids], dtype=np.int64)
        passages, where = np.unique(both, return_inverse=True)
        scores = np.zeros((2, len(passages)))
        scores[0, where[: len(a_ids)]] = _scaled(a_scores)
        scores[1, where[len(a_ids) :]] = _scaled(b_scores)
        _append(out, passages, weight * scores[0] + (1 - weight) * scores[1])
    return out


def best_weight(
    a: Ranking,
    b: Ranking,
    relevant: Sequence[Mapping[int, float]],
    metric: str = "mrr@10",
    grid: Sequence[float] = GRID,
    depth: int | None = None,
) -> tuple[float, dict[float, float]]:
    """The weight of ``grid`` whose convex combination scores highest, and the metric of every weight.

    relevant: of each query, position of a passage -> grade (evaluation.retrieval.relevant_positions). Of equally good
    weights the one nearest to 0.5, of two such the smaller. To be called with dev questions; ``metric`` is a name of
    retrieval_metrics.
    """
    curve: dict[float, float] = {}
    for weight in grid:
        found = retrieval_metrics(convex_combination(a, b, weight, depth).ids, relevant)
        if metric not in found:
            raise ValueError(f"metric {metric!r}: allowed are {', '.join(found)}")
        curve[weight] = found[metric]
    if not curve:
        raise ValueError("the grid of weights is empty")
    return min(curve, key=lambda weight: (-curve[weight], abs(weight - 0.5), weight)), curve


def _scaled(scores: np.ndarray) -> np.ndarray:
    """(N,) -> (N,) fp64: the lowest 0, the highest 1; all 1 where they are equal."""
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        return values
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.ones(len(values))


def _append(out: Ranking, passages: np.ndarray, scores: np.ndarray) -> None:
    order = best(scores, passages, len(passages))
    out.ids.append(passages[order].tolist())
    out.scores.append(scores[order])


def _check(rankings: Sequence[Ranking], depth: int | None) -> None:
    if len({len(ranking) for ranking in rankings}) != 1:
        counts = ", ".join(str(len(ranking)) for ranking in rankings) or "none"
        raise ValueError(f"rankings of {counts} queries: expected one or more, of the same queries")
    if depth is not None and depth < 1:
        raise ValueError(f"depth is {depth}, it must be at least 1")
