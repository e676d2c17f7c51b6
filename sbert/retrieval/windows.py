"""Passages longer than the encoder's limit: overlapping windows, each a slice of the text that fits, and the passage
scored by the best of them.

    windows, owner = cut_texts(tokenizer, texts, width=256)     # texts of at most 256 tokens, (W,)
    vectors = model.encode_document(windows)                    # (W, D)
    found = of_passages(exact_search(queries, vectors, k * most_windows(owner)), owner, k)

Shape letters: Q queries, N passages, W windows, D embedding width.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np

from sbert.errors import RunError
from sbert.retrieval.search import Ranking

CHUNK = 1024  # texts a tokenizer call


def cut_texts(
    tokenizer: Any,
    texts: Sequence[str],
    width: int,
    stride: int | None = None,
    *,
    reserve: int = 0,
    lower: bool = False,
) -> tuple[list[str], np.ndarray]:
    """Texts -> windows of at most ``width`` tokens in order, and (W,) int64, the position of the text of each.

    A text that fits is its own window, unchanged. A longer one is cut where a blank stands; inside a word only when
    that word alone is longer than a window. The last window ends where the text ends and is as wide as fits.

    width: tokens, special ones included. stride: tokens from the start of a window to the start of the next (rounded
    up to the next word, never past what was covered); default: half of what a window holds. reserve: tokens kept free,
    for a prompt say. lower: the model lower-cases texts before it tokenizes them.
    Raises RunError when nothing but special tokens fits, the stride would leave tokens out, or a text is too long and
    the tokenizer, written in Python, does not say where its tokens stand.
    """
    special = tokenizer.num_special_tokens_to_add(pair=False)
    room = width - special - reserve
    if room < 1:
        raise RunError(
            f"--max-length {width}: {special} special tokens and {reserve} of the prompt leave no room for text"
        )
    if stride is not None and not 1 <= stride <= room:
        raise RunError(f"--stride {stride}: allowed are 1 to {room}, the tokens of text in a window")
    windows: list[str] = []
    owner: list[int] = []
    for start in range(0, len(texts), CHUNK):
        some = list(texts[start : start + CHUNK])
        found = _tokenize(tokenizer, some, lower)
        for i, text in enumerate(some):
            fits = len(found["input_ids"][i]) <= room
            own = [text] if fits else _cut(tokenizer, text, found, i, room, stride, lower)
            windows += own
            owner += [start + i] * len(own)
    return windows, np.array(owner, dtype=np.int64)


def holding(windows: Sequence[str], answers: Sequence[str]) -> int:
    """Position of the first window that contains one of the answers as it is written; 0 where none does."""
    return next((i for i, text in enumerate(windows) if any(answer in text for answer in answers)), 0)


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
    return best_windows(windows, owner, k)[0]


def best_windows(windows: Ranking, owner: np.ndarray, k: int) -> tuple[Ranking, list[list[int]]]:
    """As of_passages, and of each passage found the position of its best window."""
    out, picked = Ranking([], []), []
    for row, scores in zip(windows.ids, windows.scores, strict=True):
        positions = np.asarray(row, dtype=np.int64)
        passages, first = np.unique(owner[positions], return_index=True)
        order = np.argsort(first)[:k]
        out.ids.append(passages[order].tolist())
        out.scores.append(scores[first[order]])
        picked.append(positions[first[order]].tolist())
    return out, picked


def _tokenize(tokenizer: Any, texts: list[str], lower: bool) -> Any:
    return tokenizer(
        [text.lower() for text in texts] if lower else texts,
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )


def _cut(
    tokenizer: Any, text: str, found: Any, row: int, room: int, stride: int | None, lower: bool
) -> list[str]:
    """The windows of one text too long for ``room`` tokens; ``found[row]`` are its tokens.

    A slice may have more tokens than it had inside the text, where a tokenizer treats the start of a text in its own
    way: then it is cut again with as much less room.
    """
    if found.encodings is None:
        raise RunError(
            f"{text[:40]!r} ... has more than {room} tokens, and this tokenizer, which is written in Python, does "
            "not say where they stand: it cannot be cut into windows"
        )
    encoding = found.encodings[row]
    starts = [start for start, _ in encoding.offsets]
    levels = _breaks(text, starts, encoding.word_ids)
    limit = room
    while limit > 0:
        spans = _spans(len(starts), limit, min(stride or max(room // 2, 1), limit), levels)
        edges = [*starts, len(text)]
        edges[0] = 0
        slices = [text[edges[start] : edges[end]].strip() for start, end in spans]
        windows = [window for window in slices if window] or [""]
        excess = max(len(ids) for ids in _tokenize(tokenizer, windows, lower)["input_ids"]) - room
        if excess <= 0:
            return windows
        limit -= excess
    raise RunError(f"{text[:40]!r} ...: no part of it fits into {room} tokens")


def _breaks(text: str, starts: Sequence[int], words: Sequence[int | None]) -> tuple[list[int], list[int]]:
    """Tokens before which a text may be cut: those after a blank, or that hold the blank before a word; and those
    that begin a word of the tokenizer's, for scripts without blanks."""
    blank: dict[
        int, int
    ] = {}  # where a word begins -> its token, the last one if the blanks have tokens of their own
    for i, start in enumerate(starts):
        word = start
        while word < len(text) and text[word].isspace():
            word += 1
        if word > start or text[start - 1 : start].isspace():
            blank[word] = i
    blank.pop(len(text), None)
    return list(blank.values()), [i for i in range(1, len(starts)) if words[i] != words[i - 1]]


def _spans(count: int, room: int, stride: int, levels: tuple[list[int], list[int]]) -> list[tuple[int, int]]:
    """(first, past the last) token of every window over ``count`` tokens, cut at the first level that allows it."""
    spans, start = [], 0
    while count - start > room:
        end = start + room
        for breaks in levels:
            at = bisect_right(breaks, start + room) - 1
            if at >= 0 and breaks[at] > start:
                end = breaks[at]
                break
        spans.append((start, end))
        start = _next(levels, min(start + stride, end), end)
    return [*spans, (_next(levels, count - room, start), count)]


def _next(levels: tuple[list[int], list[int]], low: int, high: int) -> int:
    """The first place to cut in low..high, which is ``high`` where nothing better is between."""
    for breaks in levels:
        at = bisect_left(breaks, low)
        if at < len(breaks) and breaks[at] <= high:
            return breaks[at]
    return high
