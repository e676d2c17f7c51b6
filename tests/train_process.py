"""``python train.py ...`` in a process of its own, without waiting for torch each time.

The first run starts a server that has imported torch and the other heavy packages and nothing of this project; every
run is a fork of it, with its own standard streams, environment and exit code. Where there is no fork, or with
``fresh=True``, a plain ``python train.py`` is started.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from data.files import sha256_of

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ["torch", "transformers", "scipy.stats", "safetensors.torch", "torch.utils.tensorboard", "tqdm"]
HEAVY += ["transformers.models.bert.modeling_bert", "transformers.models.auto.tokenization_auto"]
LEFT_OUT = ("SBERT_", "HF_", "TRANSFORMERS_", "OMP_", "MKL_", "PYTHON")
FIXED = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
TIMEOUT = 60  # seconds; a run takes about two


def contents(folder: Path) -> dict[str, str]:
    """Every file under a folder with the sha256 of its bytes."""
    return {str(p.relative_to(folder)): sha256_of(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def fill(disk: Path, room: int) -> None:
    """Fills a file system up to ``room`` bytes, with a file that can be removed again."""
    (disk / "ballast").write_bytes(b"\0" * (shutil.disk_usage(disk).free - room))


class Result(NamedTuple):
    code: int
    stdout: str
    stderr: str


def environment(folder: Path, **more: str) -> dict[str, str]:
    """This process's variables without the ones that could change a run, an empty cache, and no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    return {**kept, **FIXED, "SBERT_CACHE": str(folder / "cache"), **more}


@dataclass
class Running:
    """A started run. ``wait`` ends it at the latest after TIMEOUT seconds."""

    process: multiprocessing.process.BaseProcess | subprocess.Popen[bytes]
    folder: Path

    @property
    def stderr(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf8")

    @property
    def code(self) -> int | None:
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll()
        return self.process.exitcode

    def when(self, happened: Callable[[], bool], signum: int) -> None:
        """Sends the signal as soon as something has happened. Fails when the run ends before that."""
        pid = self.process.pid
        assert pid is not None
        end = time.monotonic() + TIMEOUT
        while not happened():
            assert self.code is None, (
                f"the run ended with {self.code} before it was to be sent {signum}: {self.stderr}"
            )
            assert time.monotonic() < end, f"nothing happened: {self.stderr}"
            time.sleep(0.002)
        os.kill(pid, signum)

    def wait(self) -> Result:
        end = time.monotonic() + TIMEOUT
        while (code := self.code) is None:
            if time.monotonic() > end:
                self.process.kill()
                raise AssertionError(f"no end after {TIMEOUT} s: {self.stderr}")
            time.sleep(0.005)
        return Result(code, (self.folder / "stdout").read_text(encoding="utf8"), self.stderr)


def whole_and_resumed(run_train: TrainRunner, *flags: Any) -> None:
    """Two runs of the same flags, into whole/ and run/; the second is stopped by SIGTERM after update 5 and resumed."""
    whole = run_train(*flags, "--output-dir", "whole")
    assert whole.code == 0, whole.stderr
    running = run_train.start(*flags, "--output-dir", "run")
    running.when(lambda: "update 5/" in running.stderr, signal.SIGTERM)
    assert running.wait().code == 128 + signal.SIGTERM
    resumed = run_train("--resume", "run")
    assert resumed.code == 0, resumed.stderr


def start(folder: Path, arguments: list[str], variables: dict[str, str], *, fresh: bool = False) -> Running:
    """Starts train.py with ``folder`` (made here) as its working directory, which also receives its output."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("stdout", "stderr"):
        (folder / name).write_bytes(b"")
    if fresh or not sys.platform.startswith("linux"):
        with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
            command = [sys.executable, str(ROOT / "train.py"), *arguments]
            return Running(
                subprocess.Popen(command, cwd=folder, env=variables, stdout=out, stderr=err), folder
            )
    process = server().Process(target=run_in_fork, args=(str(folder), arguments, variables))
    process.start()
    return Running(process, folder)


def server() -> multiprocessing.context.ForkServerContext:
    """The server, started if it is not there yet; this does not wait for its imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(HEAVY)
    with mock.patch.dict(os.environ, FIXED):  # read when the server imports torch and the hub's client
        forkserver.ensure_running()
    return context


def run_in_fork(folder: str, arguments: list[str], variables: dict[str, str]) -> None:
    """What a fresh interpreter would do: streams, environment, working directory, then train.py as __main__."""
    from tqdm import tqdm

    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_APPEND), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    tqdm.set_lock(threading.RLock())  # its own is a named semaphore, which a killed run would leave behind
    sys.argv = [str(ROOT / "train.py"), *arguments]
    sys.path[0] = str(ROOT)
    runpy.run_path(sys.argv[0], run_name="__main__")


@dataclass
class TrainRunner:
    """``runner("--flag", value, ...) -> Result``; every run has ``folder`` as its working directory."""

    folder: Path

    def __call__(self, *arguments: object, fresh: bool = False, **variables: str) -> Result:
        """Runs train.py to its end. fresh: a new interpreter, not a fork. variables: of the environment."""
        return self.start(*arguments, fresh=fresh, **variables).wait()

    def start(self, *arguments: object, fresh: bool = False, **variables: str) -> Running:
        """Starts train.py and returns at once."""
        words = [str(argument) for argument in arguments]
        return start(self.folder, words, environment(self.folder, **variables), fresh=fresh)


SMALL = ("--train-limit", 24, "--batch-size", 4, "--epochs", 1, "--lr", "1e-3", "--precision", "fp32")
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d ")
NLI_HEADER, STS_HEADER = "sentence1\tsentence2\tlabel\n", "sentence1\tsentence2\tscore\n"


def said(result: Result, code: int) -> str:
    """The one line, beside log lines, of a command that ended with this exit code."""
    assert result.code == code, result.stderr
    lines = [line for line in result.stderr.splitlines() if not LOG_LINE.match(line)]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("train.py: "), result.stderr
    return lines[0].removeprefix("train.py: ").removeprefix("error: ")


def same_numbers(run: Path) -> dict[str, Any]:
    """metrics.json without the clock."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf8"))
    for stage in metrics["stages"]:
        del stage["train_seconds"]
    return metrics


def own(text: str, name: str = "mine.tsv") -> Callable[[Path], list[str]]:
    """A user's own training file."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_text(text, encoding="utf8")
        return ["--train-data", name]

    return make


def put(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)
