"""train.py in two processes: what it leaves is what one would; they stop together and go on together."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rank_processes import TIMEOUT, start_train, told
from safetensors.torch import load_file
from tiny_models import save_tiny
from train_process import ROOT, Result, Running, TrainRunner, environment

from data.files import sha256_of

# 26 rows in batches of 4, two an update; the last batch of an epoch has 2 rows
FLAGS = (
    "--train-data", "samples-nli-en", "--objective", "classification", "--train-limit", 26, "--batch-size", 4,
    "--accumulation", 2, "--epochs", 3, "--save-steps", 3, "--save-limit", 0, "--log-steps", 1, "--lr", "1e-4",
    "--precision", "fp32", "--dev-limit", 12, "--max-grad-norm", 0,
)  # fmt: skip


def ends(processes: list[Running]) -> list[Result]:
    """All of them, once they have ended by themselves."""
    end = time.monotonic() + TIMEOUT
    while any(process.code is None for process in processes):
        assert time.monotonic() < end, [process.stderr for process in processes]
        time.sleep(0.01)
    return [process.wait() for process in processes]


def metrics_of(run: Path) -> dict[str, Any]:
    found = json.loads((run / "metrics.json").read_text())
    for stage in found["stages"]:
        del stage["train_seconds"]
    return found


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model without dropout."""
    folder = save_tiny(tmp_path_factory.mktemp("models") / "still")
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> tuple[Path, list[Result]]:
    """A run of two processes with dropout that nobody stopped."""
    folder = tmp_path_factory.mktemp("pair")
    started = start_train(folder, 2, "--model", tiny_model_dir, *FLAGS, "--output-dir", folder / "run")
    return folder / "run", ends(started)


def test_two_processes_leave_one_run(pair: tuple[Path, list[Result]]) -> None:
    run, (first, second) = pair
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert "update 12/12: loss" in first.stderr and f"metrics      {run}/metrics.json" in first.stdout
    assert second.stdout == second.stderr == ""
    assert json.loads((run / "config.json").read_text())["processes"] == 2
    assert len(list((run / "tensorboard").iterdir())) == 1
    for r in range(2):
        assert {path.name for path in (run.parent / f"process-{r}").iterdir()} <= {
            "stdout",
            "stderr",
            "cache",
        }


def test_two_processes_train_what_one_trains(still: Path, run_train: TrainRunner, tmp_path: Path) -> None:
    """Without dropout: the same batches, and weights that differ by rounding."""
    alone = run_train("--model", still, *FLAGS, "--output-dir", "alone")
    both = ends(start_train(tmp_path, 2, "--model", still, *FLAGS, "--output-dir", tmp_path / "both"))
    assert [alone.code, *(one.code for one in both)] == [0, 0, 0], [alone.stderr, *(x.stderr for x in both)]
    start = load_file(still / "model.safetensors")
    one, two = (load_file(tmp_path / name / "model/model.safetensors") for name in ("alone", "both"))
    assert one.keys() == two.keys() <= start.keys()
    names = [name for name in one if not name.endswith("key.bias")]  # its gradient is 0 but for rounding
    moved, apart = (sum((one[n] - other[n]).square().sum() for n in names) for other in (start, two))
    assert moved > 1e-4 and apart < 1e-5 * moved
    losses = [re.findall(r"update \d+/12: loss (\S+), .* norm (\S+),", x.stderr) for x in (alone, both[0])]
    numbers = [[float(number) for pair in run for number in pair] for run in losses]
    assert numbers[0] == pytest.approx(numbers[1], abs=2e-4) and len(numbers[0]) == 24


