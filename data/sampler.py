"""Which rows make up which batch: pure functions of (seed, epoch), so that a resumed run finds its place by counting.

Every row of every set appears exactly once an epoch and the number of batches is known before the first one.
"""

from collections.abc import Sequence

import numpy as np

SAMPLERS = ("length", "random")
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


def mixed_batches(
    lengths: Sequence[Sequence[int]], batch_size: int, *, seed: int, epoch: int, sampler: str = "length"
) -> list[tuple[int, list[int]]]:
    """Batches of several sets in one shuffled order, (number of the set, its rows); each batch is of one set.

    A set gets batches in proportion to its size, because every row is used once.
    """
    plan = [
        (number, rows)
        for number, rows_of_set in enumerate(lengths)
        for rows in batches_of_rows(rows_of_set, batch_size, seed=seed, epoch=epoch, sampler=sampler)
    ]
    if len(lengths) > 1:
        plan = [plan[i] for i in np.random.default_rng([seed, epoch, len(lengths)]).permutation(len(plan))]
    return plan
