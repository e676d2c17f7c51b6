"""A repetition against the record: verdicts, tolerances and exit codes, by hand."""

from __future__ import annotations

import pytest

from experiments.rows.row import Column, Row, Table
from experiments.verify import allowance, exit_code, judge, verdicts

RHO = Column("rho", "rho")
SPEED = Column("speed", "speed", scale=1.0, tolerance=0.2, relative=True)
TABLE = Table("toy", "Toy", (RHO, SPEED), ())
ROW = Row("x", "x", "offline", seeds=(1, 2, 3))


@pytest.mark.parametrize(
    ("recorded", "repeated", "verdict"),
    [
        (80.25, 80.25, "same"),
        (80.25, 80.26, "same"),
        (80.25, 80.24, "same"),
        (80.25, 80.27, "near"),
        (80.25, 79.75, "near"),
        (80.25, 79.74, "differs"),
        (80.25, 80.80, "differs"),
        (80.25, None, "differs"),
        (None, 80.25, "differs"),
        (80.25, float("nan"), "differs"),
        (None, None, None),
    ],
)
def test_three_verdicts(recorded: float | None, repeated: float | None, verdict: str | None) -> None:
    assert judge(recorded, repeated, 0.5) == verdict


def test_allowance_is_the_larger_of_half_a_point_and_three_deviations() -> None:
    assert allowance(RHO, ROW, [80.0]) == 0.5
    assert allowance(RHO, ROW, [80.0, 80.1]) == 0.5  # three times 0.0707
    assert allowance(RHO, ROW, [80.0, 81.0, 82.0]) == pytest.approx(3.0)  # deviation 1
    assert allowance(RHO, Row("x", "x", "offline", tolerance=2.0), [80.0]) == 2.0
    assert allowance(SPEED, ROW, [400.0]) == pytest.approx(80.0)


def test_verdicts_of_a_row() -> None:
    recorded = {
        1: {"rho": 80.0, "speed": None},
        2: {"rho": 81.0, "speed": None},
        3: {"rho": 82.0, "speed": None},
    }
    (one,) = verdicts(TABLE, ROW, 2, recorded, {"rho": 78.5, "speed": None})
    assert (one.column, one.recorded, one.repeated, one.verdict) == ("rho", 81.0, 78.5, "near")
    (one,) = verdicts(TABLE, ROW, 2, recorded, {"rho": 77.9, "speed": None})
    assert one.verdict == "differs"
    appeared = verdicts(TABLE, ROW, 2, recorded, {"rho": 81.0, "speed": 3.0})
    assert [one.verdict for one in appeared] == ["same", "differs"]


def test_exit_codes() -> None:
    same, near, differs = (
        verdicts(Table("t", "T", (RHO,), ()), ROW, 1, {1: {"rho": 80.0}}, {"rho": again})
        for again in (80.0, 80.3, 90.0)
    )
    assert exit_code([*same, *near], 0) == 0
    assert exit_code([*same, *differs], 0) == 1
    assert exit_code(same, 1) == 1 and exit_code([], 1) == 1
    assert exit_code([], 0) == 3