def test_a_stopped_run_goes_on(
    pair: tuple[Path, list[Result]], tiny_model_dir: Path, tmp_path: Path, run_train: TrainRunner
) -> None:
    """By torchrun itself, which hands a signal on; then one process too few; then as many as before."""
    run = tmp_path / "run"
    words = ["--standalone", "--nproc-per-node", 2, ROOT / "train.py", "--model", tiny_model_dir, *FLAGS]
    command = [sys.executable, "-m", "torch.distributed.run", *map(str, words), "--output-dir", str(run)]
    with open(tmp_path / "said", "wb") as said:
        torchrun = subprocess.Popen(
            command, cwd=tmp_path, env=environment(tmp_path), stdout=said, stderr=said
        )
    log, end = run / "train.log", time.monotonic() + TIMEOUT
    while not (log.exists() and "update 4/" in log.read_text()):
        assert torchrun.poll() is None and time.monotonic() < end, (tmp_path / "said").read_text()
        time.sleep(0.002)
    torchrun.send_signal(signal.SIGTERM)
    assert torchrun.wait(TIMEOUT) == 1  # what torchrun makes of everything but 0
    lines = re.findall(r"SIGTERM at update (\d+): saved; (.*) continues", (tmp_path / "said").read_text())
    assert len(lines) == 1 and int(lines[0][0]) < 12, (tmp_path / "said").read_text()
    assert lines[0][1] == f"torchrun --nproc-per-node 2 train.py --resume {run}"
    refused = run_train("--resume", "run")
    assert refused.code == 2 and "was trained by 2 process(es), here are 1" in refused.stderr
    went_on = ends(start_train(tmp_path, 2, "--resume", run))
    assert [one.code for one in went_on] == [0, 0], went_on
    for name in ("model/model.safetensors",):
        assert sha256_of(run / name) == sha256_of(pair[0] / name)
    assert metrics_of(run) == metrics_of(pair[0])


def test_a_signal_to_one_process_stops_both(tiny_model_dir: Path, tmp_path: Path) -> None:
    flags = [*FLAGS, "--output-dir", tmp_path / "run"]
    flags[flags.index("--epochs") + 1] = 3000
    first, second = start_train(tmp_path, 2, "--model", tiny_model_dir, *flags)
    second.when(lambda: "update 4/" in first.stderr, signal.SIGTERM)
    ended = ends([first, second])
    assert [one.code for one in ended] == [128 + signal.SIGTERM] * 2, ended
    (update,) = re.findall(r"^train.py: SIGTERM at update (\d+): saved; ", ended[0].stderr, re.M)
    assert (tmp_path / f"run/checkpoints/update-{int(update):08d}").is_dir() and ended[1].stderr == ""


def test_a_dead_process_ends_the_run(tiny_model_dir: Path, tmp_path: Path) -> None:
    flags = [*FLAGS, "--output-dir", tmp_path / "run"]
    flags[flags.index("--epochs") + 1] = 3000
    first, second = start_train(tmp_path, 2, "--model", tiny_model_dir, *flags)
    while "update 4/" not in first.stderr:
        assert first.code is None and second.code is None, first.stderr + second.stderr
        time.sleep(0.002)
    assert second.process.pid is not None
    os.kill(second.process.pid, signal.SIGKILL)
    result = ends([first, second])[0]
    assert result.code == 1
    assert re.search(
        r"^train.py: error: one of the 2 processes has ended or does not answer \(", result.stderr, re.M
    )
    assert "Traceback" not in result.stderr
    assert any((tmp_path / "run/checkpoints").iterdir())


def test_other_flags_on_another_process_are_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    """As where each machine is given its own command; the name of the run may differ."""
    flags = ["--model", tiny_model_dir, *FLAGS]
    started = [
        TrainRunner(tmp_path / f"process-{r}").start(*flags, "--lr", lr, "--output-dir", tmp_path / lr, **one)
        for r, (one, lr) in enumerate(zip(told(2), ("1e-4", "5e-2"), strict=True))
    ]
    first, second = ends(started)
    assert (first.code, second.code) == (1, 1)
    assert "train.py: error: process 1 has lr [0.05], the first one [0.0001]" in first.stderr
    assert not list(tmp_path.glob("*/checkpoints"))


def test_wrong_flags_are_told_once(tiny_model_dir: Path, tmp_path: Path) -> None:
    """What is known before anything is loaded, and what the first process finds in the files."""
    for flags, code in ((("--seed", "x"), 2), (("--lr", -1), 2), (("--train-data", "gone.tsv"), 1)):
        folder = tmp_path / flags[0].strip("-")
        ended = ends(
            start_train(folder, 2, "--model", tiny_model_dir, *flags, "--output-dir", folder / "run")
        )
        assert ended[0].code == code and ended[1].code in (1, code)
        assert len(ended[0].stderr.splitlines()) == 1 and ended[1].stderr == ""
        shutil.rmtree(folder)
