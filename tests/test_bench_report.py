"""The page of benchmarks: every record under its heading, none left out, one line for what is no record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from experiments.bench_report import speed_page
from experiments.record import RESULTS
from sbert.errors import RunError

START = {
    "command": ["python", "-m", "experiments.bench_start", "--output", ".../start.json"],
    "environment": {"commit": "0123456789abcdef"},
    "processor": "one",
    "threads": 2,
    "seconds": {"--help": {"median": 0.2, "min": 0.1, "max": 0.3}},
    "evaluation_over_yardstick": {"median": 1.375, "min": 1.25, "max": 1.5},
}


def test_a_record_under_its_heading(tmp_path: Path) -> None:
    (tmp_path / "start.json").write_text(json.dumps(START))
    page = speed_page(tmp_path)
    assert "## Start-up: start\n\n`python -m experiments.bench_start --output start.json`\n" in page
    assert "one, 2 threads, commit 0123456789." in page
    assert "--help                       0.20  0.10  0.30\n" in page
    assert "evaluation over yardstick    1.38  1.25  1.50\n" in page
    (tmp_path / "start.png").touch()
    assert f"![Start-up](../results/{tmp_path.name}/start.png)" in speed_page(tmp_path)


def test_committed_records_stand_in_a_fixed_order() -> None:
    page = speed_page(RESULTS / "bench")
    names = [line.rpartition(": ")[2] for line in page.splitlines() if line.startswith("## ")]
    assert sorted(names) == sorted(path.stem for path in (RESULTS / "bench").glob("*.json"))
    assert names.index("encode-stsb") < names.index("train-stsb") < names.index("rerank-stsb")


def test_what_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "start.json").write_text(json.dumps({**START, "seconds": None, "processor": "one"}))
    with pytest.raises(RunError, match=r"start\.json: not a record of a benchmark"):
        speed_page(tmp_path)
    (tmp_path / "start.json").write_text(json.dumps({**START, "seconds": [1]}))
    with pytest.raises(RunError, match=r"not a record of a benchmark: 'list' object is not a mapping$"):
        speed_page(tmp_path)
    shutil.move(tmp_path / "start.json", tmp_path / "other.json")
    with pytest.raises(RunError, match=r"other\.json: allowed names begin with encode, train"):
        speed_page(tmp_path)
