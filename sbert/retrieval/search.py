"""Exact search: the k passages whose vectors are most like a query's, in memory that does not grow with the corpus.

The order is one and the same whatever the chunk sizes and the machine's matrix product: scores fall, and of equal
scores the earlier passage comes first. A matrix product rounds differently for matrices of different shapes, so the
fp32 product only chooses candidates, all that its error bound cannot rule out, and those are scored again one by one
in fp64. The score of a pair is that number rounded to fp32.

Shape letters: Q queries, N passages, D embedding width.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIMILARITIES = ("cosine", "dot")
UNIT_ROUNDOFF = 2.0**-24  # fp32: the largest relative error of one rounding
SMALLEST, LARGEST = 2.0**-126, 2.0**127  # fp32: what can be held at full precision
NEARLY_ONE = 1e-4  # a divisor that differs from 1 by no more is not worth a division
SHORTEST = 1e-12  # cosine divides by no less, as torch's normalize


@dataclass(frozen=True)
class Ranking:
    """ids: per query, the positions of its passages in the corpus, best first. scores: of each, the same length.

    The lists of two queries may differ in length, and a list may be empty.
    """

    ids: list[list[int]]
    scores: list[np.ndarray]

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.ids)

    def cut(self, depth: int | None) -> "Ranking":
        """The first ``depth`` passages of each query (None: all)."""
        return Ranking([row[:depth] for row in self.ids], [row[:depth] for row in self.scores])


def best(scores: np.ndarray, positions: np.ndarray, k: int) -> np.ndarray:
    """scores, positions: (N,) -> indices (min(k, N),) of the k best: scores fall, equal ones by smaller position."""
    if 0 < k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        keep = np.flatnonzero(scores >= least)  # k of them, and whatever ties with the last
    else:
        keep = np.arange(len(scores))
    return keep[np.lexsort((positions[keep], -scores[keep]))[:k]]


def norms_of(vectors: np.ndarray, chunk: int = 4096) -> np.ndarray:
    """vectors: (N, D) -> (N,) fp64 Euclidean norms. Raises ValueError naming a row that is not finite in fp32."""
    norms = np.empty(len(vectors))
    for start in range(0, len(vectors), chunk):
        rows = np.array(vectors[start : start + chunk], dtype=np.float64)
        norms[start : start + len(rows)] = np.sqrt((rows * rows).sum(axis=1))
    good = norms < LARGEST  # not NaN either
    if not good.all():
        raise ValueError(f"vector {int(good.argmin())} is not finite")
    return norms


def exact_search(
    queries: np.ndarray,
    passages: np.ndarray,
    k: int,
    similarity: str = "cosine",
    *,
    query_chunk: int = 256,
    passage_chunk: int = 16384,
    norms: np.ndarray | None = None,
) -> Ranking:
    """queries (Q, D), passages (N, D), arrays or memory maps of any float -> the min(k, N) best passages of each query.

    The scores are fp32; a zero vector has cosine 0 with everything. Passages are read ``passage_chunk`` rows at a time,
    once, and once more for their norms unless those are given (``norms_of(passages)``); then the candidates of each
    query are read again. query_chunk * passage_chunk fp32 numbers are held.
    Raises ValueError for shapes that do not fit, k < 1, an unknown similarity and vectors that are not finite.
    """
    _check(queries, passages, k, similarity, min(query_chunk, passage_chunk))
    norms = norms_of(passages) if norms is None else norms
    if norms.shape != (len(passages),):
        raise ValueError(f"norms {norms.shape} of {len(passages)} passages: expected one each")
    lengths = np.maximum(norms_of(queries), SHORTEST)
    exact = np.array(queries, dtype=np.float64)
    unit = (exact / lengths[:, None]).astype(np.float32)
    cosine = similarity == "cosine"
    divisors = np.maximum(norms, SHORTEST) if cosine else np.ones(len(norms))
    own = lengths if cosine else np.ones(len(lengths))

    def ranked(i: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions of the k best for query i, in order."""
        rows = np.asarray(passages.take(positions, axis=0), dtype=np.float64)  # a copy
        rows *= exact[i]
        scores = (rows.sum(axis=1) / (divisors[positions] * own[i])).astype(np.float32)
        order = best(scores, positions, k)
        return scores[order], positions[order]

    near = _Candidates(len(queries), k)
    for where in _chunks(len(passages), passage_chunk):
        single = np.asarray(passages[where], dtype=np.float32)
        longest, apart = float((norms[where] / divisors[where]).max()), float(abs(divisors[where] - 1).max())
        divided = apart > NEARLY_ONE  # else it is cheaper to allow for the difference than to divide
        near.error = max(near.error, _error(single.shape[1], longest) + (0 if divided else apart * longest))
        for some in _chunks(len(queries), query_chunk):
            rough = unit[some] @ single.T  # (Q, N): score / length of the query, nearly
            if divided:
                rough /= divisors[where].astype(np.float32)
            for i in near.add(rough, some.start, where.start):
                scores, positions = ranked(i, near.positions[i])
                near.replace(i, (scores * (own[i] / lengths[i])).astype(np.float32), positions)
    found = [ranked(i, near.cut(i)) for i in range(len(queries))]
    return Ranking([ids.tolist() for _, ids in found], [scores for scores, _ in found])


