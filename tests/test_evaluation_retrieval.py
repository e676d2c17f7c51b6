"""Retrieval metrics by hand, by brute force, and by invariances."""

import math

import numpy as np
import pytest

from sbert.evaluation.retrieval import per_question, question_metrics, relevant_positions, retrieval_metrics


def discount(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def test_one_question_by_hand() -> None:
    """Relevant: b, d, and x, which was not found. Found at ranks 2 and 4."""
    found = question_metrics(list("abcde"), {"b": 1, "d": 1, "x": 1}, ks=(1, 2, 4, 5))
    ideal = discount(1) + discount(2) + discount(3)
    assert found == pytest.approx(
        {
            "recall@1": 0,
            "recall@2": 1 / 3,
            "recall@4": 2 / 3,
            "recall@5": 2 / 3,
            "accuracy@1": 0,
            "accuracy@2": 1,
            "accuracy@4": 1,
            "accuracy@5": 1,
            "mrr@10": 1 / 2,
            "ndcg@10": (discount(2) + discount(4)) / ideal,
            "map@100": (1 / 2 + 2 / 4) / 3,
        }
    )


def test_the_default_cuts() -> None:
    assert list(question_metrics(["a"], {"a": 1})) == [
        *("recall@1", "recall@5", "recall@10", "recall@100"),
        *("accuracy@1", "accuracy@5", "accuracy@10", "accuracy@100"),
        *("mrr@10", "ndcg@10", "map@100"),
    ]


def test_grades_are_linear_gains() -> None:
    """Grades 3 (second) and 1 (first), and 2 that was missed; ndcg alone looks at them."""
    found = question_metrics(["one", "three", "zero"], {"three": 3, "one": 1, "two": 2, "zero": 0})
    ideal = 3 * discount(1) + 2 * discount(2) + 1 * discount(3)
    assert found["ndcg@10"] == pytest.approx((1 * discount(1) + 3 * discount(2)) / ideal)
    assert found["recall@5"] == pytest.approx(2 / 3)
    assert found["map@100"] == pytest.approx(2 / 3)
    assert found["mrr@10"] == 1


def test_grades_of_zero_and_below_are_not_relevant() -> None:
    found = question_metrics(["zero", "less", "good"], {"zero": 0, "less": -1, "good": 1})
    assert found["mrr@10"] == pytest.approx(1 / 3)
    assert found["ndcg@10"] == pytest.approx(discount(3))
    assert found["accuracy@1"] == 0 and found["recall@5"] == 1


@pytest.mark.parametrize("rank", [1, 5, 6, 10, 11, 100, 101, 150])
def test_one_relevant_passage_at_a_rank(rank: int) -> None:
    found = question_metrics(list(range(200)), {rank - 1: 1}, ks=(1, 5, 10, 100, 120))
    for k in (1, 5, 10, 100, 120):
        assert found[f"recall@{k}"] == found[f"accuracy@{k}"] == float(rank <= k)
    assert found["mrr@10"] == (1 / rank if rank <= 10 else 0)
    assert found["ndcg@10"] == pytest.approx(discount(rank) if rank <= 10 else 0)
    assert found["map@100"] == pytest.approx(1 / rank if rank <= 100 else 0)


def test_map_divides_by_what_fits() -> None:
    """150 relevant passages: a perfect list of 100 or more reaches 1; one of 50 the half."""
    relevant = dict.fromkeys(range(150), 1)
    assert question_metrics(list(range(150)), relevant)["map@100"] == pytest.approx(1)
    assert question_metrics(list(range(100)), relevant)["map@100"] == pytest.approx(1)
    found = question_metrics(list(range(50)), relevant)
    assert found["map@100"] == pytest.approx(0.5)
    assert found["recall@100"] == pytest.approx(50 / 150)
    assert found["ndcg@10"] == 1


def test_what_was_not_found_never_counts_as_found() -> None:
    """A short list is not continued by the relevant passages it lacks."""
    found = question_metrics([], {"a": 1, "b": 2})
    assert set(found.values()) == {0.0}
    found = question_metrics(["x", "a"], {"a": 1, "b": 1})
    assert found["map@100"] == pytest.approx(1 / 2 / 2)
    assert found["ndcg@10"] == pytest.approx(discount(2) / (discount(1) + discount(2)))


def test_brute_force() -> None:
    """Written as one reads the definitions, over random lists and grades."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        corpus = int(rng.integers(5, 260))
        grades = {int(x): int(rng.integers(0, 4)) for x in rng.permutation(corpus)[: rng.integers(1, 40)]}
        grades[0] = 1
        ids = rng.permutation(corpus)[: rng.integers(0, corpus + 1)].tolist()
        total = sum(g > 0 for g in grades.values())
        hits = [grades.get(x, 0) > 0 for x in ids]
        precision = sum(sum(hits[: r + 1]) / (r + 1) for r in range(min(100, len(ids))) if hits[r])
        gain = sum(grades.get(x, 0) * discount(r) for r, x in enumerate(ids[:10], start=1))
        ideal = sum(
            g * discount(r) for r, g in enumerate(sorted(grades.values(), reverse=True)[:10], start=1)
        )
        first = hits.index(True) + 1 if any(hits) else math.inf
        expected = {f"recall@{k}": sum(hits[:k]) / total for k in (3, 20)}
        expected |= {f"accuracy@{k}": float(any(hits[:k])) for k in (3, 20)}
        expected |= {"mrr@10": 1 / first if first <= 10 else 0, "ndcg@10": gain / ideal}
        expected |= {"map@100": precision / min(100, total)}
        assert question_metrics(ids, grades, ks=(3, 20)) == pytest.approx(expected)


def test_means_over_all_questions() -> None:
    """A question of which nothing was found counts as 0."""
    ranked = [["a", "b"], ["b", "a"], []]
    relevant = [{"a": 1}, {"a": 1}, {"a": 1}]
    found = retrieval_metrics(ranked, relevant, ks=(1,))
    assert found["recall@1"] == found["accuracy@1"] == pytest.approx(1 / 3)
    assert found["mrr@10"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    rows = per_question(ranked, relevant, ks=(1,))
    assert rows["mrr@10"].tolist() == [1, 0.5, 0]
    assert {name: values.mean() for name, values in rows.items()} == pytest.approx(found)
    turned = retrieval_metrics(ranked[::-1], relevant[::-1], ks=(1,))
    assert turned == pytest.approx(found)
    assert all(type(value) is float for value in found.values())


def test_positions_in_place_of_ids() -> None:
    relevant = {"q1": {"p2": 2, "gone": 1}, "q2": {"p0": 1}}
    found = relevant_positions(["q2", "q1", "q3"], ["p0", "p1", "p2"], relevant)
    assert found == [{0: 1}, {2: 2, -1: 1}, {}]
    by_id = retrieval_metrics([["p1", "p0"], ["p2"]], [relevant["q2"], relevant["q1"]])
    assert retrieval_metrics([[1, 0], [2]], found[:2]) == by_id
    assert by_id["recall@5"] == pytest.approx((1 + 1 / 2) / 2)
    twice = relevant_positions(["q"], ["p"], {"q": {"x": 1, "y": 3}})
    assert twice == [{-1: 1, -2: 3}]


@pytest.mark.parametrize(
    "ranked, relevant, ks, message",
    [
        ([], [], (1,), "no questions to score"),
        ([["a"]], [], (1,), "1 rankings and 0 sets of relevant"),
        ([["a"], ["a"]], [{"a": 1}, {}], (1,), "question 1: no passage is relevant"),
        ([["a"]], [{"a": 0}], (1,), "question 0: no passage is relevant"),
        ([["a", "b", "a"]], [{"b": 1}], (1,), "question 0: passage 'a' is ranked twice"),
        ([["a"]], [{"a": 1}], (5, 0), "k is 0"),
    ],
)
def test_what_it_refuses(ranked: list, relevant: list, ks: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        retrieval_metrics(ranked, relevant, ks)
    assert "\n" not in str(caught.value)


def test_one_question_alone() -> None:
    assert per_question([["a", "b"]], [{"b": 1}])["mrr@10"].tolist() == [0.5]


def test_no_cuts_at_all() -> None:
    assert set(question_metrics(["a"], {"a": 1}, ks=())) == {"mrr@10", "ndcg@10", "map@100"}


def test_the_passage_that_is_ranked_twice_is_named() -> None:
    with pytest.raises(ValueError, match="passage 'a' is ranked twice"):
        question_metrics(["c", "a", "a"], {"a": 1})
