"""Runs rows: every step in a process of its own, what is finished is kept, what was cut short goes on. Torch-free.

RUNS_DIR/TABLE/ROW/seedS/1 is the folder of the first step of a row and seed. A folder whose run used other flags is
never taken for this row's.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.files import write_text_atomically
from experiments.rows import TABLES, records, row_of, source_of
from experiments.rows.row import PLACEHOLDER, Row, Step, fill, needs, values
from sbert.errors import RunError, UsageError
from sbert.flag_checks import parse
from sbert.jsonfile import read_json

ROOT = Path(__file__).resolve().parents[2]
STOPS = {code for signum in (signal.SIGINT, signal.SIGTERM) for code in (-signum, 128 + signum)}
ENCODER = "--model"
DECIDED = ("--model", "--seed", "--output-dir", "--run-name", "--resume", "--eval-only", "--data-dir")
GOES_ON = ("experiments.afs",)  # programs whose own command continues what was cut short


class RowFailed(Exception):
    """One row could not be run; the message says which step and why. The others go on."""


class Stopped(Exception):
    """A step was interrupted by somebody: nothing further is started."""

    def __init__(self, code: int) -> None:
        self.code = code if code > 0 else 128 - code
        super().__init__(f"stopped ({code})")


def execute(words: Sequence[str], environment: dict[str, str]) -> int:
    """Runs a command in the project's folder, its output shown, and returns its exit code."""
    sys.stdout.flush()
    # close_fds: the lock of the row, the one file that may be inherited, is held as long as a child of it lives
    process = subprocess.Popen(words, cwd=ROOT, env=environment, close_fds=False)
    try:
        return process.wait()
    except (
        KeyboardInterrupt
    ):  # the terminal sent it to the child too, which saves a checkpoint; twice would kill it
        process.wait()
        raise
    except SystemExit:  # SIGTERM came to this process alone; a second one must not leave the child behind
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        process.terminate()
        process.wait()
        raise


