"""Directories that are the old one or the whole new one, never half: model directories and checkpoints.

A directory cannot be replaced in one system call everywhere, so a replacement is two renames; ``settle`` finishes or
undoes one that was cut between them.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sbert.errors import RunError


@contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yields a new folder beside ``target``; on success it is flushed and takes the name, else it is removed.

    Raises RunError when the disk is full or the place cannot be written.
    """
    temporary = target.parent / f".{target.name}.tmp"
    try:
        settle(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)  # left by a killed run
        temporary.mkdir()
        yield temporary
        for path in sorted(temporary.rglob("*")):
            if path.is_file():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
        if target.exists():
            os.rename(target, _old(target))
        os.rename(temporary, target)
        shutil.rmtree(_old(target), ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        settle(target)
        if not _is_from_the_disk(error):
            raise
        reason = getattr(error, "strerror", None) or str(error).strip()
        raise RunError(f"{target}: cannot be saved: {reason}; what was there before is untouched") from error


def _is_from_the_disk(error: BaseException) -> bool:
    """The safetensors and tokenizers writers wrap the system's error in classes of their own."""
    return isinstance(error, OSError) or (
        isinstance(error, Exception)
        and ("os error" in str(error) or type(error).__name__ == "SafetensorError")
    )


def settle(target: Path) -> None:
    """Ends a replacement that was cut short: the old directory comes back if the new one never arrived."""
    old = _old(target)
    if old.exists():
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, target)


def _old(target: Path) -> Path:
    return target.parent / f".{target.name}.old"
