"""Teacher and student: a cross-encoder labels pairs that nobody has labelled, for a bi-encoder to train on.

Augmented SBERT (Thakur et al. 2021, arXiv 2010.08240): sentences of the gold set are paired anew, by BM25 and by
embedding, because pairs drawn at random are nearly all unrelated; the teacher scores them; the student trains on gold
and silver together. And margins for distillation on triplets (Hofstätter et al. 2020, arXiv 2010.02666).

Shape letters: N sentences, D embedding width.
"""

import random
import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from sbert.cross_encoder import CrossEncoder
from sbert.errors import RunError
from sbert.pairs import Pair

SAMPLERS = ("bm25", "embedding", "random")


def words(text: str) -> list[str]:
    """Lower-cased runs of letters and digits."""
    return re.findall(r"\w+", text.lower())


def unordered(pairs: Iterable[Pair]) -> set[frozenset[str]]:
    """(a, b) and (b, a) are one pair."""
    return {frozenset(pair) for pair in pairs}


def bm25_neighbours(texts: Sequence[str], top_k: int) -> list[list[int]]:
    """Positions of the ``top_k`` most similar other texts of each text, best first; texts without a shared word: none."""
    try:
        import bm25s
    except ModuleNotFoundError:
        raise RunError("BM25 needs bm25s: pip install bm25s") from None
    tokens = [words(text) for text in texts]
    if not any(tokens):
        return [[] for _ in texts]
    index = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
    index.index(tokens, show_progress=False)
    found, scores = index.retrieve(tokens, k=min(top_k + 1, len(texts)), show_progress=False)
    return [
        [int(j) for j, score in zip(row, values, strict=True) if j != i and score > 0][:top_k]
        for i, (row, values) in enumerate(zip(found, scores, strict=True))
    ]


def embedding_neighbours(vectors: np.ndarray, top_k: int, chunk: int = 1024) -> list[list[int]]:
    """The same by cosine of the embeddings (N, D), exact, ``chunk`` rows of the (N, N) matrix at a time."""
    unit = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=-1)
    out: list[list[int]] = []
    for start in range(0, len(unit), chunk):
        scores = unit[start : start + chunk] @ unit.T
        rows = torch.arange(len(scores))
        scores[rows, rows + start] = -torch.inf
        out += scores.topk(min(top_k, len(unit) - 1), dim=1).indices.tolist()
    return out


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
