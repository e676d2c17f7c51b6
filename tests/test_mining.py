"""Mining: every filter by hand numbers, merging, sampling, answer strings, scores and windows of candidates."""

from __future__ import annotations

from typing import Any
from unicodedata import normalize

import numpy as np
import pytest

from data import Passage, Question, RetrievalSet
from sbert.errors import RunError, UsageError
from sbert.retrieval.candidates import Candidates, judge, pair_scores, positive_windows
from sbert.retrieval.dense import DensePool
from sbert.retrieval.mining import AnswerFinder, Mined, Rules, merge, mine, relevant_passages
from sbert.retrieval.search import Ranking, exact_search

TEXTS = ["zero", "one", "two", "three", "four", "five", "six", "seven"]


def small_set(
    relevant: dict[str, int] | None = None, answers: tuple[str, ...] = (), texts: list[str] | None = None
) -> RetrievalSet:
    """One question; passages p0, p1, ...; p0 is relevant unless said otherwise."""
    passages = [Passage(f"p{i}", text) for i, text in enumerate(texts or TEXTS)]
    question = Question("q", "which?", answers)
    return RetrievalSet("small", "train", "en", passages, [question], {"q": relevant or {"p0": 1}}, {})


def ranking(ids: list[int], scores: list[float] | None = None) -> Ranking:
    return Ranking([ids], [np.array(scores or [1.0] * len(ids), dtype=np.float32)])


SCORED = ranking([1, 2, 0, 3, 4, 5], [0.9, 0.8, 0.75, 0.5, 0.25, 0.125])


def mined(found: Ranking = SCORED, positives: list[float] | None = None, **rules: Any) -> Mined:
    given = Rules(**{"num_negatives": 9, "range_max": 20, **rules})
    return mine(small_set(), [found], given, [positives or [0.75]])


def counts(result: Mined) -> dict[str, int]:
    assert result.left + sum(result.removed.values()) == result.candidates
    return {name: count for name, count in result.removed.items() if count}


@pytest.mark.parametrize(
    ("rules", "kept", "removed"),
    [
        ({}, [1, 2, 3, 4, 5], {"relevant": 1}),
        ({"num_negatives": 2}, [1, 2], {"relevant": 1}),
        # score + 0.25 > 0.75: 0.9, 0.8; 0.5 + 0.25 is not above
        ({"absolute_margin": 0.25}, [3, 4, 5], {"relevant": 1, "absolute_margin": 2}),
        # score > 0.75 - 0.75 * 0.5 = 0.375
        ({"relative_margin": 0.5}, [4, 5], {"relevant": 1, "relative_margin": 3}),
        ({"max_score": 0.5}, [3, 4, 5], {"relevant": 1, "max_score": 2}),
        ({"min_score": 0.5}, [1, 2, 3], {"relevant": 1, "min_score": 2}),
        ({"max_score": 0.85, "min_score": 0.2}, [2, 3, 4], {"relevant": 1, "max_score": 1, "min_score": 1}),
        # ranks without the relevant passage: 1, 2, 3, 4, 5
        ({"range_min": 1, "range_max": 4, "num_negatives": 3}, [2, 3, 4], {"relevant": 1, "range": 2}),
        # and before the score filters
        (
            {"range_min": 1, "range_max": 4, "num_negatives": 3, "max_score": 0.5},
            [3, 4],
            {"relevant": 1, "range": 2, "max_score": 1},
        ),
        # the first filter that removes a passage counts it
        (
            {"absolute_margin": 0.25, "max_score": 0.3},
            [4, 5],
            {"relevant": 1, "absolute_margin": 2, "max_score": 1},
        ),
    ],
)
def test_filters(rules: dict[str, Any], kept: list[int], removed: dict[str, int]) -> None:
    if "num_negatives" not in rules:
        rules = {"num_negatives": 9, **rules}
    result = mined(**rules)
    assert result.negatives == [kept]
    assert counts(result) == removed


def test_a_negative_positive_score_makes_the_relative_margin_stricter() -> None:
    """positive -0.5, margin 0.5: discard score > -0.5 - 0.25 = -0.75, where -0.5 * (1 - 0.5) would be -0.25."""
    found = ranking([1, 2, 3], [-0.3, -0.6, -0.8])
    assert mined(found, [-0.5], relative_margin=0.5).negatives == [[3]]


def test_of_several_positives_the_lowest_score_counts() -> None:
    dataset = small_set({"p0": 1, "p1": 1})
    found = ranking([2, 3, 4], [0.7, 0.5, 0.3])
    rules = Rules(num_negatives=3, absolute_margin=0.1)
    assert mine(dataset, [found], rules, [[0.9, 0.6]]).negatives == [[3, 4]]
    assert mine(dataset, [found], rules, [[0.9, 0.9]]).negatives == [[2, 3, 4]]