@dataclass
class Runner:
    """What every row of one call of experiments.run shares.

    runs_dir: as it stands in commands, below the project's folder or absolute. model: replaces every encoder that no row
    or step has trained. extra: further flags for train.py. anew: (TABLE/ROW, seed) whose folders are removed before they
    are run.
    """

    runs_dir: str = records.RUNS_DIR
    folder_of_records: Path = records.RECORDS
    model: str | None = None
    extra: tuple[str, ...] = ()
    data_dir: str | None = None
    anew: set[tuple[str, int]] = field(default_factory=set)
    failed: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, Any]:
        """What makes this run another one than the row's."""
        return {name: value for name in ("model", "extra") if (value := getattr(self, name))}

    # ------------------------------------------------------------------ commands

    def folder(self, key: str, seed: int, step: int | None = None) -> str:
        """Of a row and seed, or of one of its steps (-1: the last)."""
        row = f"{self.runs_dir}/{key}/seed{seed}"
        if step is None:
            return row
        return f"{row}/{step if step > 0 else len(row_of(key).steps)}"

    def argv(self, key: str, seed: int, number: int) -> list[str]:
        """The words of a step, counted from 1, after its program. Raises UsageError where --model or extra flags do not
        fit."""
        row = row_of(key)
        step = row.steps[number - 1]

        def folder(other: str | None, one: int | None) -> str:
            if other is None:
                return self.folder(key, seed, one)
            return self.folder(other, seed_for(row_of(other), seed), one)

        words = fill(step.argv, seed, folder)
        if self.model:
            words = with_model(step, words, self.model, first=number == 1)
        if self.extra and step.program == "train.py":
            words += fitting(words, self.extra)
        return words if step.writes else [*words, "--output-dir", self.folder(key, seed, number)]

    def command(self, key: str, seed: int, number: int, python: str = sys.executable) -> list[str]:
        program = row_of(key).steps[number - 1].program
        start = [program] if program.endswith(".py") else ["-m", program]
        return [python, *start, *self.argv(key, seed, number)]

    # ------------------------------------------------------------------ running

    def run(self, key: str, seed: int) -> str:
        """Sees to it that a row has a record; says what that took: ``recorded`` before, ``collected`` from a finished
        run, or ``run``. Raises RowFailed, and Stopped."""
        key = source_of(key)
        path = records.path_of(self.folder_of_records, key, seed)
        if path.exists() and (key, seed) not in self.anew:
            self.check_same_record(key, seed)
            return "recorded"
        return "run" if self.complete(key, seed) else "collected"

    def complete(self, key: str, seed: int) -> bool:
        """Runs what is missing of a row's steps, after the rows it builds on; whether anything was run. A record is
        written where there is none, or where the row was to be run anew."""
        if (key, seed) in self.failed:
            raise RowFailed(self.failed[key, seed])
        row = row_of(key)
        try:
            for other in needs(row):
                self.complete_other(other, seed_for(row_of(other), seed))
            with locked(ROOT / f"{self.folder(key, seed)}.lock", key, seed):
                anew = (key, seed) in self.anew
                if anew:
                    self.anew.discard((key, seed))
                    shutil.rmtree(ROOT / self.folder(key, seed), ignore_errors=True)
                ran = [self.complete_step(key, seed, number) for number in range(1, len(row.steps) + 1)]
                if anew or not records.path_of(self.folder_of_records, key, seed).exists():
                    self.collect(key, seed)
        except (RowFailed, RunError) as error:
            self.failed[key, seed] = str(error)
            raise RowFailed(str(error)) from None
        return any(ran)

    def complete_other(self, key: str, seed: int) -> None:
        """A row that the one being run builds on."""
        try:
            self.complete(key, seed)
        except RowFailed as error:
            raise RowFailed(f"it builds on {key}, seed {seed}: {error}") from None

    def complete_step(self, key: str, seed: int, number: int) -> bool:
        """Starts or continues one step where it is not finished; whether it was run."""
        step, folder = row_of(key).steps[number - 1], ROOT / self.folder(key, seed, number)
        words = self.command(key, seed, number)
        if is_finished(step, folder):
            self.check_same_run(key, seed, number)
            return False
        if can_resume(step, folder):
            self.check_same_run(key, seed, number)
            words = [sys.executable, "train.py", "--resume", self.folder(key, seed, number)]
        elif step.program not in GOES_ON:
            shutil.rmtree(folder, ignore_errors=True)  # a start that came to nothing
        if step.writes:
            folder.mkdir(parents=True, exist_ok=True)
        resumed, begun = "--resume" in words, time.monotonic()
        self.seconds_file(key, seed, number).unlink(missing_ok=True)
        code = execute(words, self.environment())
        if code in STOPS:
            raise Stopped(code)
        if code or not is_finished(step, folder):
            wrong = f"ended with exit code {code}" if code else f"left no {finished_file(step)}"
            raise RowFailed(f"step {number} ({step.program}) {wrong}")
        if not resumed and step.program not in GOES_ON:
            self.note_seconds(key, seed, number, time.monotonic() - begun)
        return True

    def seconds_file(self, key: str, seed: int, number: int) -> Path:
        return ROOT / f"{self.folder(key, seed, number)}.seconds"

    def note_seconds(self, key: str, seed: int, number: int, seconds: float) -> None:
        """Wall seconds of a step that was run in one go, beside its folder; of one that was cut short nothing is known but
        what its training says itself. A step is no worse for a disk that has no room for this."""
        with suppress(OSError):
            write_text_atomically(self.seconds_file(key, seed, number), f"{seconds:.1f}")

    def seconds(self, key: str, seed: int, number: int) -> float:
        """0 where none were kept."""
        try:
            return float(self.seconds_file(key, seed, number).read_text())
        except (OSError, ValueError):
            return 0.0

    def environment(self) -> dict[str, str]:
        """Of a child: this process's, with --data-dir as SBERT_DATA, which every program reads."""
        data = {"SBERT_DATA": os.path.abspath(self.data_dir)} if self.data_dir else {}
        return {**os.environ, **data}

    def check_same_run(self, key: str, seed: int, number: int) -> None:
        """Raises RowFailed when the folder of a step holds a run of other flags than it would be started with."""
        step, folder = row_of(key).steps[number - 1], self.folder(key, seed, number)
        stored, wanted = (
            config_of(step, ROOT / folder).get("argv"),
            without_folder(self.argv(key, seed, number)),
        )
        if isinstance(stored, list) and (stored := without_folder(stored)) != wanted:
            other = " ".join(word for word in stored if word not in wanted) or "(fewer flags)"
            raise RowFailed(
                f"{folder}: holds a run of other flags: {other}; --again runs the row anew, another --runs-dir beside it"
            )

    def check_same_record(self, key: str, seed: int) -> None:
        """Raises RowFailed when a trial's record is of another model or of other further flags."""
        record = records.read(self.folder_of_records, key, seed)
        stored, wanted = (dict(x) for x in (record.get("changed") or {}, self.changed))
        stored["extra"], wanted["extra"] = (list(x.get("extra", ())) for x in (stored, wanted))
        if stored != wanted:
            raise RowFailed(
                f"its record in {self.folder_of_records} is of {stored.get('model') or 'the own model'} "
                f"{' '.join(stored['extra'])}: --again runs it anew, another --runs-dir beside it"
            )

    def collect(self, key: str, seed: int) -> Path:
        """Joins what the finished steps left into the row's record."""
        steps = []
        for number, step in enumerate(row_of(key).steps, 1):
            folder = ROOT / self.folder(key, seed, number)
            words = self.command(key, seed, number, python="python")
            facts = records.step_facts(config_of(step, folder), words, self.runs_dir)
            took = self.seconds(key, seed, number)
            steps.append(
                {**facts, **({"seconds": took} if took else {}), "metrics": metrics_of(step, folder)}
            )
        table = TABLES[key.partition("/")[0]]
        if not row_of(key).steps[-1].writes and all(
            value is None for value in values(table, steps[-1]["metrics"]).values()
        ):
            wanted = ", ".join(metric for column in table.columns for metric in column.metrics)
            raise RowFailed(f"its metrics.json has none of {wanted}")
        return records.write(self.folder_of_records, key, seed, steps, self.changed)


