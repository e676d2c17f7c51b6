"""Fusion by hand and by invariances."""

import itertools

import numpy as np
import pytest

from sbert.retrieval.fusion import GRID, best_weight, convex_combination, reciprocal_rank_fusion
from sbert.retrieval.search import Ranking


def ranking(*rows: dict[int, float]) -> Ranking:
    """Of each query: passage -> score, best first."""
    return Ranking(
        [list(row) for row in rows], [np.array(list(row.values()), dtype=np.float32) for row in rows]
    )


def scores_of(found: Ranking, query: int = 0) -> dict[int, float]:
    return dict(zip(found.ids[query], found.scores[query].tolist(), strict=True))


A = ranking({7: 9.0, 3: 5.0, 1: 4.0}, {2: 1.0})
B = ranking({3: 0.9, 8: 0.5, 7: 0.4}, {})


# ---------------------------------------------------------------- by ranks


def test_reciprocal_ranks_by_hand() -> None:
    found = reciprocal_rank_fusion([A, B])
    assert found.ids == [[3, 7, 8, 1], [2]]
    assert scores_of(found) == pytest.approx({3: 1 / 62 + 1 / 61, 7: 1 / 61 + 1 / 63, 8: 1 / 62, 1: 1 / 63})
    assert scores_of(found, 1) == pytest.approx({2: 1 / 61})


def test_k_weighs_the_first_ranks() -> None:
    found = reciprocal_rank_fusion([A, B], k=0)
    assert scores_of(found) == pytest.approx({3: 1 / 2 + 1, 7: 1 + 1 / 3, 8: 1 / 2, 1: 1 / 3})


def test_one_ranking_keeps_its_order() -> None:
    assert reciprocal_rank_fusion([A]).ids == A.ids


def test_the_order_of_the_rankings_is_nothing() -> None:
    """Equal sums are equal to the last bit, and then the earlier passage comes first."""
    rng = np.random.default_rng(0)
    rankings = [Ranking([rng.permutation(12).tolist()], [np.zeros(12)]) for _ in range(4)]
    found = [reciprocal_rank_fusion(turned) for turned in itertools.permutations(rankings)]
    assert all(other.ids == found[0].ids for other in found)
    assert all(other.scores[0].tolist() == found[0].scores[0].tolist() for other in found)
    rows = [list(row) for row in itertools.permutations([5, 4, 6])]  # every passage at every rank, twice
    tied = [Ranking([row], [np.zeros(3)]) for row in rows]
    for turned in itertools.permutations(tied):
        assert reciprocal_rank_fusion(turned).ids == [[4, 5, 6]]


def test_only_the_first_of_each_list() -> None:
    found = reciprocal_rank_fusion([A, B], depth=1)
    assert found.ids == [[3, 7], [2]]
    assert scores_of(found) == pytest.approx({3: 1 / 61, 7: 1 / 61})


# ---------------------------------------------------------------- by scores


def test_convex_combination_by_hand() -> None:
    """A scaled: 7 -> 1, 3 -> .2, 1 -> 0. B: 3 -> 1, 8 -> .2, 7 -> 0. What is missing is worth the lowest."""
    found = convex_combination(A, B, 0.75)
    assert scores_of(found) == pytest.approx({7: 0.75, 3: 0.15 + 0.25, 8: 0.05, 1: 0.0})
    assert found.ids == [[7, 3, 8, 1], [2]]
    assert scores_of(convex_combination(A, B, 0.0)) == pytest.approx({3: 1, 8: 0.2, 1: 0, 7: 0})
    assert convex_combination(A, B, 0.0).ids[0] == [3, 8, 1, 7]
    assert convex_combination(A, B, 1.0).ids[0] == [7, 3, 1, 8]


def test_what_one_list_alone_found_is_worth_something() -> None:
    """Query 1: one passage in A, none in B; and a single passage against a list of two."""
    assert scores_of(convex_combination(A, B, 0.75), 1) == {2: 0.75}
    single = convex_combination(ranking({4: 3.0}), ranking({1: 0.8, 4: 0.7}), 0.6)
    assert scores_of(single) == pytest.approx({4: 0.6, 1: 0.4})
    equal = convex_combination(ranking({4: 3.0, 9: 3.0}), ranking({1: 0.8, 9: 0.7}), 0.6)
    assert scores_of(equal) == pytest.approx({4: 0.6, 9: 0.6, 1: 0.4})
    assert equal.ids == [[4, 9, 1]]
    assert convex_combination(ranking({}), ranking({}), 0.5).ids == [[]]


