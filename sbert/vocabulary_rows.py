"""First embeddings of words that are new to an encoder, made of the embeddings of words that it knows.

    pieces          the mean of the known pieces a new word falls into, letters that are not known left out
    translations    the words that translate it, each as likely as parallel text says (sbert/word_alignment.py; the way of
                    RAMEN, Tran 2020, arXiv 2002.07306); of words that are not in that text, pieces
    random          drawn like the known rows: same mean and spread in every dimension

Words that nothing is known of are drawn at random whatever is asked for. No two new rows are the same: words of the same
pieces are told apart by a little noise.

Shape letters: V words known, N words new, D embedding width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

INITS = ("pieces", "translations", "random")
NOISE = 0.1  # of the spread of the known rows


@dataclass(frozen=True)
class NewRows:
    """rows: (N, D) fp32. made: how many were made in which way."""

    rows: np.ndarray
    made: dict[str, int]


def pieces_of(word: str, known: Mapping[str, int], inside: bool, prefix: str = "##") -> list[int]:
    """Ids of the longest known pieces of a word from its left; a letter that no piece begins with is left out.

    inside: the word is the rest of a longer one, so that its first piece is one with the prefix as well.
    """
    found, start = [], 0
    while start < len(word):
        mark = prefix if inside or start else ""
        ends = (end for end in range(len(word), start, -1) if mark + word[start:end] in known)
        end = next(ends, None)
        if end is not None:
            found.append(known[mark + word[start:end]])
        start = end or start + 1
    return found


def new_rows(
    table: np.ndarray,
    pieces: Sequence[Sequence[int]],
    translations: csr_matrix | None,
    init: str,
    seed: int,
) -> NewRows:
    """table: (V, D), the known rows. pieces: of each new word the ids it falls into. translations: (N, V), rows that sum
    to 1 or are empty; needed for ``translations`` alone."""
    if init not in INITS:
        raise ValueError(f"init {init!r}: allowed are {', '.join(INITS)}")
    if init == "translations" and translations is None:
        raise ValueError("init 'translations' needs the translations")
    random = np.random.default_rng(seed)
    mean, spread = table.mean(0), table.std(0)
    drawn = random.standard_normal((len(pieces), table.shape[1]))
    rows = (mean + spread * drawn).astype(np.float32)
    made = dict.fromkeys(INITS, 0)
    translated = translations @ table if translations is not None and init == "translations" else None
    for i, own in enumerate(pieces):
        how = "random"
        if translated is not None and translations is not None and translations[i].nnz:
            how, rows[i] = "translations", translated[i]
        elif own and init != "random":
            how, rows[i] = "pieces", table[list(own)].mean(0)
        if how != "random":
            rows[i] += NOISE * spread * drawn[i]
        made[how] += 1
    return NewRows(rows, {name: count for name, count in made.items() if count})