@contextmanager
def locked(path: Path, key: str, seed: int) -> Iterator[None]:
    """Held while a row and seed is run. Raises RowFailed while another process holds it; its end frees it, however it ends."""
    try:
        import fcntl
    except ImportError:  # not on this system: then two at once are the user's affair
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.set_inheritable(file.fileno(), True)
        except OSError:
            raise RowFailed(f"{key}, seed {seed}, is being run by another process") from None
        yield


def seed_for(row: Row, seed: int) -> int:
    """The seed of a row that another one builds on: the same, or the only one that it has."""
    return row.seeds[0] if len(row.seeds) == 1 else seed


def without_folder(words: Sequence[str]) -> list[str]:
    """A command without its --output-dir, which may be spelled in several ways."""
    place = words.index("--output-dir") if "--output-dir" in words else len(words)
    return [*words[:place], *words[place + 2 :]]


def finished_file(step: Step) -> str:
    return step.writes or "metrics.json"


def is_finished(step: Step, folder: Path) -> bool:
    return (folder / finished_file(step)).is_file()


def can_resume(step: Step, folder: Path) -> bool:
    """Whether a training run was begun there that ``train.py --resume`` goes on with."""
    return (
        step.program == "train.py" and "--eval-only" not in step.argv and (folder / "config.json").is_file()
    )


def config_of(step: Step, folder: Path) -> dict[str, Any]:
    """What a step says of itself: config.json, or the JSON that it wrote or that lies beside what it wrote."""
    if not step.writes:
        return read_json(folder / "config.json")
    return read_json(folder / (step.writes if step.writes.endswith(".json") else f"{step.writes}.info.json"))


def metrics_of(step: Step, folder: Path) -> dict[str, Any]:
    """Of experiments.retrieve (results.json) every figure as ROW/METRIC; of a file that is no result none."""
    if not step.writes:
        return read_json(folder / "metrics.json")
    return records.flattened(config_of(step, folder)["rows"]) if step.writes.endswith(".json") else {}


def with_model(step: Step, words: list[str], model: str, *, first: bool) -> list[str]:
    """The words with another encoder; a step that starts from another row's or step's model keeps it. first: of its row,
    so that it has an encoder even where its words name none."""
    if ENCODER not in words:
        return [*words, ENCODER, model] if first else words
    place = words.index(ENCODER) + 1
    if PLACEHOLDER.search(step.argv[step.argv.index(ENCODER) + 1]):
        return words
    return [*words[:place], model, *words[place + 1 :]]


def fitting(words: Sequence[str], extra: Sequence[str]) -> list[str]:
    """Those of the extra flags that a train.py step takes: --max-updates says nothing to an evaluation."""
    out: list[str] = []
    for flag in flags_of(extra):
        try:
            parse([*words, *flag])
        except UsageError:
            continue
        out += flag
    return out


def flags_of(extra: Sequence[str]) -> list[list[str]]:
    """Words cut before every ``--flag``. Raises UsageError when they do not begin with one."""
    out: list[list[str]] = []
    for word in extra:
        if word.startswith("--"):
            out.append([word])
        elif out:
            out[-1].append(word)
        else:
            raise UsageError(
                f"{word!r} after --: flags of train.py are wanted there, such as --max-updates 2"
            )
    return out


def check_extra(runner: Runner, cells: Iterable[tuple[str, int]]) -> None:
    """Raises UsageError when one of the extra flags is the runner's to give, or right for no train.py step of these rows."""
    if not runner.extra:
        return
    for flag in flags_of(runner.extra):
        if flag[0].partition("=")[0] in DECIDED:
            raise UsageError(f"{flag[0]} after --: is decided by the row and by experiments.run's own flags")
    steps = [words for key, seed in cells for words in _training(source_of(key), seed)]
    for flag in flags_of(runner.extra):
        if not steps:
            raise UsageError(f"{flag[0]}: none of these rows runs train.py")
        if not any(fitting(words, flag) for words in steps):
            parse([*steps[0], *flag])  # says what is wrong with it


def _training(key: str, seed: int) -> Iterator[list[str]]:
    """The words of the train.py steps of a row, and of the rows it builds on."""
    row, plain = row_of(key), Runner()
    for other in needs(row):
        yield from _training(other, seed_for(row_of(other), seed))
    for number, step in enumerate(row.steps, 1):
        if step.program == "train.py":
            yield plain.argv(key, seed, number)
