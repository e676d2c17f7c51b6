"""What is asked and how it meets its passage: the features that questions are split by.

overlap          share of the question's content words, each weighted with its BM25 idf, that occur in its passage
question type    by its question word
question words, passage words   their lengths
rarest word      in how many passages of the pool the rarest of its content words occurs, of those that occur at all
numbers          whether the question has a digit
answer position  where in the passage the answer stands first: 0 its start, 1 its end

A word is what BM25 takes for one (sbert.retrieval.sparse.words, not stemmed), but for Korean, where words carry
endings, a pair of neighbouring letters inside a word (``bigrams``). The passage of a question with several relevant
ones is the one of highest grade, of such the one that shares most.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sbert.retrieval.sparse import bigrams, words

if TYPE_CHECKING:
    from data import RetrievalSet

# Words that ask or bind and name nothing.
_ENGLISH = """a an the this that these those of in on at by for from to with about into as and or but if than then so
not no is are was were be been being am do does did done has have had having will would can could may might must shall
should it its he his him she her they their them we our us you your i my me there here s t
who whom whose what which when where why how many much"""
_KOREAN = """것 것은 것이 것을 그 이 저 및 등 수 때 중 한 위해 대한 대해 있는 있던 하는 했던 한다 하였는가 했는가 인가 는 은
왜 누가"""
FUNCTION_WORDS = frozenset(f"{_ENGLISH} {_KOREAN}".split())
KOREAN_QUESTION = re.compile(r"무엇|무슨|뭐|누구|언제|어디|어떻게|어떤|어느|얼마|몇")

# (type, pattern): the first that matches; for English of those that match where the earliest question word stands
KOREAN_TYPES = (
    ("when", r"언제|(몇|어느|무슨)\s*(년|월|일|시\b|시기|해\b|연도|날|요일|세기)"),
    ("how many", r"몇|얼마"),
    ("who", r"누구|누가|누굴"),
    ("where", r"어디"),
    ("why", r"왜(?=\s|\?|$)|이유는|까닭"),
    ("how", r"어떻게|어떠"),
    ("which", r"어느|어떤"),
    ("what", r"무엇|무슨|뭐|뭘"),
)
ENGLISH_TYPES = (
    ("how many", r"how (?:many|much|long|old|far|tall|large|big|often|high|fast|deep|wide)\b"),
    ("when", r"when|(?:what|which) (?:year|years|date|day|month|decade|century)\b"),
    ("who", r"who|whom|whose"),
    ("where", r"where"),
    ("why", r"why"),
    ("how", r"how"),
    ("which", r"which"),
    ("what", r"what"),
)
OTHER = "other"
THIRDS, FIFTHS = (1 / 3, 2 / 3), (0.2, 0.4, 0.6, 0.8)
RARE = 5  # a word of at most so many passages is rare
BANDS = 5  # steps of equal width that overlap is cut into

Terms = Callable[[str], list[str]]


@dataclass(frozen=True)
class Feature:
    """Questions in groups. ``group`` (Q,): an index of ``labels``; -1: not known, left out of every group."""

    name: str
    title: str
    labels: list[str]
    group: np.ndarray

    @property
    def masks(self) -> list[np.ndarray]:
        """(Q,) bool of each group."""
        return [self.group == i for i in range(len(self.labels))]


@dataclass(frozen=True)
class Facts:
    """The features before they are grouped, each (Q,); NaN where there is nothing to measure."""

    korean: bool
    passage: np.ndarray  # position of the passage that the question is compared with
    overlap: np.ndarray
    type: list[str]
    question_words: np.ndarray
    passage_words: np.ndarray
    rarest: np.ndarray  # passages that hold the rarest word
    numbers: np.ndarray  # bool
    answer: np.ndarray  # 0..1
    idf: dict[str, float]

    def rows(self) -> list[dict[str, Any]]:
        """One a question, for a file; None where there is nothing."""
        return [
            {
                "overlap": _known(self.overlap[i], 4),
                "type": self.type[i],
                "question_words": int(self.question_words[i]),
                "passage_words": int(self.passage_words[i]),
                "rarest_word_in_passages": _known(self.rarest[i], 0),
                "numbers": int(self.numbers[i]),
                "answer_position": _known(self.answer[i], 4),
            }
            for i in range(len(self.type))
        ]


def measure(dataset: RetrievalSet) -> Facts:
    """The facts of every question of a set."""
    asked = [question.text for question in dataset.questions]
    korean = dataset.language == "ko" or sum(map(_is_korean, asked)) * 2 > len(asked)
    terms: Terms = bigrams if korean else words
    held = [set(terms(text)) for text in dataset.texts]
    frequency = Counter(term for row in held for term in row)
    idf = {term: _idf(count, len(held)) for term, count in frequency.items()}
    position = {passage.id: i for i, passage in enumerate(dataset.passages)}
    own, overlap, rarest = [], [], []
    for question in dataset.questions:
        content = content_terms(question.text, terms)
        grades = {position[x]: grade for x, grade in dataset.relevant[question.id].items()}
        shares = {i: share_of(content, held[i], idf, len(held)) for i in grades}
        passage = max(grades, key=lambda i: (grades[i], shares[i], -i))
        own.append(passage)
        overlap.append(shares[passage])
        rarest.append(min((frequency[term] for term in content if term in frequency), default=math.nan))
    answers = [
        answer_position(dataset.passages[i].text, question.answers)
        for i, question in zip(own, dataset.questions, strict=True)
    ]
    lengths = [len(words(text)) for text in dataset.texts]
    return Facts(
        korean=korean,
        passage=np.array(own),
        overlap=np.array(overlap),
        type=[question_type(text) for text in asked],
        question_words=np.array([len(words(text)) for text in asked]),
        passage_words=np.array([lengths[i] for i in own]),
        rarest=np.array(rarest, dtype=float),
        numbers=np.array([any(c.isdigit() for c in text) for text in asked]),
        answer=np.array([math.nan if share is None else share for share in answers]),
        idf=idf,
    )


def content_terms(text: str, terms: Terms) -> set[str]:
    """The distinct terms of a question's content words; of all its words, if it has no others."""
    every = words(text)
    kept = [word for word in every if word not in FUNCTION_WORDS and not KOREAN_QUESTION.match(word)]
    return {term for word in kept or every for term in terms(word)}


