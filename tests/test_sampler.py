"""Batches of rows: every row once, the same ones for the same seed and epoch, and little padding."""

import math
from collections import Counter
from itertools import chain, pairwise

import numpy as np
import pytest

from data.sampler import (
    SAMPLERS,
    WINDOW,
    _spread,
    batches_by_topic,
    batches_of_rows,
    batches_without_duplicates,
    mixed_batches,
)

LESS_PADDING = 8  # times less with the length sampler, on the lengths below


def skewed_lengths(rows: int, seed: int = 0) -> list[int]:
    """Token counts as in real text: most short, a long tail (median 12, a few above 100)."""
    return np.random.default_rng(seed).lognormal(2.5, 0.8, rows).astype(int).clip(3, 256).tolist()


def padding(batches: list[list[int]], lengths: list[int]) -> int:
    """Padded positions when each batch is as wide as its longest row."""
    return sum(max(lengths[i] for i in rows) * len(rows) - sum(lengths[i] for i in rows) for rows in batches)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    "rows, batch_size", [(1, 1), (1, 16), (15, 16), (16, 16), (17, 16), (5, 1), (2000, 7)]
)
def test_every_row_once_in_full_batches(rows: int, batch_size: int, sampler: str) -> None:
    batches = batches_of_rows(skewed_lengths(rows), batch_size, seed=1, epoch=0, sampler=sampler)
    assert sorted(chain.from_iterable(batches)) == list(range(rows))
    sizes = sorted(len(batch) for batch in batches)
    assert len(sizes) == math.ceil(rows / batch_size)
    assert sizes[1:] == [batch_size] * (len(sizes) - 1)
    assert sizes[0] == rows - batch_size * (len(sizes) - 1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_rows(sampler: str) -> None:
    assert batches_of_rows([], 8, seed=0, epoch=0, sampler=sampler) == []
    assert mixed_batches([], 8, seed=0, epoch=0, sampler=sampler) == []
    assert mixed_batches([[], [3, 4]], 2, seed=0, epoch=0, sampler="length") == [(1, [0, 1])]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_pure_function_of_seed_and_epoch(sampler: str) -> None:
    lengths = skewed_lengths(300)

    def plan(seed: int, epoch: int) -> list[list[int]]:
        return batches_of_rows(lengths, 8, seed=seed, epoch=epoch, sampler=sampler)

    first = plan(3, 0)
    np.random.seed(99)  # the global generator has no say
    assert plan(3, 0) == first
    others = [plan(3, 1), plan(4, 0), plan(0, 3)]
    assert all(other != first for other in others)
    same_rows = {frozenset(batch) for batch in first}
    for other in others:  # not the same batches in another order either
        assert len(same_rows & {frozenset(batch) for batch in other}) < len(first) / 4


def test_the_length_sampler_pads_much_less() -> None:
    lengths = skewed_lengths(4000)
    length, random = (
        padding(batches_of_rows(lengths, 16, seed=0, epoch=0, sampler=sampler), lengths)
        for sampler in ("length", "random")
    )
    assert length * LESS_PADDING < random
    assert length < 0.1 * sum(lengths)


def test_the_length_sampler_keeps_the_order_random() -> None:
    """Batches do not come sorted by length, and an epoch's first batches do not stem from one end of the set."""
    lengths = list(range(1, 3201))
    batches = batches_of_rows(lengths, 16, seed=0, epoch=0)
    means = [float(np.mean(batch)) for batch in batches]
    rises = sum(a < b for a, b in pairwise(means))
    assert 0.35 < rises / len(means) < 0.65
    assert min(means[:20]) < 800
    assert max(means[:20]) > 2400
    assert len(batches) > 2 * WINDOW  # or there would have been one window only


@pytest.mark.parametrize("sampler", ["", "sorted", "Length"])
def test_unknown_sampler(sampler: str) -> None:
    with pytest.raises(ValueError, match=f"sampler '{sampler}': allowed are length, random"):
        batches_of_rows([1, 2], 1, seed=0, epoch=0, sampler=sampler)
    with pytest.raises(ValueError, match="allowed are length, random"):
        mixed_batches([[1, 2]], 1, seed=0, epoch=0, sampler=sampler)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_mixed_batches_are_of_one_set_and_in_proportion(sampler: str) -> None:
    sets = [skewed_lengths(rows, seed=rows) for rows in (400, 100, 30)]
    plan = mixed_batches(sets, 10, seed=0, epoch=0, sampler=sampler)
    assert Counter(number for number, _ in plan) == {0: 40, 1: 10, 2: 3}
    for number, lengths in enumerate(sets):
        rows = [row for which, batch in plan if which == number for row in batch]
        assert sorted(rows) == list(range(len(lengths)))
    half = Counter(number for number, _ in plan[: len(plan) // 2])
    assert 12 < half[0] < 28  # interleaved, not one set after the other
    assert 1 <= half[1] <= 9


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sets_take_turns_until_one_has_no_batch_left(sampler: str) -> None:
    sets = [skewed_lengths(rows, seed=rows) for rows in (400, 35, 60)]
    plan = mixed_batches(sets, 10, seed=0, epoch=0, sampler=sampler, round_robin=True)
    assert [number for number, _ in plan] == [0, 1, 2] * 4  # 35 rows are four batches
    assert sorted(row for number, rows in plan if number == 1 for row in rows) == list(range(35))
    large = [
        {
            row
            for number, rows in mixed_batches(
                sets, 10, seed=0, epoch=epoch, sampler=sampler, round_robin=True
            )
            if number == 0
            for row in rows
        }
        for epoch in (0, 1)
    ]
    assert len(large[0]) == len(large[1]) == 40 and large[0] != large[1]
    assert mixed_batches([[1, 2], []], 1, seed=0, epoch=0, sampler=sampler, round_robin=True) == []


def test_mixed_batches_repeat_and_differ_by_epoch() -> None:
    sets = [skewed_lengths(120, seed=1), skewed_lengths(80, seed=2)]
    plans = [mixed_batches(sets, 8, seed=5, epoch=epoch) for epoch in (0, 0, 1)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    assert [number for number, _ in plans[0]] != [number for number, _ in plans[2]]


def test_one_set_mixed_is_that_set() -> None:
    lengths = skewed_lengths(100)
    alone = batches_of_rows(lengths, 8, seed=2, epoch=3)
    assert mixed_batches([lengths], 8, seed=2, epoch=3) == [(0, rows) for rows in alone]


# ---------------------------------------------------------------- no duplicates


def keyed(rows: int, passages: int, seed: int = 0) -> list[tuple[str, str]]:
    """Every row its own question; passages are shared."""
    rng = np.random.default_rng(seed)
    return [(f"q{i}", f"p{rng.integers(passages)}") for i in range(rows)]


@pytest.mark.parametrize(
    ("rows", "passages", "batch_size"), [(100, 20, 8), (37, 37, 8), (50, 3, 16), (1, 1, 4)]
)
def test_no_key_comes_twice_and_every_row_once(rows: int, passages: int, batch_size: int) -> None:
    keys = keyed(rows, passages)
    batches = batches_without_duplicates(keys, batch_size, seed=1, epoch=0)
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    for batch in batches:
        found = [key for row in batch for key in keys[row]]
        assert len(found) == len(set(found)) and 1 <= len(batch) <= batch_size


def test_one_passage_for_all_gives_batches_of_one() -> None:
    assert sorted(map(len, batches_without_duplicates([("a",)] * 5, 4, seed=0, epoch=0))) == [1] * 5


def test_spread_rows_leave_few_small_batches() -> None:
    """600 rows of 150 passages in batches of 32: in the order they come the last passages would be left alone."""
    keys = [(f"q{i}", f"p{i // 4}") for i in range(600)]
    for seed in range(5):
        assert len(batches_without_duplicates(keys, 32, seed=seed, epoch=0)) <= 20  # 600 / 32 = 18.75


def test_no_duplicates_repeat_by_seed_and_epoch() -> None:
    keys = keyed(60, 20)
    plans = [batches_without_duplicates(keys, 8, seed=3, epoch=epoch) for epoch in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]


def test_auto_takes_keys_where_there_are_any() -> None:
    lengths, keys = [list(range(1, 41)), list(range(1, 25))], keyed(40, 5)
    plan = mixed_batches(lengths, 8, seed=0, epoch=0, keys=[keys, None])
    for number, rows in plan:
        if number == 0:
            assert len({keys[row][1] for row in rows}) == len(rows)
    other = [rows for number, rows in plan if number == 1]
    alone = batches_of_rows(lengths[1], 8, seed=0, epoch=0, sampler="length")
    assert sorted(other) == sorted(alone)
    asked = mixed_batches(lengths, 8, seed=0, epoch=0, sampler="random", keys=[keys, None])
    assert len(asked) == 5 + 3  # keys are not looked at


# ---------------------------------------------------------------- topics

TOPICS = [(f"t{i % 3}", f"p{i % 60}") for i in range(300)]  # 3 topics of 20 passages of 5 rows


def test_topics_keep_the_rows_of_a_passage_together() -> None:
    """Eight passages of five rows are a unit: batches of 40 hold one topic each, but for what 20 = 8 + 8 + 4 leaves."""
    batches = batches_by_topic(TOPICS, 40, seed=1, epoch=0)
    assert sorted(row for batch in batches for row in batch) == list(range(300))
    assert sorted(map(len, batches)) == [20] + [40] * 7
    passages = [{TOPICS[row][1] for row in batch} for batch in batches]
    # a passage is cut only where a batch ends, and 5 divides 40
    assert sum(map(len, passages)) == 60
    assert max(len({TOPICS[row][0] for row in batch}) for batch in batches) <= 3


def test_topics_put_near_passages_into_one_batch() -> None:
    topics = [(f"t{i // 40}", f"p{i // 5}") for i in range(400)]  # 10 topics of 8 passages: a unit each
    for rows in batches_by_topic(topics, 80, seed=2, epoch=1):
        assert len({topics[row][0] for row in rows}) == 2
        assert len({topics[row][1] for row in rows}) == 16


def test_topics_larger_than_a_unit_are_spread() -> None:
    """Topics of two units: batches of two units mix topics, and no topic is one block of the epoch."""
    topics = [(f"t{i // 80}", f"p{i // 5}") for i in range(800)]
    counts = [len({topics[row][0] for row in rows}) for rows in batches_by_topic(topics, 80, seed=2, epoch=0)]
    assert max(counts) == 2 and sum(count == 2 for count in counts) > 5


def test_topics_repeat_by_seed_and_epoch() -> None:
    plans = [batches_by_topic(TOPICS, 32, seed=3, epoch=epoch) for epoch in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]
    assert plans[0] != batches_by_topic(TOPICS, 32, seed=4, epoch=0)


def test_mixed_batches_by_topic_need_topics() -> None:
    lengths = [[3] * 300]
    plan = mixed_batches(lengths, 32, seed=3, epoch=0, sampler="topics", keys=[None], topics=[TOPICS])
    assert plan == [(0, rows) for rows in batches_by_topic(TOPICS, 32, seed=3, epoch=0)]
    with pytest.raises(ValueError, match="set 0 has no passages"):
        mixed_batches(lengths, 32, seed=3, epoch=0, sampler="topics", topics=[None])


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_a_key_stand_at_even_distances(seed: int) -> None:
    """20 passages of 5 questions: from a question to the next of its passage it is 20 rows, round the end as well. The
    question's own key, which sorts after the passage's, is not the one to go by."""
    keys = [(f"question {row}", f"passage {row % 20:02}") for row in range(100)]
    order = _spread(keys, np.random.default_rng(seed))
    assert sorted(order) == list(range(100))
    places: dict[int, list[int]] = {}
    for place, row in enumerate(order):
        places.setdefault(row % 20, []).append(place)
    for found in places.values():
        assert [(b - a) % 100 for a, b in zip(found, [*found[1:], found[0]], strict=True)] == [20] * 5
    assert [row % 20 for row in order[:20]] != list(range(20)), "each passage starts at a place of its own"


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_one_key_among_others_are_spread_over_the_whole_epoch(seed: int) -> None:
    """4 rows of a passage among 996 of their own: a quarter of the epoch apart, round the end as well."""
    keys = [("same",) if row < 4 else (f"passage {row}",) for row in range(1000)]
    order = _spread(keys, np.random.default_rng(seed))
    found = [place for place, row in enumerate(order) if row < 4]
    distances = [(b - a) % 1000 for a, b in zip(found, [*found[1:], found[0]], strict=True)]
    assert max(distances) < 320 and min(distances) > 180
