"""Ranking metrics: by hand, by invariances, and against sentence-transformers (tests/golden)."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbert.evaluation.binary import binary_metrics
from sbert.evaluation.reranking import rank_metrics, reranking_metrics

GOLDEN = json.loads(
    (Path(__file__).parent / "golden" / "expected_ranking_metrics.json").read_text(encoding="utf8")
)


def discount(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def one(scores: list[float], relevance: list[float], retrieved: int | None = None, **options: Any) -> dict:
    """reranking_metrics of a single query."""
    return reranking_metrics([np.array(scores)], [np.array(relevance)], [retrieved], **options)


# ---------------------------------------------------------------- one ranked list, by hand


def test_binary_relevance_by_hand() -> None:
    """Relevant at ranks 2, 3 and 5."""
    assert rank_metrics([0, 1, 1, 0, 1], k=3) == pytest.approx(
        {
            "mrr@3": 1 / 2,
            "ndcg@3": (discount(2) + discount(3)) / (discount(1) + discount(2) + discount(3)),
            "map": (1 / 2 + 2 / 3 + 3 / 5) / 3,
            "map@3": (1 / 2 + 2 / 3) / 3,
        }
    )


def test_map_at_k_divides_by_what_fits_into_k() -> None:
    """Four relevant documents and k = 2: a perfect order reaches 1; one relevant document and k = 2 divides by 1."""
    assert rank_metrics([1, 1, 1, 1], k=2)["map@2"] == 1.0
    assert rank_metrics([0, 1, 1, 1], k=2)["map@2"] == pytest.approx(1 / 2 / 2)
    assert rank_metrics([0, 1, 0], k=2)["map@2"] == pytest.approx(1 / 2)


def test_graded_relevance_by_hand() -> None:
    """Gains are the grades themselves, not 2^grade - 1; MRR and MAP only ask whether a grade is above 0."""
    found = rank_metrics([1, 0, 3, 2], k=3)
    ideal = 3 * discount(1) + 2 * discount(2) + 1 * discount(3)
    assert found["ndcg@3"] == pytest.approx((1 * discount(1) + 3 * discount(3)) / ideal)
    binary = rank_metrics([1, 0, 1, 1], k=3)
    assert {n: v for n, v in found.items() if n != "ndcg@3"} == {
        n: v for n, v in binary.items() if n != "ndcg@3"
    }
    assert rank_metrics([0.25, 0])["mrr@10"] == 1.0


def test_first_relevant_document_at_and_below_rank_k() -> None:
    assert rank_metrics([0, 0, 1], k=3)["mrr@3"] == pytest.approx(1 / 3)
    below = rank_metrics([0, 0, 1], k=2)
    assert below == {"mrr@2": 0.0, "ndcg@2": 0.0, "map": pytest.approx(1 / 3), "map@2": 0.0}


def test_k_above_the_length_and_a_perfect_order() -> None:
    assert set(rank_metrics([3, 2, 0], k=100).values()) == {1.0}
    assert rank_metrics([0, 1], k=100)["ndcg@100"] == pytest.approx(discount(2))
    assert rank_metrics([1, 1, 0], k=1) == {"mrr@1": 1.0, "ndcg@1": 1.0, "map": 1.0, "map@1": 1.0}


def test_nothing_relevant_scores_zero() -> None:
    expected = dict.fromkeys(("mrr@10", "ndcg@10", "map", "map@10"), 0.0)
    assert rank_metrics([0, 0]) == expected
    assert rank_metrics([]) == expected


# ---------------------------------------------------------------- queries


def test_mean_over_all_queries_including_those_without_positives() -> None:
    found = reranking_metrics([[3, 2, 1], [1, 2], [1]], [[0, 1, 0], [1, 0], [0]], [None, None, None])
    assert set(found) == {"mrr@10", "ndcg@10", "map", "map@10"}
    assert found["mrr@10"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert found["ndcg@10"] == pytest.approx((discount(2) + discount(2) + 0) / 3)


def test_equal_scores_put_the_later_document_first() -> None:
    """Constant scores turn the list round, over more documents than a short sort would keep in order by luck."""
    assert one([0.5] * 4, [1, 1, 0, 0])["mrr@10"] == pytest.approx(1 / 3)
    assert one([0.5] * 4, [1, 1, 0, 0])["map"] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert one([0.5] * 4, [0, 0, 0, 1])["mrr@10"] == 1.0
    assert one([0.5] * 60, [1] + [0] * 59, k=60)["mrr@60"] == pytest.approx(1 / 60)
    mixed = one([0.5, 0.9, 0.5, 0.1], [1, 0, 0, 1])  # order: 1, 2, 0, 3
    assert mixed["map"] == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_ndcg_follows_the_same_rule_for_ties() -> None:
    """Grades 2, 1, 0 with equal scores rank as 0, 1, 2; the mean over all orders would be higher."""
    found = one([1, 1, 1], [2, 1, 0])["ndcg@10"]
    ideal = 2 * discount(1) + discount(2)
    assert found == pytest.approx((discount(2) + 2 * discount(3)) / ideal)
    averaged = sum(discount(r) for r in (1, 2, 3)) / ideal  # every rank holds a mean grade of 1
    assert found < averaged


def test_only_the_order_of_the_scores_counts() -> None:
    rng = np.random.default_rng(1)
    scores, relevance = rng.permutation(15) - 7.0, rng.integers(0, 3, 15)
    found = one(scores, relevance)
    assert one(np.exp(scores / 3), relevance) == found
    turned = rng.permutation(15)
    assert one(scores[turned], relevance[turned]) == found
    assert one(scores.astype(np.float32), relevance.astype(np.float32)) == found
    assert one(-scores, relevance) != found


def test_queries_in_another_order_give_the_same_means() -> None:
    rng = np.random.default_rng(2)
    sizes = [3, 1, 12, 30, 7]
    scores = [rng.normal(size=n) for n in sizes]
    relevance = [rng.integers(0, 2, n) for n in sizes]
    relevance[2][6:] = 1
    retrieved = [None, 1, 6, None, 7]
    found = reranking_metrics(scores, relevance, retrieved)
    turned = reranking_metrics(scores[::-1], relevance[::-1], retrieved[::-1])
    assert turned == pytest.approx(found)
    singles = [reranking_metrics([s], [r], [n]) for s, r, n in zip(scores, relevance, retrieved, strict=True)]
    assert found["map"] == pytest.approx(np.mean([single["map"] for single in singles]))
    with_base = [single["base_map"] for single in singles if "base_map" in single]
    assert len(with_base) == 3
    assert found["base_map"] == pytest.approx(np.mean(with_base))


# ---------------------------------------------------------------- an incoming order


def test_base_metrics_by_hand() -> None:
    """Retrieved: no, yes, no; one positive missed, which stands at rank 4."""
    found = one([0.1, 0.2, 0.9, 0.3], [0, 1, 0, 1], 3, k=3)  # reranked: 2, 3, 1, 0
    assert found["base_mrr@3"] == pytest.approx(1 / 2)
    assert found["base_ndcg@3"] == pytest.approx(discount(2) / (discount(1) + discount(2)))
    assert found["base_map"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found["base_map@3"] == pytest.approx(1 / 2 / 2)
    assert found["mrr@3"] == pytest.approx(1 / 2)
    assert found["map"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_without_missed_positives_in_the_reranking() -> None:
    """Ranked: documents 2, 1, 0 alone, with one known positive; the base stays that of the whole list."""
    options = {"k": 3, "always_rerank_positives": False}
    found = one([0.1, 0.2, 0.9, 0.3], [0, 1, 0, 1], 3, **options)
    assert found["mrr@3"] == pytest.approx(1 / 2)
    assert found["ndcg@3"] == pytest.approx(discount(2))
    assert found["map"] == found["map@3"] == pytest.approx(1 / 2)
    assert found["base_map"] == pytest.approx((1 / 2 + 2 / 4) / 2)


@pytest.mark.parametrize("retrieved", [0, 2])
def test_no_positive_retrieved(retrieved: int) -> None:
    """The base is 0 in both modes; reranking can still find the missed positive where it is added."""
    relevance = [0.0] * retrieved + [1.0]
    found = one([0.5] * retrieved + [0.9], relevance, retrieved)
    assert {n: v for n, v in found.items() if n.startswith("base_")} == dict.fromkeys(
        ("base_mrr@10", "base_ndcg@10", "base_map", "base_map@10"), 0.0
    )
    assert found["mrr@10"] == found["map"] == 1.0
    without = one([0.5] * retrieved + [0.9], relevance, retrieved, always_rerank_positives=False)
    assert set(without.values()) == {0.0}


def test_positives_lose_ties_wherever_an_earlier_stage_put_them() -> None:
    """Documents no, yes, no and a missed positive, all tied: listed yes, missed, no, no and ranked backwards."""
    found = one([1, 1, 1, 1], [0, 1, 0, 1], 3)
    assert found["mrr@10"] == pytest.approx(1 / 3)
    assert found["map"] == pytest.approx((1 / 3 + 2 / 4) / 2)
    as_listed = one([1, 1, 1, 1], [0, 1, 0, 1], 3, always_rerank_positives=False)  # no, yes, no
    assert as_listed["mrr@10"] == pytest.approx(1 / 2)
    last = one([1, 1, 1], [0, 0, 1], 3, always_rerank_positives=False)
    assert last["mrr@10"] == 1.0


def test_the_mode_changes_nothing_where_no_positive_was_missed() -> None:
    scores, relevance = [0.3, 0.1, 0.7, 0.5], [0, 1, 0, 1]
    for retrieved in (None, 4):
        always = one(scores, relevance, retrieved)
        assert one(scores, relevance, retrieved, always_rerank_positives=False) == always
    assert one(scores, relevance, None, always_rerank_positives=False)["map"] == always["map"]


def test_tied_documents_keep_the_order_of_the_stage_before_in_a_long_list() -> None:
    """Ranked backwards: of 200 that tie, the missed positives, then those retrieved, the last of either first."""
    rng = np.random.default_rng(3)
    grades = np.concatenate([rng.integers(0, 3, 180), [1.0] * 20])
    expected = np.concatenate([grades[grades > 0], grades[grades == 0]])[::-1]
    assert one([0.5] * 200, grades, 180, k=150) | rank_metrics(expected, 150) == one(
        [0.5] * 200, grades, 180, k=150
    )


# ---------------------------------------------------------------- refused input


@pytest.mark.parametrize(
    "scores, relevance, retrieved, message",
    [
        ([], [], [], "no queries"),
        ([[1.0]], [[1]], [], "1 scores, 1 relevance and 0 retrieved"),
        ([[1.0], [1.0]], [[1]], [None, None], "2 scores, 1 relevance and 2 retrieved"),
        ([[1.0], [1.0]], [[1]], [None], "2 scores, 1 relevance and 1 retrieved"),
        ([[1.0], [1.0, 2.0]], [[1], [1]], [None, None], r"query 1: scores \(2,\) and relevance \(1,\)"),
        ([[[1.0]]], [[[1]]], [None], r"query 0: scores \(1, 1\)"),
        ([[1.0, math.nan]], [[1, 0]], [None], "query 0: the score of document 1 is not finite"),
        ([[1.0, -math.inf]], [[1, 0]], [None], "query 0: the score of document 1 is not finite"),
        ([[1.0]], [[-0.5]], [None], "query 0: relevance -0.5"),
        ([[1.0]], [[math.nan]], [None], "query 0: relevance nan"),
        ([[1.0]], [[math.inf]], [None], "query 0: relevance inf"),
        ([[1.0]], [[1]], [2], r"query 0: retrieved is 2, allowed are 0\.\.1"),
        ([[1.0]], [[1]], [-1], "query 0: retrieved is -1"),
        ([[1.0, 2.0]], [[1, 0]], [1], "query 0: a document after the 1 retrieved ones is not relevant"),
    ],
)
def test_what_it_refuses(scores: list, relevance: list, retrieved: list, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        reranking_metrics(scores, relevance, retrieved)
    assert "\n" not in str(caught.value)


def test_k_must_be_positive() -> None:
    with pytest.raises(ValueError, match="k is 0"):
        rank_metrics([1], k=0)
    with pytest.raises(ValueError, match="k is 0"):
        one([1.0], [0], k=0)


# ---------------------------------------------------------------- sentence-transformers


def query_of(sample: dict[str, Any]) -> tuple[list[float], list[int], int | None]:
    """A peer's sample as scores, relevance and retrieved: listed documents, then the positives that were missed."""
    positive = sample["positive"]
    if "documents" in sample:
        documents = sample["documents"] + [p for p in positive if p not in sample["documents"]]
        retrieved = len(sample["documents"])
    else:
        documents, retrieved = positive + sample["negative"], None
    return [sample["scores"][d] for d in documents], [int(d in positive) for d in documents], retrieved