def share_of(content: set[str], held: set[str], idf: dict[str, float], passages: int) -> float:
    """Weight of the terms in ``held`` over the weight of all; a term of no passage weighs most. NaN without terms."""
    unseen = _idf(0, passages)
    whole = math.fsum(idf.get(term, unseen) for term in content)
    return math.fsum(idf.get(term, unseen) for term in content & held) / whole if whole else math.nan


def question_type(text: str) -> str:
    """One of the types above, or "other"; Korean where the question has a Hangul letter."""
    if _is_korean(text):
        return next((name for name, pattern in KOREAN_TYPES if re.search(pattern, text)), OTHER)
    found = [
        (match.start(), order, name)
        for order, (name, pattern) in enumerate(ENGLISH_TYPES)
        if (match := re.search(rf"\b(?:{pattern})\b", text.lower()))
    ]
    return min(found)[2] if found else OTHER


def answer_position(passage: str, answers: Sequence[str]) -> float | None:
    """Where the first answer that occurs in a passage starts, 0 to 1, by letters; None where none occurs.

    It is the first place with these letters, which is not always the one that the asker meant.
    """
    starts = (passage.find(answer) for answer in answers)
    start = next((start for start in starts if start >= 0), None)
    return None if start is None else start / max(1, len(passage))


def features(facts: Facts) -> list[Feature]:
    """The groups that reports are split by."""
    kinds = [name for name, _ in ENGLISH_TYPES] + [OTHER]
    kind = np.array([kinds.index(name) for name in facts.type])
    rare = np.digitize(facts.rarest, [2, RARE + 1, 21])  # NaN falls behind the last
    return [
        _quantiles("overlap", "lexical overlap", facts.overlap, FIFTHS, 2),
        _used("type", "question type", kinds, kind),
        _quantiles("question_words", "question length (words)", facts.question_words, THIRDS, 0),
        _quantiles("passage_words", "passage length (words)", facts.passage_words, THIRDS, 0),
        _used(
            "rarest",
            "passages that hold the rarest word of the question",
            ["1", f"2 to {RARE}", f"{RARE + 1} to 20", "over 20"],
            np.where(np.isnan(facts.rarest), -1, rare),
        ),
        _used("numbers", "numbers in the question", ["none", "some"], facts.numbers.astype(int)),
        _used(
            "answer",
            "answer position in the passage",
            ["first third", "middle third", "last third"],
            np.where(np.isnan(facts.answer), -1, np.digitize(facts.answer, THIRDS)),
        ),
    ]


def overlap_bands(facts: Facts, bands: int = BANDS) -> Feature:
    """Overlap in so many steps of the same width, however many questions fall into each."""
    edges = np.arange(bands + 1) / bands
    digits = 1 if 10 % bands == 0 else 2
    labels = [f"{low:.{digits}f} to {high:.{digits}f}" for low, high in itertools.pairwise(edges)]
    group = np.where(np.isnan(facts.overlap), -1, np.digitize(facts.overlap, edges[1:-1]))
    return _used("bands", "lexical overlap, bands", labels, group)


def _used(name: str, title: str, labels: Sequence[str], group: np.ndarray) -> Feature:
    """Without the groups that nothing falls into."""
    used = [i for i in range(len(labels)) if (group == i).any()]
    renumbered = np.full(len(group), -1)
    for new, old in enumerate(used):
        renumbered[group == old] = new
    return Feature(name, title, [labels[i] for i in used], renumbered)


def _quantiles(name: str, title: str, values: np.ndarray, shares: Sequence[float], digits: int) -> Feature:
    """Groups of nearly equal size; equal values stay together, so there may be fewer groups."""
    known = ~np.isnan(values)
    group = np.full(len(values), -1)
    if known.any():
        edges = np.unique(np.quantile(values[known], shares, method="inverted_cdf"))
        group[known] = np.searchsorted(edges, values[known], side="left")
    labels = []
    for i in range(len(shares) + 1):
        found = values[group == i]
        low, high = (f"{x:.{digits}f}" for x in (found.min(), found.max())) if len(found) else ("", "")
        labels.append(low if low == high else f"{low} to {high}")
    return _used(name, title, labels, group)


def _idf(count: int, passages: int) -> float:
    """Lucene's: ln(1 + (N - df + 0.5) / (df + 0.5))."""
    return math.log(1 + (passages - count + 0.5) / (count + 0.5))


def _is_korean(text: str) -> bool:
    return re.search("[가-힣]", text) is not None


def _known(value: float, digits: int) -> float | int | None:
    if math.isnan(value):
        return None
    return round(float(value), digits) if digits else int(value)