def test_no_relevant_passage_and_none_with_its_text() -> None:
    texts = ["right", "also right", "wrong", " right ", "wrong", "", "other"]
    dataset = small_set({"p0": 1, "p1": 2}, texts=texts)
    result = mine(dataset, [ranking([3, 1, 2, 4, 0, 5, 6])], Rules())
    assert result.negatives == [[2, 6]]
    assert counts(result) == {"relevant": 2, "same_text": 3}


def test_the_same_window_is_not_taken_twice_nor_that_of_the_positive() -> None:
    windows = [{0: "head", 1: "start", 2: " start", 3: "head", 4: "end"}]
    result = mine(small_set(), [ranking([1, 2, 3, 4])], Rules(num_negatives=2), None, windows)
    assert result.negatives == [[1, 4]]
    assert counts(result) == {"same_text": 2}


def test_the_default_depth_is_ten_candidates_for_each_negative() -> None:
    texts = [str(i) for i in range(40)]
    found = ranking([*range(1, 40)])
    result = mine(small_set(texts=texts), [found], Rules(num_negatives=2, range_min=3))
    assert result.negatives == [[4, 5]]
    assert counts(result) == {"range": 39 - 20}


def test_passages_with_an_answer_are_left_out() -> None:
    texts = ["the answer: Mauna Loa", "MAUNA LOA, again", "a mountain", "Mauna-Loa", "Mauna Kea"]
    dataset = small_set(answers=("Mauna Loa",), texts=texts)
    found = ranking([1, 2, 3, 4])
    result = mine(dataset, [found], Rules())
    assert result.negatives == [[2, 4]]
    assert counts(result) == {"answer": 2}
    assert mine(dataset, [found], Rules(answers="keep")).negatives == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("text", "answer", "held"),
    [
        ("in 1994", "4", False),
        ("the 4 seasons", "4", True),
        ("a category", "cat", False),
        ("cost $5 million", "5 million", True),
        ("세종은 왕이다", "세종", True),
        ("대한민국에서", "민국", True),
        ("15명이 왔다", "15", True),
        ("115명이 왔다", "15", False),
        ("the U.S. army", "us", False),
        ("the U.S. army", "U.S.", True),
        (normalize("NFD", "세종대왕"), "세종", True),
        ("anything", "...", False),
    ],
)
def test_answers_in_texts(text: str, answer: str, held: bool) -> None:
    assert AnswerFinder([text]).holds(0, (answer,)) is held
    assert AnswerFinder([text]).holds(0, ("nothing of it", answer)) is held
    assert not AnswerFinder([text]).holds(0, ())


def test_merging_takes_turns_and_keeps_the_first_score() -> None:
    a = Ranking([[1, 2, 3], []], [np.array([0.9, 0.8, 0.7], "f4"), np.array([], "f4")])
    b = Ranking([[4, 1, 5, 6], [7]], [np.array([5, 4, 3, 2], "f4"), np.array([1], "f4")])
    both = merge([a, b])
    assert both.ids == [[1, 4, 2, 3, 5, 6], [7]]
    assert both.scores[0].tolist() == pytest.approx([0.9, 5, 0.8, 0.7, 3, 2])
    assert merge([b, a]).ids == [[4, 1, 2, 5, 3, 6], [7]]
    assert merge([both]).ids == both.ids
    with pytest.raises(ValueError, match=r"\[2, 1\] queries"):
        merge([a, SCORED])


def test_random_draws_follow_the_seed_and_the_question_alone() -> None:
    passages = [Passage(f"p{i}", f"text {i}") for i in range(50)]
    questions = [Question(f"q{i}", "?") for i in range(20)]
    relevant = {question.id: {"p0": 1} for question in questions}
    dataset = RetrievalSet("small", "train", "en", passages, questions, relevant, {})
    found = Ranking([list(range(50))] * 20, [np.ones(50, dtype=np.float32)] * 20)

    def draw(seed: int, data: RetrievalSet = dataset, size: int = 20) -> list[list[int]]:
        rules = Rules(num_negatives=3, range_min=5, range_max=30, sampling="random", seed=seed)
        return mine(data, [Ranking(found.ids[:size], found.scores[:size])], rules).negatives

    one = draw(1)
    assert one == draw(1) != draw(2)
    assert all(row == sorted(row) and len(set(row)) == 3 for row in one)  # in the order of the ranking
    assert all(
        6 <= passage <= 30 for row in one for passage in row
    )  # rank 5 is passage 6, passage 0 being relevant
    assert len({tuple(row) for row in one}) > 10
    assert draw(1, dataset.questions_only([3, 4]), 2) == one[3:5]


