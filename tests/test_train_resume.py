"""train.py --resume: a stopped or killed run goes on as if it had never stopped, and what is no run is refused."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from train_process import (
    SMALL,
    STS_HEADER,
    Result,
    Running,
    TrainRunner,
    contents,
    own,
    put,
    said,
    same_numbers,
)

from data.files import sha256_of

# ---------------------------------------------------------------- resuming what cannot be resumed


def damage_state(run: Path) -> None:
    path = run / "checkpoints/update-00000006/state.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


CHECKPOINT = "run/checkpoints/update-00000006"
BAD_RESUMES: dict[str, tuple[Callable[[Path], object], list[Any], int, tuple[str, ...]]] = {
    "one bit of the checkpoint": (
        damage_state, [], 1,
        (f"{CHECKPOINT}/state.pt is damaged: sha256 is ", "state.json says ", "remove this folder"),
    ),
    "half a checkpoint": (lambda run: (run / "checkpoints/update-00000006/state.json").unlink(), [], 1, (f"{CHECKPOINT}: not a whole checkpoint",)),
    "no state.pt": (lambda run: (run / "checkpoints/update-00000006/state.pt").unlink(), [], 1, (f"{CHECKPOINT}: not a whole checkpoint",)),
    "state.json an empty list": (put("checkpoints/update-00000006/state.json", b"[]"), [], 1, (f"{CHECKPOINT}: not a whole checkpoint",)),
    "config not JSON": (put("config.json", b"{"), [], 1, ("run/config.json: not a JSON file",)),
    "config of something else": (put("config.json", b'{"model_type": "bert"}'), [], 1, ("--resume run: ",)),
    "other learning rate": (bool, ["--lr", "0.5"], 2, ("--resume run: --lr was [0.001] and is now [0.5]; a resumed run keeps its flags",)),
    "other seed": (bool, ["--seed", 9], 2, ("--seed was 7 and is now 9",)),
    "other data": (bool, ["--train-data", "samples-nli"], 2, ("--train-data was ['samples'] and is now ['samples-nli']",)),
    "other precision": (bool, ["--precision", "bf16"], 2, ("--precision was 'fp32' and is now 'bf16'",)),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_RESUMES)
def test_resume_refused_in_one_line(run_train: TrainRunner, run: Path, case: str) -> None:
    damage, more, code, words = BAD_RESUMES[case]
    damage(run)
    before = contents(run)
    result = run_train("--resume", "run", *more)
    line = said(result, code)
    for part in words:
        assert part in line
    after = contents(run)
    for folder in (before, after):
        del folder["train.log"]  # it may say that somebody tried
    assert after == before and result.stdout == ""


def test_resume_of_no_run(run_train: TrainRunner, run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("gone", "empty"):
        assert said(run_train("--resume", name), 1) == (
            f"--resume {name}: no config.json there, so no run to continue"
        )
    assert "--resume run/model: " in said(
        run_train("--resume", "run/model"), 1
    )  # has a config.json: the encoder's
    assert not (tmp_path / "gone").exists() and not any((tmp_path / "empty").iterdir())


def test_resume_of_an_evaluation(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path) -> None:
    """--eval-only writes a run directory too; there is nothing in it to continue."""
    flags = ("--eval-only", "--model", tiny_model_dir, "--eval-data", "samples-sts-en")
    assert run_train(*flags, "--output-dir", "scores").code == 0
    before = contents(tmp_path / "scores")
    result = run_train("--resume", "scores")
    assert "--resume scores: " in said(result, result.code) and result.code in (1, 2)
    assert contents(tmp_path / "scores") == before


def test_resume_notices_other_data(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path) -> None:
    rows = "".join(f"the man {i}\tthe park\t0.{i}\n" for i in range(8))
    flags = own(STS_HEADER + rows)(tmp_path)
    assert run_train("--model", tiny_model_dir, *SMALL, *flags, "--output-dir", "run").code == 0
    old = sha256_of(tmp_path / "mine.tsv")
    own(STS_HEADER + rows.replace("park", "dog"))(tmp_path)
    line = said(run_train("--resume", "run"), 1)
    assert f"mine.tsv has changed: sha256 was {old}, is now {sha256_of(tmp_path / 'mine.tsv')}" in line


# ---------------------------------------------------------------- stopping and going on


def assert_same_run(one: Path, other: Path) -> None:
    """Bit-identical weights, equal metrics, equal optimizer state."""
    for folder in sorted(path.name for path in one.glob("model*")):
        assert sha256_of(one / folder / "model.safetensors") == sha256_of(
            other / folder / "model.safetensors"
        )
    assert same_numbers(one) == same_numbers(other)
    names = [sorted(path.name for path in (run / "checkpoints").iterdir()) for run in (one, other)]
    assert names[0][-1] == names[1][-1]


STEPS = ("--log-steps", 1, "--lr", "1e-3", "--precision", "fp32", "--save-limit", 0, "--dev-limit", 12)
LONG = {
    # 26 rows in batches of 4, two an update: 4 updates an epoch, the last one of a single, smaller batch
    "accumulation": (
        *STEPS, "--train-data", "samples-sts-en", "--train-limit", 26, "--batch-size", 4, "--accumulation", 2,
        "--epochs", 8, "--save-steps", 3,
    ),
    # 18 updates of NLI, then 30 of STS
    "sequence": (
        *STEPS, "--train-data", "samples-nli-en", "samples-sts-en", "--mix", "sequence", "--train-limit", 24,
        "--batch-size", 4, "--epochs", 3, 5,
    ),
    # 5 updates an epoch, each drawing negatives of its own
    "cross": (
        *STEPS, "--arch", "cross", "--train-data", "samples-nli-en", "--objective", "ranking", "--train-limit", 18,
        "--batch-size", 4, "--epochs", 8, "--num-negatives", 2,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Callable[[str], Path]:
    """Runs of LONG that nobody stopped, each made once."""
    done: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in done:
            folder = tmp_path_factory.mktemp(kind)
            result = TrainRunner(folder)("--model", tiny_model_dir, *LONG[kind], "--output-dir", "run")
            assert result.code == 0, result.stderr
            done[kind] = folder / "run"
        return done[kind]

    return get


def interrupted(run_train: TrainRunner, model_dir: Path, kind: str, update: int, signum: int) -> Running:
    """A run of LONG that is sent a signal when it has logged an update."""
    running = run_train.start("--model", model_dir, *LONG[kind], "--output-dir", "run")
    running.when(lambda: f"update {update}/" in running.stderr, signum)
    return running


@pytest.mark.parametrize(
    ("kind", "update", "signum"),
    [
        ("accumulation", 6, signal.SIGTERM),
        ("sequence", 5, signal.SIGINT),
        ("sequence", 22, signal.SIGTERM),
        ("cross", 7, signal.SIGTERM),
    ],
)
def test_a_stopped_run_goes_on_as_if_never_stopped(
    run_train: TrainRunner,
    tiny_model_dir: Path,
    tmp_path: Path,
    uninterrupted: Callable[[str], Path],
    kind: str,
    update: int,
    signum: int,
) -> None:
    stopped = interrupted(run_train, tiny_model_dir, kind, update, signum).wait()
    assert stopped.code == 128 + signum, stopped.stderr
    name = signal.Signals(signum).name
    line = said(stopped, 128 + signum)
    found = re.fullmatch(rf"{name} at update (\d+): saved; .*python train\.py --resume run\b.*", line)
    assert found, line
    assert (tmp_path / f"run/checkpoints/update-{int(found[1]):08d}").is_dir()
    assert not (tmp_path / "run/metrics.json").exists()
    assert int(found[1]) < 18 or update == 22  # the first stage was stopped in the first stage
    resumed = run_train("--resume", "run")
    assert resumed.code == 0, resumed.stderr
    assert f"update {int(found[1]) + 1}/" in resumed.stderr and f"update {found[1]}/" not in resumed.stderr
    (note,) = json.loads((tmp_path / "run" / "config.json").read_text())["resumed"]
    assert note["device"] == "cpu" and note["environment"]["torch"]
    assert_same_run(tmp_path / "run", uninterrupted(kind))


def test_a_killed_run_goes_on_from_the_middle_of_an_epoch(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, uninterrupted: Callable[[str], Path]
) -> None:
    """kill -9: nothing is saved on the way out. Update 3 of 4 is neither the end of an epoch nor an evaluation."""
    running = interrupted(run_train, tiny_model_dir, "accumulation", 5, signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    for path in (tmp_path / "run/checkpoints").iterdir():
        if path.name != "update-00000003":
            shutil.rmtree(path)
    (tmp_path / "run/checkpoints/.update-00000006.tmp").mkdir()  # a checkpoint that was being written
    resumed = run_train("--resume", "run")
    assert resumed.code == 0, resumed.stderr
    assert "update 4/" in resumed.stderr and "update 3/" not in resumed.stderr
    assert_same_run(tmp_path / "run", uninterrupted("accumulation"))


def test_a_run_killed_between_its_stages(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, uninterrupted: Callable[[str], Path]
) -> None:
    """All that is left is the last checkpoint of the first stage, and what that stage selected."""
    shutil.copytree(uninterrupted("sequence"), tmp_path / "run")
    for name in ("model", "checkpoints/update-00000048"):
        shutil.rmtree(tmp_path / "run" / name)
    (tmp_path / "run/metrics.json").unlink()
    for path in (tmp_path / "run/checkpoints").iterdir():
        if path.name > "update-00000018":
            shutil.rmtree(path)
    resumed = run_train("--resume", "run")
    assert resumed.code == 0, resumed.stderr
    assert "update 19/" in resumed.stderr and "update 18/" not in resumed.stderr
    assert_same_run(tmp_path / "run", uninterrupted("sequence"))


def test_a_run_without_a_checkpoint_starts_again(
    run_train: TrainRunner, finished: tuple[Path, Result], run: Path
) -> None:
    for name in ("model", "checkpoints"):
        shutil.rmtree(run / name)
    (run / "metrics.json").unlink()
    assert run_train("--resume", "run").code == 0
    assert_same_run(run, finished[0])


def test_resuming_a_finished_run_changes_nothing(
    run_train: TrainRunner, finished: tuple[Path, Result], run: Path
) -> None:
    assert run_train("--resume", "run", "--threads", 1).code == 0
    assert_same_run(run, finished[0])


def test_resuming_a_run_that_stopped_early_changes_nothing(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """An evaluation after every update and no patience: it stops long before its 40 epochs."""
    flags = ("--epochs", 40, "--eval-steps", 1, "--patience", 1, "--output-dir", "run")
    first = run_train("--model", tiny_model_dir, *SMALL, *flags)
    assert first.code == 0, first.stderr
    assert "stopped early" in first.stderr
    shutil.copytree(tmp_path / "run", tmp_path / "before")
    assert run_train("--resume", "run").code == 0
    assert_same_run(tmp_path / "run", tmp_path / "before")