def test_the_golden_samples_hold_what_they_should() -> None:
    """Both forms, more than 10 documents, positives missed, and samples of which no positive was retrieved."""
    queries = [query_of(sample) for sample in GOLDEN["samples"]]
    with_order = [(relevance, n) for _, relevance, n in queries if n is not None]
    assert len(queries) >= 20
    assert 0 < len(with_order) < len(queries)
    assert max(len(scores) for scores, _, _ in queries) > 10
    assert any(n < len(relevance) and sum(relevance[:n]) for relevance, n in with_order)
    assert any(not sum(relevance[:n]) for relevance, n in with_order)
    assert any(n == len(relevance) for relevance, n in with_order)


@pytest.mark.parametrize("always", [True, False])
def test_the_peers_evaluator_gives_the_same(always: bool) -> None:
    cases = [case for case in GOLDEN["reranking"] if case["always_rerank_positives"] == always]
    assert {len(case["samples"]) for case in cases} == {1, 11, 22}
    for case in cases:
        queries = [query_of(GOLDEN["samples"][i]) for i in case["samples"]]
        scores, relevance, retrieved = zip(*queries, strict=True)
        found = reranking_metrics(scores, relevance, retrieved, k=case["k"], always_rerank_positives=always)
        ours_alone = {name for name in found if name.endswith(f"map@{case['k']}")}  # the peer has no MAP@k
        assert set(found) - ours_alone == set(case["metrics"])
        for name, value in case["metrics"].items():
            assert found[name] == pytest.approx(value, abs=1e-9), (case["samples"], name)