def _error(width: int, longest: float) -> float:
    """How far apart the rough and the true score can be: D roundings of the sum, some of the inputs, the division and
    the score itself, each of at most ``longest`` (norm of a passage over its divisor); and what underflows."""
    return (width + 16) * UNIT_ROUNDOFF * longest + width * SMALLEST


class _Candidates:
    """Of each query, the passages so far that can be among its k best, with scores within ``error`` of the true ones."""

    def __init__(self, count: int, k: int) -> None:
        self.k, self.error = k, 0.0
        self.least = np.full(count, -np.inf, dtype=np.float32)  # what k scores reach
        self.scores = [np.empty(0, dtype=np.float32)] * count
        self.positions = [np.empty(0, dtype=np.int64)] * count

    def add(self, rough: np.ndarray, first_query: int, first_passage: int) -> list[int]:
        """rough: (Q, N). Returns the queries for which so many scores are alike that better ones have to be found."""
        some, width = slice(first_query, first_query + len(rough)), rough.shape[1]
        if first_passage == 0:
            self.least[some] = reached(rough, self.k)
        flat = np.flatnonzero(rough >= self.least[some, None] - 2 * self.error)
        scores, positions = rough.ravel()[flat], flat % width + first_passage
        ends = np.searchsorted(flat, np.arange(len(rough) + 1) * width).tolist()
        alike = []
        for i, (start, end) in enumerate(itertools.pairwise(ends), start=first_query):
            if start == end:
                continue
            self.scores[i] = np.concatenate([self.scores[i], scores[start:end]])
            self.positions[i] = np.concatenate([self.positions[i], positions[start:end]])
            if len(self.scores[i]) > 2 * self.k and len(self.cut(i)) > 4 * self.k + 1000:
                alike.append(i)
        return alike

    def cut(self, i: int) -> np.ndarray:
        """Leaves out what is certainly worse than k others; the positions that remain."""
        last = len(self.scores[i]) - self.k
        if last > 0:
            self.least[i] = np.partition(self.scores[i], last)[last]
            keep = self.scores[i] >= self.least[i] - 2 * self.error
            self.scores[i], self.positions[i] = self.scores[i][keep], self.positions[i][keep]
        return self.positions[i]

    def replace(self, i: int, scores: np.ndarray, positions: np.ndarray) -> None:
        """The k best of query i, in order."""
        self.scores[i], self.positions[i] = scores, positions
        self.least[i] = scores[-1]


def reached(rough: np.ndarray, k: int) -> np.ndarray:
    """(Q, N) -> (Q,): what at least k scores of each row reach, nearly the k-th largest, without sorting the row: the
    k-th largest of the largest of 4k groups; -inf for a row too short to have groups."""
    groups = 4 * k
    size = rough.shape[1] // groups
    if size < 2:
        return np.full(len(rough), -np.inf, dtype=np.float32)
    largest = rough[:, : size * groups].reshape(len(rough), size, groups).max(axis=1)
    return np.partition(largest, groups - k, axis=1)[:, groups - k]


def _chunks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _check(queries: np.ndarray, passages: np.ndarray, k: int, similarity: str, chunk: int) -> None:
    if queries.ndim != 2 or passages.ndim != 2 or queries.shape[1] != passages.shape[1]:
        raise ValueError(f"queries {queries.shape} and passages {passages.shape}: expected (Q, D) and (N, D)")
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity {similarity!r}: allowed are {', '.join(SIMILARITIES)}")
    if k < 1:
        raise ValueError(f"k is {k}, it must be at least 1")
    if chunk < 1:
        raise ValueError(f"a chunk of {chunk} rows: it must be at least 1")