def test_depth_cuts_before_scaling() -> None:
    found = convex_combination(A, B, 0.5, depth=2)  # A: 7 -> 1, 3 -> 0; B: 3 -> 1, 8 -> 0
    assert scores_of(found) == pytest.approx({3: 0.5, 7: 0.5, 8: 0.0})
    assert found.ids[0] == [3, 7, 8]


def test_scale_and_offset_of_a_list_are_nothing() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 20))
    orders = [np.argsort(-x) for x in (a, b)]
    first, second = (Ranking([o.tolist()], [x[o]]) for o, x in zip(orders, (a, b), strict=True))
    moved = Ranking(second.ids, [second.scores[0] * 40 - 7])
    found, other = convex_combination(first, second, 0.3), convex_combination(first, moved, 0.3)
    assert other.ids == found.ids
    assert other.scores[0] == pytest.approx(found.scores[0])
    turned = convex_combination(second, first, 0.7)
    assert turned.ids == found.ids
    whole = 0.3 * (a - a.min()) / np.ptp(a) + 0.7 * (b - b.min()) / np.ptp(b)
    assert found.ids == [np.argsort(-whole).tolist()]
    assert found.scores[0] == pytest.approx(np.sort(whole)[::-1])


# ---------------------------------------------------------------- the weight


def test_the_best_weight_on_dev() -> None:
    """Query 0 wants passage 3, which only a weight below 5/9 puts first (.2w + 1 - w > w); query 1 wants passage 5,
    which is first in A alone (w > .5)."""
    a = Ranking([A.ids[0], [5, 6]], [A.scores[0], np.array([2.0, 1])])
    b = Ranking([B.ids[0], [6, 5]], [B.scores[0], np.array([2.0, 1])])
    relevant = [{3: 1}, {5: 1}]
    weight, curve = best_weight(a, b, relevant, "mrr@10", grid=(0.0, 0.2, 0.52, 0.8, 1.0))
    assert weight == 0.52
    assert curve == pytest.approx({0.0: 0.75, 0.2: 0.75, 0.52: 1.0, 0.8: 0.75, 1.0: 0.75})
    assert best_weight(a, b, relevant, "recall@10", grid=(0.0, 0.3, 0.75))[0] == 0.3  # all equal
    assert best_weight(a, b, relevant, "recall@10", grid=(0.75, 0.25))[0] == 0.25
    assert best_weight(a, b, relevant, "accuracy@1", grid=(0.1, 0.9), depth=1)[1] == {0.1: 0.5, 0.9: 0.5}
    assert set(best_weight(a, b, relevant)[1]) == set(GRID)
    assert GRID[0] == 0 and GRID[-1] == 1 and len(GRID) == 21


def test_depth_reaches_the_weight() -> None:
    """Cut to one passage each, A has only 7 and B only 3."""
    a, b = A.cut(None), B.cut(None)
    one = (Ranking(a.ids[:1], a.scores[:1]), Ranking(b.ids[:1], b.scores[:1]))
    assert best_weight(*one, [{8: 1}], grid=(0.3,))[1][0.3] > 0
    assert best_weight(*one, [{8: 1}], grid=(0.3,), depth=1)[1][0.3] == 0


# ---------------------------------------------------------------- refused


def test_what_fusion_refuses() -> None:
    short = Ranking(A.ids[:1], A.scores[:1])
    with pytest.raises(ValueError, match="rankings of 2, 1 queries"):
        reciprocal_rank_fusion([A, short])
    with pytest.raises(ValueError, match="rankings of 1, 2 queries"):
        convex_combination(short, A, 0.5)
    with pytest.raises(ValueError, match="rankings of none"):
        reciprocal_rank_fusion([])
    with pytest.raises(ValueError, match="k is -1"):
        reciprocal_rank_fusion([A], k=-1)
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="allowed are 0 to 1"):
            convex_combination(A, B, weight)
    for call in (lambda: reciprocal_rank_fusion([A], depth=0), lambda: convex_combination(A, B, 0.5, 0)):
        with pytest.raises(ValueError, match="depth is 0"):
            call()
    with pytest.raises(ValueError, match=r"metric 'mrr': allowed are recall@1"):
        best_weight(A, B, [{1: 1}, {2: 1}], "mrr")
    with pytest.raises(ValueError, match="the grid of weights is empty"):
        best_weight(A, B, [{1: 1}, {2: 1}], grid=())
