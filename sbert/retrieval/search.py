"""Exact search: the k passages whose vectors are most like a query's, in memory that does not grow with the corpus.

The order is one and the same whatever the chunk sizes and the machine's matrix product: scores fall, and of equal
scores the earlier passage comes first. A matrix product rounds differently for matrices of different shapes, so the
fp32 product only chooses candidates, all that its error bound cannot rule out, and those are scored again one by one
in fp64. The score of a pair is that number rounded to fp32.

Shape letters: Q queries, N passages, D embedding width.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIMILARITIES = ("cosine", "dot")
UNIT_ROUNDOFF = 2.0**-24  # fp32: the largest relative error of one rounding
SMALLEST, LARGEST = 2.0**-126, 2.0**127  # fp32: what can be held at full precision
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
    once, and once more for their norms unless those are given (``norms_of(passages)``); query_chunk * passage_chunk
    fp32 numbers are held.
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
    found = [(np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)) for _ in range(len(queries))]
    for where in _chunks(len(passages), passage_chunk):
        rows = np.asarray(passages[where])
        single = rows.astype(np.float32, copy=False)
        error = _error(rows.shape[1], float((norms[where] / divisors[where]).max()))
        for some in _chunks(len(queries), query_chunk):
            rough = unit[some] @ single.T  # (Q, N): score / length of the query, nearly
            rough /= divisors[where].astype(np.float32)
            for i, near in enumerate(rough, start=some.start):
                own = lengths[i] if cosine else 1.0
                picked = _candidates(near, k, error, found[i][0] * (own / lengths[i]))
                dots = (np.array(rows[picked], dtype=np.float64) * exact[i]).sum(axis=1)
                scores = (dots / (divisors[where][picked] * own)).astype(np.float32)
                found[i] = _merge(found[i], (scores, picked + where.start), k)
    return Ranking([ids.tolist() for _, ids in found], [scores for scores, _ in found])


def _error(width: int, longest: float) -> float:
    """How far apart the rough and the true score can be: D roundings of the sum, some of the inputs, the division and
    the score itself, each of at most ``longest`` (norm of a passage over its divisor); and what underflows."""
    return (width + 16) * UNIT_ROUNDOFF * longest + width * SMALLEST


def _candidates(near: np.ndarray, k: int, error: float, so_far: np.ndarray) -> np.ndarray:
    """Positions in ``near`` (N,), scores within ``error`` of the true ones, of all that can be among the k best.

    so_far: true scores, falling, of the best among earlier passages.
    """
    least = -np.inf
    if len(near) > k:
        least = float(np.partition(near, len(near) - k)[len(near) - k])
    if len(so_far) == k:
        least = max(least, float(so_far[-1]))
    return np.flatnonzero(near >= least - 2 * error)


def _merge(
    a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two lists of (scores, positions) -> the k best of both, in order."""
    scores, positions = np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])
    order = best(scores, positions, k)
    return scores[order], positions[order]


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
