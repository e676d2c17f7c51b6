"""Which words translate which: IBM Model 1 on parallel sentences (Brown et al. 1993, Computational Linguistics 19(2)).

A word f of one language is produced by a word e of the other, or by nothing, with probability t(f | e), wherever the two
stand in their sentences. Expectation maximisation from equal probabilities; Model 1 has one maximum, so no luck is needed.
"""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

NOTHING = 1  # an extra word at the head of every sentence, which explains what no other word does
ROUNDS = 5


def translation_table(
    given: Sequence[Sequence[int]],
    produced: Sequence[Sequence[int]],
    sizes: tuple[int, int],
    rounds: int = ROUNDS,
) -> csr_matrix:
    """(words given, words produced): t(f | e), rows sum to 1, or are empty for words that never occur.

    given, produced: ids of the words of both sides, one list a sentence pair. sizes: how many ids there are of each.
    """
    width = sizes[1]
    links, heads, start = (
        [],
        [],
        0,
    )  # (e, f) as one number, and the place in the text of the f that it explains
    for e, f in zip(given, produced, strict=True):
        if not len(e) or not len(f):
            continue
        words = np.append(np.asarray(e, dtype=np.int64), sizes[0])  # the last is NOTHING
        links.append((words[:, None] * width + np.asarray(f, dtype=np.int64)[None, :]).ravel())
        heads.append(np.tile(np.arange(start, start + len(f)), len(words)))
        start += len(f)
    if not links:
        return csr_matrix(sizes)
    pairs, link = np.unique(np.concatenate(links), return_inverse=True)
    head = np.concatenate(heads)
    giver, told = pairs // width, pairs % width
    probability = np.full(len(pairs), 1.0)
    for _ in range(rounds):
        share = probability[link]
        share /= np.bincount(head, share, minlength=start)[head]  # of each f, which e it is due to
        expected = np.bincount(link, share, minlength=len(pairs))
        probability = expected / np.bincount(giver, expected)[giver]
    full = coo_matrix((probability, (giver, told)), shape=(sizes[0] + NOTHING, width))
    return full.tocsr()[: sizes[0]]


def both_ways(
    first: Sequence[Sequence[int]], second: Sequence[Sequence[int]], sizes: tuple[int, int]
) -> csr_matrix:
    """(words of first, words of second): t(f | e) t(e | f), rows scaled to sum to 1.

    One direction alone gives a rare word every frequent word it ever stood beside; the product wants both to agree.
    """
    there = translation_table(first, second, sizes)
    back = translation_table(second, first, (sizes[1], sizes[0]))
    product = there.multiply(back.T).tocsr()
    total = np.asarray(product.sum(axis=1)).ravel()
    scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    return csr_matrix(product.multiply(scale[:, None]))
