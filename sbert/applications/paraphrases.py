"""Paraphrase mining: of all pairs of N texts the most alike, without ever holding all pairs.

    first, second, scores = paraphrase_mining(model.encode(texts), top_k=100, max_pairs=500_000)

As sentence-transformers' ``util.paraphrase_mining_embeddings``: every text proposes the ``top_k`` others that are most
like it, and of all proposals the ``max_pairs`` best stay. A text with many near copies is why there is a top_k: without
it they alone would fill the list. The memory is that of the vectors, a block of scores and the pairs that stay,
whatever N. Where scores are equal the pair that comes first in (first, second) is better, so that the answer does not
depend on chunk sizes.

Shape letters: N texts, D embedding width, P pairs.
"""

from typing import NamedTuple

import numpy as np

from sbert.progress import Progress
from sbert.retrieval.search import best, exact_search, norms_of

QUERY_CHUNK = 2048  # texts whose neighbours are looked for before the list of pairs is cut again


class Pairs(NamedTuple):
    """Pairs of texts, best first. first, second: (P,) positions; scores: (P,)."""

    first: np.ndarray
    second: np.ndarray
    scores: np.ndarray


def paraphrase_mining(
    vectors: np.ndarray,
    top_k: int = 100,
    max_pairs: int = 500_000,
    similarity: str = "cosine",
    *,
    query_chunk: int = QUERY_CHUNK,
    progress: bool = False,
) -> Pairs:
    """vectors: (N, D) -> at most max_pairs pairs with first < second, each once, scores fp32 and falling.

    Raises ValueError for top_k, max_pairs or query_chunk below 1, an unknown similarity, vectors that are not finite.
    """
    for name, value in (("top_k", top_k), ("max_pairs", max_pairs), ("query_chunk", query_chunk)):
        if value < 1:
            raise ValueError(f"{name} is {value}, it must be at least 1")
    found = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    norms = norms_of(vectors)
    with Progress(len(vectors), "texts", shown=progress) as bar:
        for start in range(0, len(vectors), query_chunk):
            queries = vectors[start : start + query_chunk]
            ranking = exact_search(queries, vectors, top_k + 1, similarity, norms=norms)
            proposed = _proposals(ranking.ids, ranking.scores, start, top_k)
            joined = Pairs(*(np.concatenate(columns) for columns in zip(found, proposed, strict=True)))
            found = _best_pairs(joined, len(vectors), max_pairs)
            bar.update(len(queries))
    return found


def _proposals(ids: list[list[int]], scores: list[np.ndarray], start: int, top_k: int) -> Pairs:
    """Of every row its top_k neighbours without itself, as pairs with the earlier text first. start: of the first row."""
    counts = [len(row) for row in ids]
    own = np.repeat(np.arange(start, start + len(ids)), counts)
    others = np.concatenate([np.asarray(row, dtype=np.int64) for row in ids])
    flat = np.concatenate(scores)
    kept = own != others
    own, others, flat = own[kept], others[kept], flat[kept]
    # itself may be missing from the top_k + 1 where there are more copies of it than that: then the last one goes
    starts = np.searchsorted(own, own)  # where the row of each proposal begins
    kept = np.arange(len(own)) - starts < top_k
    own, others, flat = own[kept], others[kept], flat[kept]
    return Pairs(np.minimum(own, others), np.maximum(own, others), flat)


def _best_pairs(pairs: Pairs, count: int, max_pairs: int) -> Pairs:
    """Each pair once, the max_pairs best, in order. A pair that both its texts propose has one score both times."""
    _, once = np.unique(pairs.first * count + pairs.second, return_index=True)  # by (first, second)
    order = once[best(pairs.scores[once], np.arange(len(once)), max_pairs)]
    return Pairs(pairs.first[order], pairs.second[order], pairs.scores[order])
