"""Hard negatives: passages that search finds for a question and that do not answer it, to train a bi-encoder or a
cross-encoder on.

    rules = Rules(num_negatives=4, relative_margin=0.05)
    mined = mine(dataset, [bm25_ranking, dense_ranking], rules, positive_scores)
    mined.negatives[0]            # passages: the negatives of the first question

What search finds and nobody has marked may still be an answer, and training on such a false negative is worse than
on an easy one: a re-ranker collapses under them. Hence the filters: known relevant passages, texts equal to theirs,
passages that contain an answer string, and those that score nearly as high as the positive (Moreira et al. 2024,
NV-Retriever, arXiv 2407.15831: 95 per cent of the positive's score, ``relative_margin=0.05``). The score filters are
those of sentence-transformers' ``mine_hard_negatives``. Its ``range_min`` skips passages after filtering; here, as its
description has it, it is a rank of the search.

``sbert.retrieval.candidates`` makes the rankings and scores. Passages are positions in ``dataset.passages``.
"""

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from sbert.errors import RunError, UsageError
from sbert.retrieval.search import Ranking
from sbert.retrieval.sparse import words

if TYPE_CHECKING:
    from data import RetrievalSet

SAMPLING = ("top", "random")
ANSWERS = ("exclude", "keep")
FILTERS = (  # in this order: a candidate is counted at the first one that removes it
    "relevant",
    "same_text",
    "range",
    "answer",
    "absolute_margin",
    "relative_margin",
    "max_score",
    "min_score",
)
DEEPER = 10  # candidates looked at for each negative wanted, unless range_max says otherwise


@dataclass(frozen=True)
class Rules:
    """Which candidates become negatives. Raises UsageError, in the words of the flags, for values that do not fit.

    Ranks are counted from 0 over the candidates without the known relevant ones. Scores are those of the ranking;
    ``positive`` below is the lowest score among the relevant passages of a question.
    """

    num_negatives: int = 4  # at most so many a question
    range_min: int = 0  # skip the first so many candidates
    range_max: int | None = (
        None  # and look at none from this rank on; default: range_min + 10 * num_negatives
    )
    max_score: float | None = None  # discard score > max_score
    min_score: float | None = None  # discard score < min_score
    absolute_margin: float | None = None  # discard score + margin > positive
    relative_margin: float | None = None  # discard score > positive - |positive| * margin
    sampling: str = "top"  # "top": the first that are left, "random": drawn from all that are left
    answers: str = "exclude"  # passages that contain an answer string: "exclude" or "keep"
    seed: int = 42  # of random sampling

    def __post_init__(self) -> None:
        if self.num_negatives < 1:
            raise UsageError(f"--num-negatives {self.num_negatives}: must be at least 1")
        if self.range_min < 0:
            raise UsageError(f"--range-min {self.range_min}: must be at least 0")
        if self.depth - self.range_min < self.num_negatives:
            raise UsageError(
                f"--range-max {self.depth} less --range-min {self.range_min} leaves fewer than "
                f"--num-negatives {self.num_negatives} candidates"
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"--{field.name.replace('_', '-')} {value}: must be finite")
        for name, margin in (("absolute", self.absolute_margin), ("relative", self.relative_margin)):
            if margin is not None and margin < 0:
                raise UsageError(f"--{name}-margin {margin:g}: must be at least 0")
        if None not in (self.min_score, self.max_score) and self.min_score > self.max_score:  # type: ignore[operator]
            raise UsageError(
                f"--min-score {self.min_score:g} is above --max-score {self.max_score:g}: nothing lies between"
            )
        for name, value, allowed in (
            ("sampling", self.sampling, SAMPLING),
            ("answers", self.answers, ANSWERS),
        ):
            if value not in allowed:
                raise UsageError(f"--{name} {value!r}: allowed are {', '.join(allowed)}")

    @property
    def depth(self) -> int:
        """The rank from which on no candidate is looked at."""
        return self.range_min + DEEPER * self.num_negatives if self.range_max is None else self.range_max

    @property
    def margins(self) -> bool:
        """Whether a candidate's score is compared with the positive's."""
        return self.absolute_margin is not None or self.relative_margin is not None

    @property
    def scored(self) -> bool:
        """Whether scores decide at all."""
        return self.margins or self.max_score is not None or self.min_score is not None

    def objection(self, score: float, positive: float) -> str | None:
        """The filter that discards a candidate for its score, None where every one lets it pass."""
        if self.absolute_margin is not None and score + self.absolute_margin > positive:
            return "absolute_margin"
        if self.relative_margin is not None and score > positive - abs(positive) * self.relative_margin:
            return "relative_margin"
        if self.max_score is not None and score > self.max_score:
            return "max_score"
        if self.min_score is not None and score < self.min_score:
            return "min_score"
        return None


@dataclass(frozen=True)
class Mined:
    """negatives: of each question, positions in ``dataset.passages``, in the order of the ranking; maybe none.

    candidates: passages found for all questions together = left + the sum of ``removed``, the filters' counts.
    """

    negatives: list[list[int]]
    candidates: int
    removed: dict[str, int]

    @property
    def left(self) -> int:
        """Candidates that no filter removed; at most num_negatives of a question became negatives."""
        return self.candidates - sum(self.removed.values())


