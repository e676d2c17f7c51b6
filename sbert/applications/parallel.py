"""Parallel-sentence mining (bitext mining): which text of one language translates which of the other.

    found = mine_parallel(model.encode(korean), model.encode(english))

Artetxe and Schwenk 2019 (arXiv 1811.01136), the "ratio" margin: cosine alone does not compare across texts, since some
have many close neighbours and others none, so it is divided by the mean cosine of both texts to their k nearest
neighbours in the other language:

    score(x, y) = cos(x, y) / ((mean_k cos(x, its neighbours) + mean_k cos(y, its neighbours)) / 2)

Every text proposes its best partner, from either side; the proposals are taken by falling score, one to one. This is
what sentence-transformers' bucc2018.py does, with exact search.

Shape letters: S source texts, T target texts, D embedding width, k neighbours.
"""

from collections.abc import Collection

import numpy as np

from sbert.applications.paraphrases import Pairs
from sbert.retrieval.search import exact_search

NEIGHBOURS = 4  # as in the paper


def mine_parallel(
    source: np.ndarray, target: np.ndarray, k: int = NEIGHBOURS, threshold: float = 1.0
) -> Pairs:
    """source (S, D), target (T, D) -> pairs (source, target) of score at least ``threshold``, best first, every text in
    at most one. Equal scores: the earlier source, then the earlier target, goes first.

    Where the mean of the neighbours is not above 0 a ratio means nothing, and the pair is left out.
    Raises ValueError as exact_search.
    """
    if not len(source) or not len(target):
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    there, back = _neighbours(source, target, k), _neighbours(target, source, k)
    s, t, score = _proposals(there, back)
    t_back, s_back, score_back = _proposals(back, there)
    s, t, score = (
        np.concatenate([s, s_back]),
        np.concatenate([t, t_back]),
        np.concatenate([score, score_back]),
    )
    chosen, used_s, used_t = [], set[int](), set[int]()
    for i in np.lexsort((t, s, -score)).tolist():
        if score[i] < threshold:
            break
        if s[i] not in used_s and t[i] not in used_t:
            used_s.add(int(s[i]))
            used_t.add(int(t[i]))
            chosen.append(i)
    return Pairs(s[chosen], t[chosen], score[chosen])


def _neighbours(queries: np.ndarray, corpus: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(Q, D), (N, D) -> positions and cosines, (Q, min(k, N)) each."""
    found = exact_search(queries, corpus, k)
    return np.array(found.ids), np.array(found.scores, dtype=np.float64)


def _proposals(
    there: tuple[np.ndarray, np.ndarray], back: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each query the neighbour with the best margin: (positions of the queries, of the neighbours, scores)."""
    ids, cosines = there
    mean = (cosines.mean(axis=1)[:, None] + back[1].mean(axis=1)[ids]) / 2
    scores = np.full_like(cosines, -np.inf)
    np.divide(cosines, mean, out=scores, where=mean > 0)
    rows, chosen = np.arange(len(ids)), scores.argmax(axis=1)
    return rows, ids[rows, chosen], scores[rows, chosen]


def parallel_metrics(found: Pairs, gold: Collection[tuple[int, int]]) -> dict[str, float]:
    """Precision, recall and F1 of the pairs found, and the best F1 that any threshold above theirs gives, with it.

    best_f1 is chosen on the answers it is measured with: a figure to report comes from a threshold chosen elsewhere.
    best_threshold lies halfway between the last pair it lets in and the first it does not, as in bucc2018.py.
    """
    right = np.array([pair in gold for pair in zip(found.first.tolist(), found.second.tolist(), strict=True)])
    hits = np.cumsum(right) if len(right) else np.zeros(1)
    taken = np.arange(1, len(hits) + 1)
    f1 = 2 * hits / (taken + len(gold))  # at every length of the list
    top = int(f1.argmax())
    scores = found.scores if len(right) else np.zeros(1)
    return {
        "precision": float(hits[-1] / max(len(right), 1)),
        "recall": float(hits[-1] / max(len(gold), 1)),
        "f1": float(f1[-1]),
        "best_f1": float(f1[top]),
        "best_threshold": float((scores[top] + scores[min(top + 1, len(scores) - 1)]) / 2),
    }
