"""Translation retrieval: is a sentence's nearest sentence of the other language its translation?

accuracy_ko_en   share of Korean sentences whose most similar English sentence (cosine) is their own translation, as the
                 bitext task of Tatoeba counts it (Artetxe and Schwenk 2019, arXiv 1812.10464)
accuracy_en_ko   the other way round
accuracy_mean    the mean of both

A nearest sentence with the right text is right, whichever row it stands in, for sentences repeat; of equal cosines the
first row counts. Both as in sentence-transformers' TranslationEvaluator.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import normalize

ROWS = 1024  # of the similarity matrix at a time


def translation_metrics(
    source: np.ndarray, target: np.ndarray, texts: Sequence[Sequence[str]], language: str
) -> dict[str, float]:
    """source, target: (N, D), row i of one the translation of row i of the other. texts: the same rows, (source text,
    target text). language: "en+ko" names the two sides; any other is "source" and "target"."""
    sides = language.split("+")
    first, second = sides if len(sides) == 2 else ("source", "target")
    there = nearest_is_own(source, target, [pair[1] for pair in texts])
    back = nearest_is_own(target, source, [pair[0] for pair in texts])
    return {
        "accuracy_mean": (there + back) / 2,
        f"accuracy_{first}_{second}": there,
        f"accuracy_{second}_{first}": back,
    }


def nearest_is_own(queries: np.ndarray, candidates: np.ndarray, texts: Sequence[str]) -> float:
    """Share of the queries (N, D) whose nearest of the candidates (N, D) has the text of their own row."""
    q, c = (normalize(torch.from_numpy(x), dim=-1) for x in (queries, candidates))
    best = torch.cat([(part @ c.T).argmax(1) for part in q.split(ROWS)]).tolist()
    return sum(texts[found] == own for found, own in zip(best, texts, strict=True)) / len(texts)
