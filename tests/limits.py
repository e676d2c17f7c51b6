"""train.py in a process whose files cannot grow, or that may write only what its permissions say: full disks and read-only
folders, without a disk to fill and for root too."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path

from train_process import Result, Running, environment, run_in_fork, server


def limited(folder: Path, size: int, *arguments: object) -> Result:
    """With at most ``size`` bytes a file."""
    return _run(folder, _no_larger, size, arguments)


def without_privileges(folder: Path, *arguments: object) -> Result:
    """Without the capabilities by which root passes over permissions."""
    return _run(folder, _plain, None, arguments)


def _run(folder: Path, target: Callable[..., None], value: object, arguments: tuple[object, ...]) -> Result:
    for name in ("stdout", "stderr"):
        (folder / name).write_bytes(b"")
    words = [str(argument) for argument in arguments]
    process = server().Process(target=target, args=(value, str(folder), words, environment(folder)))
    process.start()
    return Running(process, folder).wait()


def _no_larger(size: int, *rest: object) -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    run_in_fork(*rest)  # type: ignore[arg-type]


def _plain(value: None, *rest: object) -> None:
    if os.geteuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
        nothing = (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None, use_errno=True).capset(header, nothing) == 0, ctypes.get_errno()
    run_in_fork(*rest)  # type: ignore[arg-type]