def mine(
    dataset: "RetrievalSet",
    rankings: Sequence[Ranking],
    rules: Rules,
    positive_scores: Sequence[Sequence[float] | np.ndarray] | None = None,
    windows: Sequence[Mapping[int, str]] | None = None,
) -> Mined:
    """Negatives of every question from what one or more searches found (merged, see ``merge``).

    rankings: of ``dataset.passages`` for ``dataset.questions``; where rules look at scores, all by one measure.
    positive_scores: of each question the scores, by that measure, of its relevant passages; needed for margins alone.
    windows: of each question {passage: the part of it that will be written}, for everything found or relevant: the
    same part is not taken twice, nor that of a positive. Default: whole texts.
    Raises ValueError where shapes do not fit or margins lack ``positive_scores``, RunError for scores that are no
    numbers. A draw depends on the seed and the question's id, not on the other questions.
    """
    merged = merge(rankings)
    if len(merged) != len(dataset.questions):
        raise ValueError(f"rankings of {len(merged)} queries for {len(dataset.questions)} questions")
    if rules.margins and positive_scores is None:
        raise ValueError("margins need the scores of the positives")
    lowest = (
        [float(min(row)) for row in positive_scores] if positive_scores is not None else [0.0] * len(merged)
    )
    if rules.scored and not all(np.isfinite(row).all() for row in [*merged.scores, np.array(lowest)]):
        raise RunError("scores that are not finite: nothing can be mined by them")
    relevant = relevant_passages(dataset)
    texts = [text.strip() for text in dataset.texts]
    finder = AnswerFinder(texts)
    removed = dict.fromkeys(FILTERS, 0)
    negatives = []
    for i, question in enumerate(dataset.questions):
        own = windows[i] if windows is not None else {}
        parts = {p: {texts[p], own.get(p, texts[p]).strip()} for p in (*relevant[i], *merged.ids[i])}
        hits = _unknown(merged, i, relevant[i], parts, removed)
        window = hits[rules.range_min : rules.depth]
        removed["range"] += len(hits) - len(window)
        left = []
        for passage, score in window:
            excluded = rules.answers == "exclude" and finder.holds(passage, question.answers)
            reason = "answer" if excluded else rules.objection(score, lowest[i])
            if reason is None:
                left.append(passage)
            else:
                removed[reason] += 1
        negatives.append(_sample(left, rules, question.id))
    return Mined(negatives, sum(map(len, merged.ids)), removed)


def relevant_passages(dataset: "RetrievalSet") -> list[list[int]]:
    """Of every question, the positions of its relevant passages: the highest grade first, equal ones as in the pool."""
    position = {passage.id: i for i, passage in enumerate(dataset.passages)}
    out = []
    for question in dataset.questions:
        grades = dataset.relevant[question.id].items()
        out.append([p for _, p in sorted((-grade, position[identity]) for identity, grade in grades)])
    return out


def _unknown(
    ranking: Ranking, row: int, known: Sequence[int], parts: Mapping[int, set[str]], removed: dict[str, int]
) -> list[tuple[int, float]]:
    """(passage, score) of what was found, without known relevant passages, texts that stood there before, and ""."""
    seen = {""}.union(*(parts[passage] for passage in known))
    out = []
    for passage, score in zip(ranking.ids[row], ranking.scores[row].tolist(), strict=True):
        if passage in known:
            removed["relevant"] += 1
        elif parts[passage] & seen:
            removed["same_text"] += 1
        else:
            seen |= parts[passage]
            out.append((passage, score))
    return out


def _sample(left: list[int], rules: Rules, question_id: str) -> list[int]:
    if rules.sampling == "top" or len(left) <= rules.num_negatives:
        return left[: rules.num_negatives]
    drawn = random.Random(f"{rules.seed} {question_id}").sample(range(len(left)), rules.num_negatives)
    return [left[i] for i in sorted(drawn)]


def merge(rankings: Sequence[Ranking]) -> Ranking:
    """One ranking of several: the first passages of all in their order, then the second ones, each passage once.

    A passage keeps the score of where it was taken from.
    """
    if len({len(ranking) for ranking in rankings}) != 1:
        raise ValueError(
            f"rankings of {[len(ranking) for ranking in rankings]} queries: expected the same number"
        )
    out = Ranking([], [])
    for i in range(len(rankings[0])):
        found: dict[int, float] = {}
        for rank in zip_longest(*(zip(r.ids[i], r.scores[i].tolist(), strict=True) for r in rankings)):
            for hit in rank:
                if hit is not None:
                    found.setdefault(*hit)
        out.ids.append(list(found))
        out.scores.append(np.array(list(found.values()), dtype=np.float32))
    return out


class AnswerFinder:
    """Whether passages contain an answer: letter case, blanks and punctuation aside, and not inside a longer word
    ("4" is not in "1994"), but with whatever Hangul stands next to it ("세종" is in "세종은").
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    @cached_property
    def _normal(self) -> list[str]:
        return [_normal(text) for text in self.texts]

    def holds(self, passage: int, answers: Sequence[str]) -> bool:
        """Whether one of the answers stands in the text at position ``passage``."""
        return any(_pattern(answer).search(self._normal[passage]) for answer in answers)


def _normal(text: str) -> str:
    return " ".join(words(text))


@lru_cache(maxsize=1024)
def _pattern(answer: str) -> re.Pattern[str]:
    letter = r"[^\W가-힣]"  # a letter or digit, not of Hangul
    normal = _normal(answer)
    return re.compile(
        rf"(?<!{letter}){re.escape(normal)}(?!{letter})" if normal else r"(?!)"
    )  # (?!) is nowhere