def test_graded_ndcg_of_scikit_learn() -> None:
    for row in GOLDEN["graded"]:
        for k in (3, 10):
            found = one(row["scores"], row["relevance"], k=k)
            assert found[f"ndcg@{k}"] == pytest.approx(row[f"ndcg@{k}"], abs=1e-9)


def test_tied_scores_are_where_the_peer_differs() -> None:
    """Its nDCG is the mean of ours over all orders of the tied documents, its MAP that of the groups of equal scores
    (binary_metrics); ours is the lowest of the orders. Its MRR depends on an unstable sort and is not compared."""
    (sample,) = GOLDEN["tied"]
    scores, relevance, _ = query_of(sample)  # p, q, a, b, c: p, a and b tie
    assert scores == [0.5, 0.25, 0.5, 0.5, 0.0]
    found, theirs = one(scores, relevance), sample["metrics"]
    orders = [rank_metrics([*first, 1, 0]) for first in itertools.permutations([1, 0, 0])]
    assert found == rank_metrics([0, 0, 1, 1, 0])
    assert found["ndcg@10"] == min(order["ndcg@10"] for order in orders) < theirs["ndcg@10"] - 0.05
    assert theirs["ndcg@10"] == pytest.approx(np.mean([order["ndcg@10"] for order in orders]), abs=1e-9)
    assert found["map"] == min(order["map"] for order in orders)
    assert theirs["map"] == pytest.approx(
        binary_metrics(np.array(scores), np.array(relevance))["ap"], abs=1e-9
    )
