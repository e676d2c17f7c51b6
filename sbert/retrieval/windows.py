"""Passages longer than the encoder's limit: overlapping windows of tokens, each a text of its own, and the passage
scored by the best of them.

    opening, closing = special_tokens(tokenizer)
    windows, owner = cut_all(ids of each passage without special tokens, width, stride, opening, closing)
    vectors, _ = run_batches(model, windows, ...)              # (W, D)
    found = of_passages(exact_search(queries, vectors, k * most_windows(owner)), owner, k)

Shape letters: Q queries, N passages, W windows, D embedding width.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sbert.retrieval.search import Ranking


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after a text, such as [CLS] and [SEP]."""
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    whole = list(tokenizer("a", add_special_tokens=True)["input_ids"])
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return whole[:start], whole[start + len(plain) :]
    raise ValueError(f"this tokenizer changes a text when it adds special tokens: {plain} became {whole}")


def cut(
    ids: Sequence[int],
    width: int,
    stride: int,
    opening: Sequence[int] = (),
    closing: Sequence[int] = (),
) -> list[list[int]]:
    """Token ids of a text, without special tokens -> windows of at most ``width`` tokens with them.

    opening, closing: ids put around every window (special tokens, and a prompt if there is one). stride: tokens from
    the start of a window to the start of the next. The last window ends where the text ends and is as wide as the
    others, so it may overlap more; a text that fits is one window, an empty text one of special tokens alone.
    Raises ValueError when nothing but special tokens fits, or the stride would leave tokens out.
    """
    room = width - len(opening) - len(closing)
    if room < 1:
        raise ValueError(
            f"width {width}: {len(opening) + len(closing)} special tokens leave no room for text"
        )
    if not 1 <= stride <= room:
        raise ValueError(f"stride {stride}: allowed are 1 to {room}, the tokens of text in a window")
    last = max(len(ids) - room, 0)
    starts = [*range(0, last, stride), last]
    return [[*opening, *ids[start : start + room], *closing] for start in starts]


def cut_all(
    texts: Iterable[Sequence[int]],
    width: int,
    stride: int,
    opening: Sequence[int] = (),
    closing: Sequence[int] = (),
) -> tuple[list[list[int]], np.ndarray]:
    """The windows of every text in order, and (W,) the position of the text each belongs to."""
    windows: list[list[int]] = []
    owner: list[int] = []
    for i, ids in enumerate(texts):
        own = cut(ids, width, stride, opening, closing)
        windows += own
        owner += [i] * len(own)
    return windows, np.array(owner, dtype=np.int64)


def most_windows(owner: np.ndarray) -> int:
    """The largest number of windows of one passage: so many times k windows hold k passages at least."""
    return int(np.bincount(owner).max()) if len(owner) else 1


def best_of(scores: np.ndarray, owner: np.ndarray, count: int | None = None) -> np.ndarray:
    """scores: (..., W) of windows -> (..., N): of each passage the highest score of its windows.

    owner: (W,) the passage of each window. count: N, unless the last window's passage is the last one. A passage
    without a window gets -inf.
    """
    if scores.shape[-1:] != owner.shape:
        raise ValueError(f"scores {scores.shape} and owner {owner.shape}: expected (..., W) and (W,)")
    if count is None:
        count = int(owner.max()) + 1 if len(owner) else 0
    out = np.full((count, *scores.shape[:-1]), -np.inf, dtype=scores.dtype)
    np.maximum.at(out, owner, np.moveaxis(scores, -1, 0))
    return np.moveaxis(out, 0, -1)


def of_passages(windows: Ranking, owner: np.ndarray, k: int) -> Ranking:
    """A ranking of windows -> one of passages, each where the best of its windows stands, at most ``k`` a query."""
    out = Ranking([], [])
    for row, scores in zip(windows.ids, windows.scores, strict=True):
        passages, first = np.unique(owner[np.asarray(row, dtype=np.int64)], return_index=True)
        order = np.argsort(first)[:k]
        out.ids.append(passages[order].tolist())
        out.scores.append(scores[first[order]])
    return out