def test_few_left_are_all_taken() -> None:
    assert mined(sampling="random", max_score=0.3).negatives == [[4, 5]]


def test_relevant_passages_by_grade() -> None:
    assert relevant_passages(small_set({"p5": 1, "p2": 3, "p1": 1})) == [[2, 1, 5]]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"num_negatives": 0}, "--num-negatives 0: must be at least 1"),
        ({"range_min": -1}, "--range-min -1: must be at least 0"),
        ({"range_max": 3}, "--range-max 3 less --range-min 0 leaves fewer than --num-negatives 4"),
        ({"relative_margin": -0.1}, "--relative-margin -0.1: must be at least 0"),
        ({"absolute_margin": float("nan")}, "--absolute-margin nan: must be finite"),
        ({"min_score": 0.6, "max_score": 0.5}, "--min-score 0.6 is above --max-score 0.5"),
        ({"sampling": "best"}, "--sampling 'best': allowed are top, random"),
        ({"answers": "drop"}, "--answers 'drop': allowed are exclude, keep"),
    ],
)
def test_rules_that_do_not_fit(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        Rules(**rules)


def test_scores_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="margins need the scores of the positives"):
        mine(small_set(), [SCORED], Rules(absolute_margin=0.1))
    with pytest.raises(ValueError, match="rankings of 2 queries for 1 questions"):
        mine(small_set(), [Ranking([[1], [2]], [np.ones(1), np.ones(1)])], Rules())
    for found, positive in ((ranking([1], [float("nan")]), 0.5), (SCORED, float("inf"))):
        with pytest.raises(RunError, match="not finite"):
            mine(small_set(), [found], Rules(relative_margin=0.1), [[positive]])


# -------------------------------------------------------------------- scores and windows of candidates


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_pair_scores_are_those_of_the_search(similarity: str) -> None:
    rng = np.random.default_rng(0)
    vectors, queries = (rng.normal(size=(n, 6)).astype(np.float32) for n in (9, 3))
    vectors[4] = 0
    pool = DensePool(vectors, [str(i) for i in range(9)], np.array([0, 1, 1, 1, 2, 3, 3, 4, 4]), similarity)
    search = exact_search(queries, vectors, 9, similarity)
    of_window = [dict(zip(*row, strict=True)) for row in zip(search.ids, search.scores, strict=True)]
    ids = [[3, 1], [], [0, 1, 2, 3, 4]]
    scores, windows = pair_scores(queries, pool, ids)
    members: dict[int, list[int]] = {0: [0], 1: [1, 2, 3], 2: [4], 3: [5, 6], 4: [7, 8]}
    for query, row in enumerate(ids):
        best = [max(members[passage], key=of_window[query].__getitem__) for passage in row]
        assert windows[query] == best
        assert scores[query].tolist() == [of_window[query][window] for window in best]
        assert scores[query].dtype == np.float32


def test_the_window_of_a_positive_holds_the_answer() -> None:
    pool = DensePool(np.zeros((4, 0)), ["a b", "b c", "c d", "x"], np.array([0, 0, 0, 1]), "cosine")
    assert positive_windows(pool, ("d",), [0, 1], [0, 3]) == ["c d", "x"]
    assert positive_windows(pool, ("nowhere",), [0], [1]) == ["a b"]
    assert positive_windows(pool, (), [0], [1]) == ["b c"]  # no answers known: the best one


def test_a_teacher_sets_order_and_scores(tiny_model_dir: Any) -> None:
    from tiny_models import tiny_cross

    teacher = tiny_cross(tiny_model_dir)
    dataset = small_set({"p0": 1, "p1": 1})
    texts = [dict(enumerate(TEXTS))]
    found = Candidates(ranking([7, 2, 5, 3]), texts, [np.zeros(2)])
    out = judge(teacher, dataset, found, 3)
    expected = {i: float(teacher.predict(("which?", TEXTS[i]))) for i in range(8)}
    assert out.ranking.ids == [sorted([7, 2, 5], key=lambda i: -expected[i])]  # the fourth is not read
    assert out.ranking.scores[0].tolist() == pytest.approx(
        [expected[i] for i in out.ranking.ids[0]], abs=1e-6
    )
    assert out.positive_scores[0].tolist() == pytest.approx([expected[0], expected[1]], abs=1e-6)
