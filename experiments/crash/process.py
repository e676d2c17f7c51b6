"""A job in a process of its own, and the ways in which it is killed.

Jobs are forks of a process that has imported torch and computed nothing, so that a kill costs a second and not an import.
Half of the kills fall before a file operation (making, renaming, opening for writing, removing), counted by an audit hook, so
that the few milliseconds in which a file changes its name are met as often as the seconds of computing; the other half at a
random time, as a killed machine would have it, in the middle of what the C++ and Rust writers do too.
"""

import mmap
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

TIMEOUT = 300.0  # seconds
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
Watch = Sequence[
    tuple[Any, str, str]
]  # (module or class, name of its function, what is being done while it runs)


@dataclass(frozen=True)
class Blow:
    """operation: killed before that file operation, counted from 1. seconds: killed after so long. alone: without its children."""

    operation: int | None = None
    seconds: float | None = None
    alone: bool = False

    @property
    def how(self) -> str:
        if self.operation is not None:
            return "before a file operation"
        return "at a random time" + ", without its children" * self.alone


@dataclass(frozen=True)
class Ended:
    """code: exit code, or None where the blow fell. phase: what was being done then. operations: file operations begun."""

    code: int | None
    phase: str
    operations: int
    seconds: float


class Board:
    """A few bytes shared with the child: the phase that it is in, and how many file operations it has begun."""

    def __init__(self, phases: Sequence[str]) -> None:
        self.phases = ["start-up", *phases]
        self.memory = mmap.mmap(-1, 16)

    def put_phase(self, number: int) -> None:
        self.memory[0] = number

    def phase(self) -> str:
        return self.phases[self.memory[0]]

    def count(self) -> int:
        """One more file operation; how many there were."""
        number = self.operations() + 1
        self.memory[8:16] = number.to_bytes(8, "little")
        return number

    def operations(self) -> int:
        return int.from_bytes(self.memory[8:16], "little")

    def watch(self, places: Watch) -> None:
        """Lets the functions note that they run. Called in the child."""
        for owner, name, phase in places:
            setattr(owner, name, self._noting(getattr(owner, name), self.phases.index(phase)))

    def _noting(self, function: Callable[..., Any], number: int) -> Callable[..., Any]:
        @wraps(function)
        def noted(*args: Any, **options: Any) -> Any:
            before = self.memory[0]
            self.put_phase(number)
            try:
                return function(*args, **options)
            finally:
                self.put_phase(before)

        return noted


def run(
    job: Callable[[], int | None],
    folder: Path,
    blow: Blow | None = None,
    watch: Watch = (),
    output: Path | None = None,
) -> Ended:
    """Runs ``job`` in a fork whose working directory is ``folder``, kills it if the blow says so, and waits for its end.

    output: file that receives what it prints. Raises TimeoutError when it does not end; it is killed then.
    """
    board = Board(list(dict.fromkeys(phase for _, _, phase in watch)))
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(job, folder, blow, board, watch, output)
    if blow is not None and blow.seconds is not None:
        _strike(pid, started + blow.seconds, blow.alone)
    code = _wait(pid, started + TIMEOUT)
    phase = board.phase()
    wait_for_group(pid, started + TIMEOUT)
    killed = code == -signal.SIGKILL
    return Ended(None if killed else code, phase, board.operations(), time.monotonic() - started)


def _child(
    job: Callable[[], int | None],
    folder: Path,
    blow: Blow | None,
    board: Board,
    watch: Watch,
    output: Path | None,
) -> None:
    """Never returns."""
    code = 99
    try:
        os.setsid()
        place = os.open(output or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(place, 1)
        os.dup2(place, 2)
        os.chdir(folder)
        board.watch(watch)
        sys.addaudithook(_hook(board, blow.operation if blow else None))
        code = job() or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _hook(board: Board, operation: int | None) -> Callable[[str, tuple[Any, ...]], None]:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & WRITING):
            if event == "open" and args[0] in (os.devnull, 1, 2):
                return
            if board.count() == operation:
                os.killpg(os.getpgrp(), signal.SIGKILL)

    return hook


def _strike(pid: int, moment: float, alone: bool) -> None:
    while (left := moment - time.monotonic()) > 0:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return  # it was quicker
        time.sleep(min(left, 0.002))
    try:
        os.kill(pid, signal.SIGKILL) if alone else os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # not yet its own group: it has done nothing
        os.kill(pid, signal.SIGKILL)


def _wait(pid: int, end: float) -> int:
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"no end after {TIMEOUT:g} s")
        time.sleep(0.002)


def wait_for_group(pid: int, end: float) -> None:
    """Until no child that outlived the process is left."""
    while time.monotonic() < end:
        try:
            os.killpg(pid, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.005)
    raise TimeoutError(f"a child still runs after {TIMEOUT:g} s")
