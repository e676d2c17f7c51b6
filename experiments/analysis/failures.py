"""The worst failures, with text: what was asked, where the right passage came, and what stood first instead."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from experiments.analysis.features import Facts, content_terms
from experiments.analysis.study import NOT_FOUND, Study
from sbert.retrieval.sparse import bigrams, words

CONTEXT = 12  # words shown on each side of the answer


@dataclass(frozen=True)
class Failure:
    """One question that ``run`` fails. ranks: run -> rank of the right passage, None where it is not in the list."""

    run: str
    question_id: str
    question: str
    answer: str
    ranks: dict[str, int | None]
    overlap: float | None
    right_title: str
    right: str
    first_title: str
    first: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def worst(study: Study, facts: Facts, run: str, helper: str, count: int) -> list[Failure]:
    """Questions that ``helper`` ranks highest among those that ``run`` ranks lowest, at most one an article.

    By the rank in ``run``, the lowest first; of equal ones by the rank in ``helper``, the highest first. A question that
    ``run`` has no list for is none of them: there is nothing to show.
    """
    bad, good = study.systems[run], study.systems[helper]
    where = study.both(run, helper) & (bad.rank > 1) & (good.rank <= 1) & np.array([bool(x) for x in bad.ids])
    rows = sorted(np.flatnonzero(where).tolist(), key=lambda i: (-bad.rank[i], i))
    return _show(study, facts, run, rows, count)


def missed_by_all(study: Study, facts: Facts, count: int) -> list[Failure]:
    """Questions whose best rank in any run is the lowest; what the dense run has first instead is shown."""
    run = study.roles.dense
    where = study.both(*study.systems) & np.array([bool(x) for x in study.systems[run].ids])
    ranks = np.stack([system.rank for system in study.systems.values()])
    best = ranks.min(axis=0)
    rows = sorted(
        np.flatnonzero(where & (best > 1)).tolist(), key=lambda i: (-best[i], -ranks[:, i].sum(), i)
    )
    return _show(study, facts, run, rows, count)


def _show(study: Study, facts: Facts, run: str, rows: list[int], count: int) -> list[Failure]:
    own = study.article()
    seen: set[str] = set()
    out: list[Failure] = []
    for i in rows:
        article = own[i] if own else str(i)
        if len(out) == count or article in seen:
            continue
        seen.add(article)
        out.append(_failure(study, facts, run, i))
    return out


def _failure(study: Study, facts: Facts, run: str, i: int) -> Failure:
    question = study.dataset.questions[i]
    right = study.dataset.passages[facts.passage[i]]
    first = study.dataset.passages[study.systems[run].ids[i][0]]
    content = content_terms(question.text, bigrams if facts.korean else words)
    answer = next((a for a in question.answers if a in right.text), "")
    ranks = {
        name: None if system.rank[i] >= NOT_FOUND else int(system.rank[i])
        for name, system in study.systems.items()
        if system.covered[i]
    }
    return Failure(
        run=run,
        question_id=question.id,
        question=question.text,
        answer=answer,
        ranks=ranks,
        overlap=None if math.isnan(facts.overlap[i]) else round(float(facts.overlap[i]), 2),
        right_title=right.title,
        right=around(right.text, answer) if answer else likest(right.text, content, facts),
        first_title=first.title,
        first=likest(first.text, content, facts),
    )


def around(text: str, answer: str) -> str:
    """The answer in bold with CONTEXT words before and after it."""
    before, _, after = text.partition(answer)
    left, right = before.split(), after.split()
    head = "... " if len(left) > CONTEXT else ""
    tail = " ..." if len(right) > CONTEXT else ""
    glue = " " if before[-1:].isspace() else "", " " if after[:1].isspace() else ""
    return f"{head}{' '.join(left[-CONTEXT:])}{glue[0]}**{answer}**{glue[1]}{' '.join(right[:CONTEXT])}{tail}".strip()


def likest(text: str, content: set[str], facts: Facts) -> str:
    """The 2 * CONTEXT words of a text in which the question's terms weigh most; of equal ones the first."""
    parts = text.split()
    terms = bigrams if facts.korean else words
    held = [set(terms(part)) & content for part in parts]
    width = 2 * CONTEXT
    starts = range(max(1, len(parts) - width + 1))

    def weight(start: int) -> float:
        found = set().union(*held[start : start + width])
        return math.fsum(facts.idf.get(term, 0.0) for term in sorted(found))

    start = max(starts, key=lambda s: (weight(s), -s))
    head, tail = "... " if start else "", " ..." if start + width < len(parts) else ""
    return f"{head}{' '.join(parts[start : start + width])}{tail}"


def escaped(text: str) -> str:
    """One line of Markdown: what would be markup but the answer's asterisks is escaped."""
    return re.sub(r"([\\`<|#\[\]_$])", r"\\\1", " ".join(text.split()))
