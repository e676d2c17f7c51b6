"""Directories that are the old one or the whole new one, never half: model directories and checkpoints.

A directory cannot be replaced in one system call everywhere, so a replacement is two renames; ``settle`` finishes or
undoes one that was cut between them.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.files import sync_folder
from sbert.errors import RunError


@contextmanager
def atomic_directory(target: Path, marks: tuple[str, ...]) -> Iterator[Path]:
    """Yields a new folder beside ``target``; on success it is flushed and takes the name, else it is removed.

    marks: files one of which tells that an existing ``target`` is of our making; another folder with something in it
    is never replaced. Raises RunError then, and when the disk is full or the place cannot be written.
    """
    target = Path(os.path.realpath(target))
    temporary = target.parent / f".{target.name}.tmp"
    try:
        settle(target)
        _refuse_to_replace(target, marks)
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
        sync_folder(target.parent)
        shutil.rmtree(_old(target), ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        settle(target)
        if not _is_from_the_disk(error):
            raise
        reason = getattr(error, "strerror", None) or str(error).strip()
        raise RunError(f"{target}: cannot be saved: {reason}; what was there before is untouched") from error


def _refuse_to_replace(target: Path, marks: tuple[str, ...]) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise RunError(f"{target}: is a file, not a folder: not replaced")
    if any(target.iterdir()) and not any((target / mark).is_file() for mark in marks):
        raise RunError(f"{target}: holds other things (no {' or '.join(marks)} in it): not replaced")


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
