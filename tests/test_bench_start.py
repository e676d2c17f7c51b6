"""experiments.bench_start: turns, ratio by hand, a process that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import bench_start


def test_turns_and_the_ratio(
    tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rounds of (0.1, 2, 2.5, 3) and (0.3, 4, 2, 5) seconds: ratios 1.5 and 1.25; 1.2 and 2.5."""
    told = iter([0.1, 2.0, 2.5, 3.0, 0.3, 4.0, 2.0, 5.0])
    monkeypatch.setattr(bench_start, "seconds_of", lambda words, threads: next(told))
    output = tmp_path / "start.json"
    assert bench_start.main(["--rounds", "2", "--model", str(tiny_model_dir), "--output", str(output)]) == 0
    record = json.loads(output.read_text(encoding="utf8"))
    assert record["evaluation_over_yardstick"]["median"] == pytest.approx(1.375)
    assert record["evaluation_over_library"]["median"] == pytest.approx(1.85)
    assert record["seconds"]["--help"]["median"] == pytest.approx(0.2)
    assert "evaluation over library" in capsys.readouterr().out
    assert str(tiny_model_dir) not in output.read_text(encoding="utf8")


def test_what_is_timed_works(tiny_model_dir: Path) -> None:
    """The yardstick loads the weights; the evaluation's words are train.py's own."""
    from sbert.flag_checks import parse

    help_, yardstick, library, evaluation = bench_start.commands(tiny_model_dir).values()
    assert help_[1:] == ["train.py", "--help"]
    assert subprocess.run(yardstick, check=False).returncode == 0
    assert subprocess.run(library, check=False).returncode == 0
    flags, _ = parse(evaluation[2:])
    assert flags.eval_only and flags.eval_data == ["samples-sts"]


def test_a_process_that_fails_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(bench_start.RunError, match="ended with 3: no room"):
        bench_start.seconds_of(
            [sys.executable, "-c", "import sys; print('no room', file=sys.stderr); sys.exit(3)"], 1
        )
    assert bench_start.main(["--rounds", "0"]) == 2
    assert bench_start.main(["--rounds", "1", "--model", "no/such/model"]) == 1
    assert capsys.readouterr().err.count("\n") == 2
