"""python -m experiments.run: what is started, kept, continued and recorded. Steps are stood for (tests/run_steps.py);
tests/test_run_tables_training.py runs real ones."""

from __future__ import annotations

import fcntl
import itertools
import json
import sys
from pathlib import Path

import pytest
from run_steps import EVERYTHING, Steps, call, record, stand_in

from experiments import run
from experiments.rows import records, runner


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Steps:
    return stand_in(monkeypatch, tmp_path)


# ---------------------------------------------------------------- running


def test_every_offline_row_is_run_once(
    steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path) == 0
    assert steps.started == EVERYTHING  # what a row builds on comes first, "same" shows another's runs
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["scored", "0", "50.00", "25.00", "37.50", "run"] in lines
    assert ["two", "1", "51.00", "25.00", "38.00", "recorded"] in lines  # it was run for "after"
    assert ["same", "2", "52.00", "25.00", "38.50", "recorded"] in lines


def test_commands_are_whole(steps: Steps, tmp_path: Path) -> None:
    assert call(tmp_path, "--row", "after", "--seed", "2", "--data-dir", "my-data") == 0
    runs = tmp_path / "runs/toy"
    assert steps.commands == [
        [sys.executable, "train.py", *words.split(), "--seed", "2", "--output-dir", str(runs / folder)]
        for words, folder in (
            ("--train-data samples-nli", "two/seed2/1"),
            (f"--model {runs}/two/seed2/1/model --train-data samples", "two/seed2/2"),
            (f"--model {runs}/two/seed2/2/model --train-data samples", "after/seed2/1"),
        )
    ]
    assert {one["SBERT_DATA"] for one in steps.environments} == {str(Path("my-data").absolute())}


def test_a_record(steps: Steps, tmp_path: Path) -> None:
    assert call(tmp_path, "--row", "two", "--seed", "1") == 0
    found = record(tmp_path, "two-seed1")
    assert (found["table"], found["row"], found["seed"], found["edition"]) == ("toy", "two", 1, "offline")
    assert found["command"] == "python -m experiments.run --table toy --row two --edition offline --seed 1"
    first, second = found["steps"]
    assert first["command"] == (
        "python train.py --train-data samples-nli --seed 1 --output-dir runs/tables/toy/two/seed1/1"
    )
    assert second["flags"] == {"data_dir": "(a local folder)", "model": "runs/tables/toy/two/seed1/1/model"}
    assert second["environment"]["commit"] == "c0ffee" and second["data"] == {"x.tsv": "ab"}
    assert first["metrics"]["a/rho"] == 0.51 and found["metrics"]["a/rho"] == 0.51
    assert str(tmp_path) not in json.dumps(found) and "changed" not in found


def test_a_program_with_results_of_its_own(steps: Steps, tmp_path: Path) -> None:
    assert call(tmp_path, "--row", "found", "--edition", "paper") == 0
    assert (
        steps.commands[0][1:3] == ["-m", "experiments.retrieve"] and "--output-dir" not in steps.commands[0]
    )
    assert record(tmp_path, "found-seed0")["metrics"] == {"hybrid/mrr@10": 0.5, "hybrid/ms/search": 1.5}


# ---------------------------------------------------------------- going on


def test_what_is_recorded_is_passed_over(steps: Steps, tmp_path: Path) -> None:
    assert call(tmp_path) == 0
    steps.commands.clear()
    assert call(tmp_path) == 0
    assert steps.commands == []


def test_a_finished_run_is_collected(
    steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path) == 0
    (tmp_path / "results/toy/scored-seed0.json").unlink()
    steps.commands.clear()
    assert call(tmp_path) == 0
    assert steps.commands == [] and record(tmp_path, "scored-seed0")["metrics"]["a/rho"] == 0.5
    assert "collected" in capsys.readouterr().out


