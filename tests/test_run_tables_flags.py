"""python -m experiments.run: --dry-run, --list, --verify, and flags that are refused."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from run_steps import EVERYTHING, Steps, call, record, stand_in

from experiments import run
from experiments.rows import TABLES, runner


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Steps:
    return stand_in(monkeypatch, tmp_path)


# ---------------------------------------------------------------- --dry-run, --list, wrong flags


def test_dry_run(steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "--row", "scored", "--seed", "1") == 0
    capsys.readouterr()
    steps.commands.clear()
    assert call(tmp_path, "--dry-run", "--data-dir", "/my data") == 0
    lines = capsys.readouterr().out.splitlines()
    assert steps.commands == [] and not (tmp_path / "runs/toy/two").exists()
    assert [line for line in lines if line.startswith("#")] == [
        "# toy/scored, seed 0: Scored (has a record)",
        *(
            f"# toy/{row}, seed {seed}: {name}"
            for seed in (1, 2)
            for row, name in (("two", "Two steps"), ("after", "After"))
        ),
    ]
    commands = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert [words[0] for words in commands] == ["SBERT_DATA=/my data"] * 7
    assert call(tmp_path) == 0
    typed = {tuple(words[2:]) for words in commands if "scored" not in words[-1]}
    assert typed == {tuple(words[1:]) for words in steps.commands}


def test_list(steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "--row", "scored", "two", "--seed", "1") == 0
    capsys.readouterr()
    assert run.main(["--list", "--table", "toy"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["scored"] == ["scored", "offline", "1/1", "Mean", "-", "37.50", "Scored"]
    assert lines["same"][:6] == ["same", "offline", "1/2", "Mean", "-", "38.00"]
    assert lines["quoted"] == ["quoted", "quoted", "-", "A", "40.00", "-", "Quoted"]
    assert run.main(["--list", "--edition", "offline"]) == 0
    listed = capsys.readouterr().out
    for table in TABLES.values():
        assert all(row.name in listed for row in table.rows if row.edition == "offline")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("", "--table is missing: allowed are table1"),
        ("--table tabel1", "--table tabel1: allowed are table1, table2"),
        ("--table toy --row skored", "--row skored: toy has scored, after, two, same, quoted, hub, found, folds; did you mean scored?"),
        ("--table 3", "--table table3 has no offline rows"),
        ("--table 8", "--table table8: allowed are table1"),
        ("--table toy --row quoted", "toy/quoted is quoted from the paper: there is nothing to run"),
        ("--table toy --edition quoted", "is quoted from the paper"),
        ("--table toy --row hub", "--row hub is of --edition paper, not offline"),
        ("--table toy --row scored --edition paper", "--row scored is of --edition offline, not paper"),
        ("--table table3", "--table table3 has no offline rows; its editions are quoted, paper"),
        ("--table toy table1 --row scored", "--row is for one --table"),
        ("--table toy --seed -1", "--seed -1: must be at least 0"),
        ("--table toy --verify --again", "--verify repeats rows as they are recorded"),
        ("--table toy --verify -- --max-updates 2", "--verify repeats rows as they are recorded"),
        ("--list --again", "--again is for running, and --list runs nothing"),
        ("--table toy -- 7", "'7' after --: flags of train.py are wanted there"),
        ("--table toy -- --max-updates -2", "--max-updates -2: must be at least 0"),
        ("--table toy -- --max-update 2", "unknown flag --max-update; did you mean --max-updates?"),
        ("--table toy --row scored -- --max-updates 2", "--max-updates is about training, and --eval-only trains nothing"),
        ("--table toy --row found --edition paper -- --max-updates 2", "--max-updates: none of these rows runs train.py"),
    ],
)  # fmt: skip
def test_wrong_flags(steps: Steps, capsys: pytest.CaptureFixture[str], words: str, part: str) -> None:
    assert run.main(words.split()) == 2
    err = capsys.readouterr().err
    assert part in err and err.count("\n") == 1
    assert steps.commands == []


def test_argparse_errors() -> None:
    for words in (
        ["--tables", "table1"],
        ["--table", "table1", "--seed", "x"],
        ["--table", "table1", "--edition", "x"],
    ):
        with pytest.raises(SystemExit) as stop:
            run.main(words)
        assert stop.value.code == 2


# ---------------------------------------------------------------- --verify


def test_verify(steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "--verify") == 3
    assert "nothing to verify" in capsys.readouterr().err and steps.commands == []
    assert call(tmp_path, "--row", "scored", "after", "--seed", "1") == 0
    for shift, verdict, code in ((0.0, "same", 0), (0.004, "near", 0), (0.02, "differs", 1)):
        steps.commands.clear()
        steps.shift = shift
        capsys.readouterr()
        kept = record(tmp_path, "scored-seed0")
        assert call(tmp_path / verdict, "--verify", "--row", "scored") == code
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        again = f"{50 + 100 * shift:.2f}"
        assert ["toy/scored", "0", "A", "50.00", again, "0.50", verdict] in lines
        assert ["toy/scored", "0", "B", "25.00", "25.00", "0.50", "same"] in lines
        assert len(steps.commands) == 1 and "/verify-" in steps.commands[0][-1]
        assert record(tmp_path, "scored-seed0") == kept
    steps.shift = 0.0
    steps.commands.clear()
    assert call(tmp_path / "all", "--verify") == 0  # what a row builds on is run anew as well
    assert steps.started == [*EVERYTHING[:4]]


def test_verify_of_a_row_that_fails(steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "--row", "scored") == 0
    steps.codes = {"scored/seed0/1": 1}
    assert call(tmp_path, "--verify", "--row", "scored") == 1
    assert ["toy/scored", "0", "failed"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_help_and_tables_are_torch_free() -> None:
    code = "import sys, experiments.run as r, experiments.render; r.build_parser().format_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=runner.ROOT).returncode == 0


# ---------------------------------------------------------------- trials, locks, odd records


def test_a_trial_is_not_taken_for_another(
    steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["--row", "two", "--seed", "1", "--model", "M1"]
    assert call(tmp_path, *one) == 0 and call(tmp_path, *one) == 0
    capsys.readouterr()
    assert call(tmp_path, "--row", "two", "--seed", "1", "--model", "M2") == 1
    assert "its record in" in (err := capsys.readouterr().err) and "is of M1" in err
    assert call(tmp_path, *one, "--", "--max-updates", "2") == 1
    assert call(tmp_path, "--row", "two", "--seed", "1", "--model", "M2", "--again") == 0


@pytest.mark.parametrize(
    "flag", ["--model", "--seed", "--output-dir", "--run-name", "--resume", "--eval-only", "--data-dir"]
)
def test_what_the_row_decides_cannot_be_given_after_the_dashes(
    steps: Steps, tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [flag] if flag == "--eval-only" else [flag, "7"]
    assert call(tmp_path, "--row", "two", "--", *words) == 2
    assert f"{flag} after --" in capsys.readouterr().err and steps.commands == []


@pytest.mark.parametrize("flag", ["--model", "--data-dir", "--runs-dir"])
def test_an_empty_value_is_not_a_missing_flag(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--table", "table1", flag, "", "--dry-run"]) == 2
    assert f"{flag} is empty" in capsys.readouterr().err


def test_a_child_that_outlives_its_runner_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "row.lock"
    with runner.locked(lock, "toy/two", 1):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        with pytest.raises(runner.RowFailed, match="is being run by another process"):
            runner.locked(lock, "toy/two", 1).__enter__()
    finally:
        child.communicate(b"\n")
    with runner.locked(lock, "toy/two", 1):
        pass


def test_a_record_without_steps_is_none(
    steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, "--row", "scored") == 0
    found = record(tmp_path, "scored-seed0")
    del found["steps"]
    (tmp_path / "results/toy/scored-seed0.json").write_text(json.dumps(found))
    assert call(tmp_path, "--row", "scored") == 1
    assert "not a record of toy/scored" in capsys.readouterr().err


def test_a_run_without_any_of_the_columns_is_no_success(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "metrics_of", lambda step, folder: {"other/rho": 0.5})
    assert call(tmp_path, "--row", "scored") == 1
    assert "its metrics.json has none of a/rho" in capsys.readouterr().err
    assert not (tmp_path / "results/toy").exists()
