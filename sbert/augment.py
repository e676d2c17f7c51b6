"""Teacher and student: one encoder labels pairs that nobody has labelled, for another to train on.

Augmented SBERT (Thakur et al. 2021, arXiv 2010.08240): sentences of the gold set are paired anew, by BM25 and by
embedding, because pairs drawn at random are nearly all unrelated; the teacher scores them; the student trains on gold
and silver together. The other way round a bi-encoder's cosines teach a cross-encoder what similarity is. And margins
for distillation on triplets (Hofstätter et al. 2020, arXiv 2010.02666).

Shape letters: N sentences, D embedding width.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sbert.cross_encoder import CrossEncoder
from sbert.model import modelWithPooling
from sbert.pairs import Pair
from sbert.retrieval import BM25, exact_search

SAMPLERS = ("bm25", "embedding", "random")


def unordered(pairs: Iterable[Pair]) -> set[frozenset[str]]:
    """(a, b) and (b, a) are one pair."""
    return {frozenset(pair) for pair in pairs}


def bm25_neighbours(texts: Sequence[str], top_k: int, analyzer: str = "words") -> list[list[int]]:
    """Positions of the ``top_k`` most similar other texts of each text, best first; texts that share no term: none.

    analyzer: "words", or "bigrams", which suit Korean (sbert.retrieval.sparse).
    """
    found = BM25(texts, analyzer).search(texts, top_k + 1)
    return [[j for j in row if j != i][:top_k] for i, row in enumerate(found.ids)]


def embedding_neighbours(vectors: np.ndarray, top_k: int) -> list[list[int]]:
    """The same by cosine of the embeddings (N, D), exact."""
    found = exact_search(vectors, vectors, top_k + 1, "cosine")
    return [[j for j in row if j != i][:top_k] for i, row in enumerate(found.ids)]


def random_neighbours(count: int, top_k: int, seed: int) -> list[list[int]]:
    """``top_k`` other positions of each, drawn at random."""
    if count < 2:
        return [[] for _ in range(count)]
    rng = random.Random(seed)
    return [[(i + rng.randrange(1, count)) % count for _ in range(top_k)] for i in range(count)]


def new_pairs(
    texts: Sequence[str], neighbours: Iterable[Sequence[Sequence[int]]], known: Iterable[Pair]
) -> list[Pair]:
    """Every text with its neighbours: each pair once, in whichever direction it came first, none that is ``known``."""
    seen = unordered(known)
    out: list[Pair] = []
    for lists in neighbours:
        for i, row in enumerate(lists):
            for j in row:
                key = frozenset((texts[i], texts[j]))
                if len(key) == 2 and key not in seen:
                    seen.add(key)
                    out.append((texts[i], texts[j]))
    return out


def margins(
    teacher: CrossEncoder, triplets: Sequence[tuple[str, str, str]], **options: object
) -> list[float]:
    """The teacher's score(anchor, positive) - score(anchor, negative) of each triplet. options: those of predict."""
    pairs = [(a, text) for a, p, n in triplets for text in (p, n)]
    scores = teacher.predict(pairs, **options).reshape(-1, 2)
    return (scores[:, 0] - scores[:, 1]).astype(float).tolist()


def cosines(teacher: modelWithPooling, pairs: Sequence[Pair], **options: Any) -> np.ndarray:
    """(N,) fp32: cosine of both texts' embeddings, each distinct text embedded once. options: those of encode."""
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    row = {text: i for i, text in enumerate(texts)}
    vectors = teacher.encode(texts, normalize=True, **options)
    first, second = (vectors[[row[pair[side]] for pair in pairs]] for side in (0, 1))
    return (first * second).sum(1)
