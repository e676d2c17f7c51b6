"""Retrieval metrics: how much of what is relevant stands how high in the ranked passages of each question.

recall@k     share of the question's relevant passages among its first k
accuracy@k   1 where one of the first k is relevant, else 0 ("success@k"; equals recall@k for one relevant passage)
mrr@10       1 / rank of the first relevant passage, 0 where that rank is above 10
ndcg@10      sum over the first 10 ranks of grade / log2(rank + 1), over the same sum for the best possible order
map@100      sum over relevant passages in the first 100 of the precision at their rank, / min(100, relevant passages)

These are the definitions of sentence-transformers' InformationRetrievalEvaluator, except that gains are the grades
themselves (trec_eval) where it counts every relevant passage as 1; with grades of 1 there is no difference. The ideal
order and the denominators know all relevant passages, found or not. Means are over all questions given.
"""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from sbert.evaluation.reranking import rank_metrics

KS = (1, 5, 10, 100)
SHORT, LONG = 10, 100  # ranks that mrr and ndcg, and map, look at

Id = TypeVar("Id", bound=Hashable)


def retrieval_metrics(
    ranked: Sequence[Sequence[Id]], relevant: Sequence[Mapping[Id, float]], ks: Sequence[int] = KS
) -> dict[str, float]:
    """ranked: of each question, ids of passages, best first. relevant: of each, id -> grade.

    Returns the means of question_metrics. Raises ValueError for no questions and for lists of different lengths, and
    naming the question (from 0) where question_metrics does.
    """
    rows = per_question(ranked, relevant, ks)
    return {name: float(values.mean()) for name, values in rows.items()}


def per_question(
    ranked: Sequence[Sequence[Id]], relevant: Sequence[Mapping[Id, float]], ks: Sequence[int] = KS
) -> dict[str, np.ndarray]:
    """As retrieval_metrics, before the mean: name -> (Q,)."""
    if len(ranked) != len(relevant):
        raise ValueError(
            f"{len(ranked)} rankings and {len(relevant)} sets of relevant passages: not one a question"
        )
    rows = []
    for question, (ids, grades) in enumerate(zip(ranked, relevant, strict=True)):
        try:
            rows.append(question_metrics(ids, grades, ks))
        except ValueError as error:
            raise ValueError(f"question {question}: {error}") from None
    if not rows:
        raise ValueError("no questions to score")
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def question_metrics(
    ids: Sequence[Id], grades: Mapping[Id, float], ks: Sequence[int] = KS
) -> dict[str, float]:
    """ids: ranked passages of one question. grades: id -> grade; above 0 is relevant.

    Raises ValueError when no passage is relevant, a passage is ranked twice, or a k is below 1.
    """
    if min(ks, default=1) < 1:
        raise ValueError(f"k is {min(ks)}, it must be at least 1")
    if len(set(ids)) < len(ids):
        raise ValueError(f"passage {next(x for i, x in enumerate(ids) if x in ids[:i])!r} is ranked twice")
    total = sum(grade > 0 for grade in grades.values())
    if not total:
        raise ValueError("no passage is relevant")
    gains = [max(float(grades.get(x, 0)), 0.0) for x in ids[: max(LONG, *ks, 0)]]
    found = {k: sum(gain > 0 for gain in gains[:k]) for k in ks}
    first = gains[:LONG]
    seen = set(ids[:LONG])
    missed = [float(grade) for x, grade in grades.items() if grade > 0 and x not in seen]
    whole = [
        *first,
        *[0.0] * (LONG - len(first)),
        *missed,
    ]  # what was not found stands below all ranks that count
    short, long = rank_metrics(whole, SHORT), rank_metrics(whole, LONG)
    return {
        **{f"recall@{k}": found[k] / total for k in ks},
        **{f"accuracy@{k}": float(found[k] > 0) for k in ks},
        f"mrr@{SHORT}": short[f"mrr@{SHORT}"],
        f"ndcg@{SHORT}": short[f"ndcg@{SHORT}"],
        f"map@{LONG}": long[f"map@{LONG}"],
    }


def relevant_positions(
    question_ids: Sequence[str],
    passage_ids: Sequence[str],
    relevant: Mapping[str, Mapping[str, float]],
) -> list[dict[int, float]]:
    """relevant: question id -> {passage id: grade} -> of each question, {position of the passage: grade}.

    So that the positions of a sbert.retrieval Ranking can be scored as they are. A relevant passage that is not in
    ``passage_ids`` counts as one that can never be found: its positions are -1, -2, ...
    """
    position = {x: i for i, x in enumerate(passage_ids)}
    out = []
    for question in question_ids:
        absent = itertools.count(-1, -1)
        grades = relevant.get(question, {})
        out.append({position[x] if x in position else next(absent): grades[x] for x in grades})
    return out
