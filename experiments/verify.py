"""A repetition against our own record, cell by cell: the same, near, or different. Pure functions; no paper in them.

    python -m experiments.run --table table2 --row sbert-stsb-6 --verify

same      at most 0.01 apart, in the unit shown (Spearman x 100, ...)
near      within the row's tolerance: the larger of 0.5 (where row or column say nothing else) and three standard deviations
          of the row's recorded seeds
differs   further apart, or there on one side only
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev

from experiments.rows.row import Column, Row, Table, Values

SAME, NEAR, DIFFERS = "same", "near", "differs"
EXACT = 0.01
SLACK = 1e-9  # of rounding: 80.25 and 80.26 are 0.01 apart


@dataclass(frozen=True)
class Verdict:
    """One cell of one seed. allowed: how far apart ``near`` reaches."""

    column: str
    recorded: float | None
    repeated: float | None
    allowed: float
    verdict: str


def allowance(column: Column, row: Row, recorded: Sequence[float]) -> float:
    """How far a repetition may lie from the record, in the column's unit. recorded: one value a seed."""
    least = column.tolerance if row.tolerance is None else row.tolerance
    if column.relative:
        least *= max(map(abs, recorded), default=0.0)
    return max(least, 3 * stdev(recorded) if len(recorded) > 1 else 0.0)


def judge(recorded: float | None, repeated: float | None, allowed: float) -> str | None:
    """The verdict of two numbers; None where neither side has one."""
    if recorded is None and repeated is None:
        return None
    if recorded is None or repeated is None or math.isnan(recorded) or math.isnan(repeated):
        return DIFFERS
    apart = abs(recorded - repeated)
    if apart <= EXACT + SLACK:
        return SAME
    return NEAR if apart <= allowed + SLACK else DIFFERS


def verdicts(
    table: Table, row: Row, seed: int, recorded: dict[int, Values], repeated: Values
) -> list[Verdict]:
    """Of every column that the record or the repetition of a seed has. recorded: of all seeds of the row."""
    out = []
    for column in table.columns:
        known = [value for one in recorded.values() if (value := one[column.title]) is not None]
        allowed = allowance(column, row, known)
        ours, again = recorded[seed][column.title], repeated[column.title]
        verdict = judge(ours, again, allowed)
        if verdict is not None:
            out.append(Verdict(column.title, ours, again, allowed, verdict))
    return out


def exit_code(found: Sequence[Verdict], failed: int) -> int:
    """0: all same or near. 1: something differs, or a row failed. 3: there was nothing to compare."""
    if failed or any(one.verdict == DIFFERS for one in found):
        return 1
    return 0 if found else 3
