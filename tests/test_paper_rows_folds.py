"""The rows of --edition paper that train many models or classifiers, tables 3 and 5; see paper_rows.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from paper_rows import Bench, check_columns, check_training, of_tables, paper_bench, shown, trained_in

HERE = ("table3", "table5")


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
