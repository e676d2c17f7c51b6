"""Sparse search: BM25 with Lucene's formula, over words, character bigrams or a tokenizer's own pieces.

bm25s computes the scores. It is not asked for the ranking: of equal scores it returns the last passage first or any,
a query without a known word gets arbitrary passages with score 0, and k above the number of passages is an error.
Here equal scores put the earlier passage first and only passages that share a term with the query are found.
"""

import logging
import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from sbert.errors import RunError
from sbert.retrieval.search import Ranking, best, reached

FREQUENT = 8  # a term that more than every 8th passage has is added to all scores faster than to its own
ANALYZERS = ("words", "bigrams", "model", "kiwi")
Analyzer = Callable[[Sequence[str]], list[list[str]]]  # texts -> the terms of each


def words(text: str) -> list[str]:
    """Lower-cased runs of letters, digits and underscores, in composed form: Hangul is syllables, however it is stored."""
    return re.findall(r"\w+", unicodedata.normalize("NFC", text).lower())


def bigrams(text: str) -> list[str]:
    """Pairs of neighbouring characters inside each word; a word of one character stays as it is.

    For Korean without a dictionary: "학교에서" and "학교는" share the pair "학교" and no word.
    """
    return [
        pair
        for word in words(text)
        for pair in ([word[i : i + 2] for i in range(len(word) - 1)] if len(word) > 1 else [word])
    ]


def make_analyzer(name: str, tokenizer: Any = None) -> Analyzer:
    """One of ANALYZERS. tokenizer: the model's, for "model" only.

    Raises ValueError for another name or a missing tokenizer, RunError when "kiwi" is asked for and not installed.
    """
    if name == "words":
        return lambda texts: [words(text) for text in texts]
    if name == "bigrams":
        return lambda texts: [bigrams(text) for text in texts]
    if name == "model":
        if tokenizer is None:
            raise ValueError("analyzer 'model' needs the model's tokenizer")
        return lambda texts: _pieces(tokenizer, texts)
    if name == "kiwi":
        return _kiwi()
    raise ValueError(f"analyzer {name!r}: allowed are {', '.join(ANALYZERS)}")


def _pieces(tokenizer: Any, texts: Sequence[str]) -> list[list[str]]:
    """The tokenizer's pieces, whole texts; the unknown piece is left out, since it says nothing two texts share."""
    if not texts:
        return []
    ids = tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"]
    unknown = tokenizer.unk_token_id
    return [tokenizer.convert_ids_to_tokens([i for i in row if i != unknown]) for row in ids]


def _kiwi() -> Analyzer:
    """Morphemes that carry meaning (nouns, stems, adverbs, roots, foreign words, numbers), no particles or endings."""
    try:
        from kiwipiepy import Kiwi
    except ModuleNotFoundError:
        raise RunError("analyzer 'kiwi' needs kiwipiepy: pip install kiwipiepy") from None
    kiwi = Kiwi()
    kept = ("N", "V", "M", "XR", "SL", "SH", "SN")

    def analyze(texts: Sequence[str]) -> list[list[str]]:
        normal = [unicodedata.normalize("NFC", text) for text in texts]
        return [
            [f"{token.form.lower()}/{token.tag[0]}" for token in tokens if token.tag.startswith(kept)]
            for tokens in kiwi.tokenize(normal)
        ]

    return analyze


class BM25:
    """BM25 over ``texts``: sum over the terms t of the query, each as often as it occurs there, of

        ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length / mean length))

    with N passages, df of them with t, tf occurrences of t in the passage, length in terms (Kamphuis et al. 2020,
    "Lucene (accurate)"). k1 0.9 and b 0.4 are Anserini's defaults.

    analyzer: one of ANALYZERS but "model", or a function of texts (see make_analyzer).
    """

    def __init__(
        self, texts: Sequence[str], analyzer: str | Analyzer = "words", k1: float = 0.9, b: float = 0.4
    ) -> None:
        try:
            import bm25s
        except ModuleNotFoundError:
            raise RunError("BM25 needs bm25s: pip install bm25s") from None
        logging.getLogger("bm25s").setLevel(logging.WARNING)  # it asks for DEBUG, of everybody's log
        if k1 < 0 or not 0 <= b <= 1:
            raise ValueError(f"k1 {k1}, b {b}: allowed are k1 >= 0 and 0 <= b <= 1")
        self.analyze = make_analyzer(analyzer) if isinstance(analyzer, str) else analyzer
        self.count = len(texts)
        terms = self.analyze(texts)
        self.term_ids = {term: i for i, term in enumerate(dict.fromkeys(chain.from_iterable(terms)))}
        self._index = None
        if self.term_ids:  # bm25s cannot index nothing
            self._index = bm25s.BM25(method="lucene", k1=k1, b=b)
            rows = [[self.term_ids[term] for term in row] for row in terms]
            self._index.index((rows, self.term_ids), create_empty_token=False, show_progress=False)
        self._frequent = self._whole_rows()

    def scores(self, query: str) -> np.ndarray:
        """(N,) fp32, one for each passage; 0 where no term is shared."""
        return self._scores(self.analyze([query])[0])

    def search(self, queries: Sequence[str], k: int, *, only_matching: bool = True) -> Ranking:
        """The best passages of each query, at most ``k``; equal scores: the earlier passage first.

        only_matching: passages that share no term with the query are not found, so a list may be empty; otherwise
        they follow in the order of the corpus with score 0, and every list has min(k, N) passages.
        Raises ValueError when k < 1.
        """
        if k < 1:
            raise ValueError(f"k is {k}, it must be at least 1")
        found = Ranking([], [])
        for terms in self.analyze(queries):
            scores = self._scores(terms)
            least = reached(scores[None], k)[0]
            among = np.flatnonzero(scores if only_matching and least <= 0 else scores >= least)
            order = among[best(scores[among], among, k)]
            found.ids.append(order.tolist())
            found.scores.append(scores[order])
        return found

    def _scores(self, terms: list[str]) -> np.ndarray:
        """As bm25s.BM25.get_scores, to the last bit: what a passage has not adds 0."""
        scores = np.zeros(self.count, dtype=np.float32)
        for term in (self.term_ids[term] for term in terms if term in self.term_ids):
            if term in self._frequent:
                scores += self._frequent[term]
            else:
                np.add.at(scores, *self._postings(term))
        return scores

    def _postings(self, term: int) -> tuple[np.ndarray, np.ndarray]:
        """The passages that have a term, and what it adds to the score of each."""
        assert self._index is not None
        matrix = self._index.scores
        where = slice(*matrix["indptr"][term : term + 2])
        return matrix["indices"][where], matrix["data"][where]

    def _whole_rows(self) -> dict[int, np.ndarray]:
        """Of each frequent term what it adds to each passage, (N,) fp32; at most four times the room of the index."""
        rows = {}
        if self._index is not None:
            counts = np.diff(self._index.scores["indptr"])
            for term in np.flatnonzero(counts > self.count / FREQUENT).tolist():
                rows[term] = np.zeros(self.count, dtype=np.float32)
                passages, scores = self._postings(term)
                rows[term][passages] = scores
        return rows