def test_an_interrupted_table_goes_on(
    steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps.codes = {"two/seed1/2": 130}
    assert call(tmp_path) == 130
    assert steps.started == EVERYTHING[:3]  # nothing is started after it
    assert "stopped; the same command goes on" in capsys.readouterr().err
    steps.commands.clear()
    assert call(tmp_path) == 0
    assert steps.started == ["two/seed1/2 again", *EVERYTHING[3:]]
    assert steps.commands[0] == [
        sys.executable,
        "train.py",
        "--resume",
        str(tmp_path / "runs/toy/two/seed1/2"),
    ]


def test_seconds_are_of_every_step_that_ran_in_one_go(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count(0, 10)
    monkeypatch.setattr(runner.time, "monotonic", lambda: float(next(ticks)))
    steps.codes = {"two/seed1/2": 130, "scored/seed0/1": 130}
    assert call(tmp_path, "--row", "two", "--seed", "1") == 130
    assert call(tmp_path, "--row", "two", "--seed", "1") == 0
    assert [step.get("seconds") for step in record(tmp_path, "two-seed1")["steps"]] == [10, None]
    assert call(tmp_path, "--row", "two", "--seed", "1", "--again") == 0
    assert [step["seconds"] for step in record(tmp_path, "two-seed1")["steps"]] == [10, 10]
    assert call(tmp_path, "--row", "scored") == 130
    assert call(tmp_path, "--row", "scored") == 0  # an evaluation starts over
    assert record(tmp_path, "scored-seed0")["steps"][0]["seconds"] == 10


def test_a_full_disk_for_the_seconds_is_no_failure(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runner, "write_text_atomically", full)
    assert call(tmp_path, "--row", "two", "--seed", "1") == 0
    assert [step.get("seconds") for step in record(tmp_path, "two-seed1")["steps"]] == [None, None]


def test_an_evaluation_starts_over(steps: Steps, tmp_path: Path) -> None:
    steps.codes = {"scored/seed0/1": 143}
    assert call(tmp_path, "--row", "scored") == 143
    assert call(tmp_path, "--row", "scored") == 0
    assert steps.started == ["scored/seed0/1"] * 2


def test_a_start_that_came_to_nothing_is_removed(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "runs/toy/two/seed1/1/model").mkdir(parents=True)  # train.py would refuse it
    assert call(tmp_path, "--row", "two", "--seed", "1") == 0
    assert not (tmp_path / "runs/toy/two/seed1/1/model").exists()


def test_a_program_that_goes_on_by_itself_keeps_its_folder(steps: Steps, tmp_path: Path) -> None:
    words = ("--row", "folds", "--edition", "paper")
    steps.codes = {"folds/seed1/1": 1}
    assert call(tmp_path, *words) == 1
    (tmp_path / "runs/toy/folds/seed1/1/fold-1").mkdir()
    assert call(tmp_path, *words) == 0
    assert (tmp_path / "runs/toy/folds/seed1/1/fold-1").exists()
    assert steps.commands[0] == steps.commands[1]


def test_again(steps: Steps, tmp_path: Path) -> None:
    assert call(tmp_path) == 0
    steps.commands.clear()
    steps.shift = 0.1
    assert call(tmp_path, "--again", "--row", "after", "--seed", "1") == 0
    assert steps.started == ["after/seed1/1"]  # what it builds on is kept
    assert record(tmp_path, "after-seed1")["metrics"]["a/rho"] == pytest.approx(0.61)
    assert record(tmp_path, "two-seed1")["metrics"]["a/rho"] == 0.51
    steps.commands.clear()
    assert call(tmp_path, "--again") == 0
    assert steps.started == EVERYTHING


# ---------------------------------------------------------------- failures


def test_a_failing_row_is_reported_and_the_others_go_on(
    steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps.codes = {"two/seed1/2": 1}
    assert call(tmp_path) == 1
    assert steps.started == [*EVERYTHING[:3], *EVERYTHING[4:]]  # "after" of this seed has nothing to build on
    out, err = capsys.readouterr()
    assert "toy/two, seed 1, failed: step 2 (train.py) ended with exit code 1" in err
    assert "toy/after, seed 1, failed: it builds on toy/two, seed 1: step 2 (train.py) ended" in err
    assert "3 failed" in out and ["two", "1", "-", "-", "-", "failed"] in [
        line.split() for line in out.splitlines()
    ]


def test_a_step_that_leaves_nothing(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "execute", lambda words, environment: 0)
    assert call(tmp_path, "--row", "scored") == 1
    assert "step 1 (train.py) left no metrics.json" in capsys.readouterr().err


def test_a_run_of_other_flags_is_not_taken(
    steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, "--row", "scored", "--model", "other-model") == 0
    steps.commands.clear()
    assert call(tmp_path, "--row", "scored") == 1
    assert "holds a run of other flags: other-model; --again runs the row anew" in capsys.readouterr().err
    assert steps.commands == [] and not (tmp_path / "results").exists()
    assert call(tmp_path, "--row", "scored", "--again") == 0
    assert steps.started == ["scored/seed0/1"]


def test_two_at_once(steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = tmp_path / "runs/toy/scored/seed0.lock"
    lock.parent.mkdir(parents=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert call(tmp_path, "--row", "scored") == 1
    assert "toy/scored, seed 0, is being run by another process" in capsys.readouterr().err
    assert call(tmp_path, "--row", "scored") == 0


def test_a_damaged_record_is_named(steps: Steps, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results/toy/scored-seed0.json"
    path.parent.mkdir(parents=True)
    for text in ("{", "{}"):
        path.write_text(text)
        assert call(tmp_path, "--row", "scored") == 1
        assert str(path) in capsys.readouterr().err


# ---------------------------------------------------------------- another model, further flags


def test_another_model_and_further_flags(steps: Steps, tmp_path: Path) -> None:
    flags = ("--model", "tiny", "--", "--max-updates", "2", "--precision", "fp32")
    assert call(tmp_path, "--row", "scored", "after", "--seed", "1", *flags) == 0
    evaluation, first, second, third = (words[2 : words.index("--output-dir")] for words in steps.commands)
    assert evaluation == [
        *["--eval-only", "--model", "tiny", "--num-layers", "4", "--eval-data", "samples-sts-en"],
        "--precision",
        "fp32",
    ]
    more = ["--seed", "1", "--max-updates", "2", "--precision", "fp32"]
    assert first == [*["--train-data", "samples-nli", "--seed", "1", "--model", "tiny"], *more[2:]]
    assert second == ["--model", f"{tmp_path}/runs/toy/two/seed1/1/model", "--train-data", "samples", *more]
    assert third == ["--model", f"{tmp_path}/runs/toy/two/seed1/2/model", "--train-data", "samples", *more]
    assert not (tmp_path / "results").exists()  # never among the committed ones
    found = json.loads((tmp_path / "runs/records/toy/after-seed1.json").read_text())
    assert found["changed"] == {"model": "tiny", "extra": ["--max-updates", "2", "--precision", "fp32"]}


def test_runs_of_another_model_have_a_folder_of_their_own() -> None:
    for words, runs_dir in (
        ([], "runs/tables"),
        (["--model", "m"], "runs/tables-trial"),
        (["--", "--max-updates", "2"], "runs/tables-trial"),
    ):
        made = run.runner_of(run.parse(["--table", "table1", *words]))
        assert made.runs_dir == runs_dir
        assert (made.folder_of_records == records.RECORDS) == (not words)
