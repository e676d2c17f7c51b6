"""Reranking: MRR@k, nDCG@k and MAP of each query's documents put into the order of their scores.

Order: scores fall; of documents with equal scores the one listed later comes first. Positives are listed first, so
they lose ties, and a model that gives every document the same score earns as little as it can. All metrics follow
this one order. sentence-transformers differs where scores tie, and nowhere else: its MRR leaves the order of equals
to a sort that is not stable, its nDCG averages over their orders, and its average precision takes them as one group
(the latter two by scikit-learn).

A document is relevant where its relevance is above 0; only nDCG looks at the grade.
"""

from collections.abc import Sequence

import numpy as np


def rank_metrics(ranked: np.ndarray | Sequence[float], k: int = 10) -> dict[str, float]:
    """ranked: (N,) relevance of one query's documents, first rank first -> mrr@k, ndcg@k, map and map@k.

    mrr@k   1 / rank of the first relevant document, 0 where that rank is above k
    ndcg@k  sum over ranks r <= k of relevance / log2(r + 1), over the same sum for the best possible order
    map     mean over all relevant documents of the precision at their rank
    map@k   sum of those precisions over ranks <= k, divided by min(k, number of relevant documents)

    All are 0 where no document is relevant.
    """
    if k < 1:
        raise ValueError(f"k is {k}, it must be at least 1")
    gains = np.asarray(ranked, dtype=np.float64)
    hit = gains > 0
    if not hit.any():
        return dict.fromkeys((f"mrr@{k}", f"ndcg@{k}", "map", f"map@{k}"), 0.0)
    ranks = np.arange(1, len(gains) + 1)
    first = int(ranks[hit][0])
    precision = np.where(hit, hit.cumsum() / ranks, 0.0)
    discount = 1 / np.log2(ranks[:k] + 1)
    ideal = np.sort(gains)[::-1]
    return {
        f"mrr@{k}": 1 / first if first <= k else 0.0,
        f"ndcg@{k}": float(gains[:k] @ discount / (ideal[:k] @ discount)),
        "map": float(precision.sum() / hit.sum()),
        f"map@{k}": float(precision[:k].sum() / min(k, hit.sum())),
    }


def reranking_metrics(
    scores: Sequence[np.ndarray],
    relevance: Sequence[np.ndarray],
    retrieved: Sequence[int | None],
    *,
    k: int = 10,
    always_rerank_positives: bool = True,
) -> dict[str, float]:
    """scores, relevance: per query (N_i,), one number per document -> the means of rank_metrics over all queries.

    retrieved: per query, how many leading documents an earlier stage found, in its order (those after them are
    positives that it missed), or None where there was no earlier stage. Where it is given:
    - the same metrics of the incoming order, named base_*, are averaged over the queries that have one. The missed
      positives stand at its end; the base is 0 for a query of which no positive was retrieved.
    - always_rerank_positives=True ranks all documents, listed positives first; False ranks the retrieved documents
      alone, as listed. A query without a positive among them scores 0, and the ideal order of nDCG and the
      denominator of MAP know the retrieved positives only.

    Raises ValueError for no queries, shapes that differ, numbers that are not finite, a negative relevance, and a
    `retrieved` above N_i or with documents after it that are not relevant.
    """
    if not len(scores) == len(relevance) == len(retrieved):
        raise ValueError(
            f"{len(scores)} scores, {len(relevance)} relevance and {len(retrieved)} retrieved: not one per query"
        )
    if not len(scores):
        raise ValueError("no queries to rank")
    reranked: list[dict[str, float]] = []
    base: list[dict[str, float]] = []
    for query, (row, grades, count) in enumerate(zip(scores, relevance, retrieved, strict=True)):
        row, grades = _checked(query, row, grades, count)
        if count is not None:
            found = bool((grades[:count] > 0).any())
            base.append(rank_metrics(grades if found else np.zeros(0), k))
            listed = _positives_first(grades) if always_rerank_positives else np.arange(count)
            row, grades = row[listed], grades[listed]
        reranked.append(rank_metrics(grades[_ranking(row)], k))
    return _means(reranked) | {f"base_{name}": value for name, value in _means(base).items()}


def _ranking(scores: np.ndarray) -> np.ndarray:
    """scores: (N,) -> (N,) positions in the order of the ranking; equal scores: the later position first."""
    return np.argsort(scores, kind="stable")[::-1]


def _positives_first(relevance: np.ndarray) -> np.ndarray:
    """relevance: (N,) -> (N,) positions: the relevant documents, then the others, each in the order given."""
    return np.argsort(relevance <= 0, kind="stable")


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each metric over the rows; empty without rows."""
    return {name: float(np.mean([row[name] for row in rows])) for name in (rows[0] if rows else ())}


def _checked(
    query: int, scores: np.ndarray, relevance: np.ndarray, retrieved: int | None
) -> tuple[np.ndarray, np.ndarray]:
    scores, relevance = np.asarray(scores, dtype=np.float64), np.asarray(relevance, dtype=np.float64)
    where = f"query {query}"
    if scores.shape != relevance.shape or scores.ndim != 1:
        raise ValueError(
            f"{where}: scores {scores.shape} and relevance {relevance.shape} must be two lists of one length"
        )
    if not np.isfinite(scores).all():
        raise ValueError(f"{where}: the score of document {int(np.isfinite(scores).argmin())} is not finite")
    wrong = relevance[~(np.isfinite(relevance) & (relevance >= 0))]
    if len(wrong):
        raise ValueError(f"{where}: relevance {wrong[0]} is not a number >= 0")
    if retrieved is not None and not 0 <= retrieved <= len(scores):
        raise ValueError(f"{where}: retrieved is {retrieved}, allowed are 0..{len(scores)}")
    if retrieved is not None and not (relevance[retrieved:] > 0).all():
        raise ValueError(f"{where}: a document after the {retrieved} retrieved ones is not relevant")
    return scores, relevance
