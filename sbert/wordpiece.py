"""Learning WordPiece tokens from text: letters, then the pair that stands together most often, merged, again and again.

That is byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909) on letters that know whether they begin a word, and
what the trainer of the tokenizers library does for WordPiece. That one breaks ties by the order of a hash table, so that
two of its runs differ; here the pair that comes first in the alphabet goes first, and the same text gives the same tokens.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

Pair = tuple[str, str]


def count_words(texts: Iterable[str], normalizer: object, pre_tokenizer: object) -> Counter[str]:
    """How often each word occurs, in texts normalized and cut as a tokenizer's parts do it (None: white space)."""
    counts: Counter[str] = Counter()
    for text in texts:
        plain = normalizer.normalize_str(text) if normalizer else text  # type: ignore[attr-defined]
        if pre_tokenizer:
            counts.update(word for word, _ in pre_tokenizer.pre_tokenize_str(plain))  # type: ignore[attr-defined]
        else:
            counts.update(plain.split())
    return counts


def learn_wordpieces(
    words: Mapping[str, int], size: int, min_frequency: int = 2, prefix: str = "##"
) -> list[str]:
    """At most ``size`` tokens: every letter, and marked where it stands inside a word; then merges, most frequent first.

    words: how often each occurs. min_frequency: of a letter, and of a pair to be merged. Letters are kept even where they
    alone are more than ``size``, since a word with an unknown letter is unknown as a whole.
    """
    spelled = [[word[0], *(prefix + letter for letter in word[1:])] for word in words]
    counts = list(words.values())
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    known = {letter for letter, count in letters.items() if count >= min_frequency}
    inside = {prefix + letter for word in words for letter in word[1:] if letter in known}
    tokens = dict.fromkeys([*sorted(known), *sorted(inside)])
    frequency: Counter[Pair] = Counter()
    where: dict[Pair, set[int]] = defaultdict(set)
    for i, units in enumerate(spelled):
        for pair in pairwise(units):
            frequency[pair] += counts[i]
            where[pair].add(i)
    heap = [(-count, pair) for pair, count in frequency.items()]
    heapq.heapify(heap)
    while heap and len(tokens) < size:
        negative, pair = heapq.heappop(heap)
        if -negative != frequency[pair]:  # it has changed since it was put there, and stands there again
            continue
        if frequency[pair] < min_frequency:
            break
        merged = pair[0] + pair[1].removeprefix(prefix)
        tokens[merged] = None
        changed: set[Pair] = set()
        for i in where.pop(pair):
            changed |= _merge(spelled, i, pair, merged, counts[i], frequency, where)
        for other in sorted(changed):
            if frequency[other] > 0:
                heapq.heappush(heap, (-frequency[other], other))
    return list(tokens)


def _merge(
    spelled: list[list[str]],
    i: int,
    pair: Pair,
    merged: str,
    count: int,
    frequency: Counter[Pair],
    where: dict[Pair, set[int]],
) -> set[Pair]:
    """Merges the pair wherever it stands in word i and counts its pairs anew; the pairs whose number changed."""
    units = spelled[i]
    new: list[str] = []
    for unit in units:
        joined = bool(new) and (new[-1], unit) == pair
        new[-1:] = [merged] if joined else [*new[-1:], unit]
    before, after = (Counter(pairwise(row)) for row in (units, new))
    for other in before.keys() | after.keys():
        frequency[other] += count * (after[other] - before[other])
        if other in after:
            where[other].add(i)
    spelled[i] = new
    return {other for other in before.keys() | after.keys() if before[other] != after[other]}
