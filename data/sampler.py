"""Which rows make up which batch: pure functions of (seed, epoch), so that a resumed run finds its place by counting.

Every row of every set appears exactly once an epoch and the number of batches is known before the first one.
"""

from collections.abc import Hashable, Sequence
from itertools import chain

import numpy as np

SAMPLERS = ("length", "random")
UNIT = 8  # passages of one topic that stand side by side
WINDOW = 50  # batches; rows are grouped by length inside a window this wide, so that the order stays random


def batches_of_rows(
    lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int, sampler: str = "length"
) -> list[list[int]]:
    """Row numbers in batches of ``batch_size`` (the last one of the epoch may be smaller), shuffled.

    lengths: tokens of each row. sampler: "length" puts rows of like length together, which keeps padding at a few per
    cent; "random" does not. Raises ValueError on another name.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler {sampler!r}: allowed are {', '.join(SAMPLERS)}")
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    if sampler == "length":
        width = WINDOW * batch_size
        size = np.asarray(lengths)
        windows = [order[i : i + width] for i in range(0, len(order), width)]
        order = np.concatenate([w[np.argsort(size[w], kind="stable")] for w in windows]) if windows else order
    batches = [order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def batches_without_duplicates(
    keys: Sequence[Sequence[Hashable]], batch_size: int, *, seed: int, epoch: int
) -> list[list[int]]:
    """Row numbers in batches no two rows of which have a key in common, for losses that take a batch for negatives.

    keys: what must not come twice in a batch, of each row: its question and its passage, say. Every row is used once, so
    towards the end batches may be smaller: rows whose passage is all that is left cannot share one. The rows of one key
    are spread over the epoch, which keeps that rare.
    """
    rng = np.random.default_rng([seed, epoch])
    held: list[int] = []  # rows that the batch before could not take: first in line for the next
    stream = iter(_spread(keys, rng))
    batches = []
    while True:
        batch: list[int] = []
        taken: set[Hashable] = set()
        refused: list[int] = []
        waiting = iter(held)
        for row in chain(waiting, stream):
            if taken.isdisjoint(keys[row]):
                taken.update(keys[row])
                batch.append(row)
                if len(batch) == batch_size:
                    break
            else:
                refused.append(row)
        if not batch:
            break
        held = refused + list(waiting)
        batches.append(batch)
    return [batches[i] for i in rng.permutation(len(batches))]


def _spread(keys: Sequence[Sequence[Hashable]], rng: np.random.Generator) -> list[int]:
    """All rows in random order, the rows that share their most frequent key at even distances from one another."""
    count: dict[Hashable, int] = {}
    for row in keys:
        for key in set(row):
            count[key] = count.get(key, 0) + 1
    start: dict[Hashable, float] = {}
    seen: dict[Hashable, int] = {}
    place = np.empty(len(keys))
    for row in rng.permutation(len(keys)).tolist():
        key = max(keys[row], key=lambda k: count[k])
        turn = seen[key] = seen.get(key, -1) + 1
        place[row] = (turn + start.setdefault(key, rng.random())) / count[key] % 1
    return np.argsort(place, kind="stable").tolist()


def batches_by_topic(
    topics: Sequence[tuple[Hashable, Hashable]], batch_size: int, *, seed: int, epoch: int
) -> list[list[int]]:
    """Row numbers in batches in which the rows of a passage stand side by side, and up to UNIT passages of a topic too
    (the end of a batch may part them).

    topics: (topic, passage) of each row. For losses that take a batch for negatives: the nearest wrong passages are those
    of the same topic (topic-aware sampling, Hofstätter et al. 2021, arXiv 2104.06967), and a passage with five questions is
    encoded once for all of them. Every row is used once; a batch is full but for the last one.
    """
    rng = np.random.default_rng([seed, epoch])
    rows_of: dict[Hashable, dict[Hashable, list[int]]] = {}
    for row, (topic, passage) in enumerate(topics):
        rows_of.setdefault(topic, {}).setdefault(passage, []).append(row)
    units: list[list[int]] = []
    for passages in rows_of.values():
        groups = list(passages.values())
        order = [groups[i] for i in rng.permutation(len(groups))]
        units += [list(chain(*order[i : i + UNIT])) for i in range(0, len(order), UNIT)]
    rows = list(chain(*(units[i] for i in rng.permutation(len(units)))))
    batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def mixed_batches(
    lengths: Sequence[Sequence[int]],
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    sampler: str = "auto",
    keys: Sequence[Sequence[Sequence[Hashable]] | None] = (),
    topics: Sequence[Sequence[tuple[Hashable, Hashable]] | None] = (),
    round_robin: bool = False,
) -> list[tuple[int, list[int]]]:
    """Batches of several sets, (number of the set, its rows); each batch is of one set.

    In one shuffled order a set gets batches in proportion to its size, because every row is used once. round_robin: the
    sets take turns, a batch each, until the first of them has none left; every epoch shuffles anew, so the rows that a
    large set was not asked for are not always the same. keys: of each set, what must not come
    twice in a batch, or None. topics: (topic, passage) of each row, or None. sampler "auto": no duplicates where a set has
    keys, else "length". Raises ValueError for "topics" on a set without.
    """
    plans: list[list[tuple[int, list[int]]]] = []
    for number, rows_of_set in enumerate(lengths):
        own = keys[number] if number < len(keys) else None
        if sampler == "auto" and own is not None:
            batches = batches_without_duplicates(own, batch_size, seed=seed, epoch=epoch)
        elif sampler == "topics":
            about = topics[number] if number < len(topics) else None
            if about is None:
                raise ValueError(f"sampler 'topics': set {number} has no passages")
            batches = batches_by_topic(about, batch_size, seed=seed, epoch=epoch)
        else:
            name = "length" if sampler == "auto" else sampler
            batches = batches_of_rows(rows_of_set, batch_size, seed=seed, epoch=epoch, sampler=name)
        plans.append([(number, rows) for rows in batches])
    if round_robin:
        return [batch for turn in zip(*plans, strict=False) for batch in turn]
    plan = list(chain(*plans))
    if len(lengths) > 1:
        plan = [plan[i] for i in np.random.default_rng([seed, epoch, len(lengths)]).permutation(len(plan))]
    return plan
