"""Every row of --edition paper, end to end and with its own flags: tables 1, 2, 4, 6, 7 and ours; see paper_rows.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from paper_rows import (
    KEYS,
    RUN_AS,
    Bench,
    check_columns,
    check_training,
    commands,
    of_tables,
    paper_bench,
    shown,
    trained_in,
)

from experiments.rows import TABLES, source_of

FOLDS = ("table3", "table5")  # in test_paper_rows_folds.py
HERE = [name for name in TABLES if name not in FOLDS]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with paper_bench(tmp_path_factory.mktemp("paper")) as made:
        yield made


@pytest.mark.parametrize("key", of_tables(*HERE), ids=shown)
def test_a_row_fills_its_columns(bench: Bench, key: str) -> None:
    check_columns(bench, key)


@pytest.mark.parametrize("key", trained_in(*HERE))
def test_a_row_trains_as_the_paper_does(bench: Bench, key: str) -> None:
    check_training(bench, key)


def test_which_rows_stand_for_others() -> None:
    """Rows fall together that differ in encoder, or in the device of table 7, and by nothing else."""
    assert len(of_tables(*HERE, *FOLDS)) == len(KEYS)
    assert all(RUN_AS[run] == run for run in RUN_AS.values())
    own = [key for key in KEYS if source_of(key) == key]
    assert len({commands(key, as_written=True) for key in own}) == len(own)  # no row is another one's copy
    assert {key: run for key, run in RUN_AS.items() if key.startswith(("table1/", "table7/")) and key != run} == {
        "table1/sbert-nli-large": "table1/sbert-nli-base",
        "table1/sroberta-nli-base": "table1/sbert-nli-base",
        "table1/sroberta-nli-large": "table1/sbert-nli-base",
        "table7/sbert-base-gpu": "table7/sbert-base-cpu",
        "table7/sbert-base-smart-gpu": "table7/sbert-base-smart-cpu",
    }  # fmt: skip
    assert RUN_AS["table5/sbert-nli-large"] == "table5/sbert-nli-base"  # what they build on falls together
