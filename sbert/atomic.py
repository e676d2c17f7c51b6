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
from sbert.lock import FolderLock


@contextmanager
def atomic_directory(target: Path, marks: tuple[str, ...]) -> Iterator[Path]:
    """Yields a new folder beside ``target``; on success it is flushed and takes the name, else it is removed.

    marks: files one of which tells that an existing ``target`` is of our making; another folder with something in it
    is never replaced. Raises RunError then, when another process is writing the same, and when the disk is full or the
    place cannot be written.
    """
    target = Path(os.path.realpath(target))
    temporary = target.parent / f".{target.name}.tmp"
    try:
        settle(target)
        _refuse_to_replace(target, marks)
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = _begin(temporary)
    except OSError as error:
        raise _cannot_be_saved(target, error) from error
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            if path.is_file():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
            else:
                sync_folder(path)
        sync_folder(temporary)
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
        raise _cannot_be_saved(target, error) from error
    finally:
        lock.close()


def _begin(temporary: Path) -> FolderLock:
    """Makes the folder anew and holds it; one that a killed process left is removed, one that a live one holds is not."""
    if temporary.exists():
        left = FolderLock(temporary)
        shutil.rmtree(temporary, ignore_errors=True)
        left.close()
    temporary.mkdir()
    lock = FolderLock(temporary)
    if not lock.still_names(temporary):  # removed by a process that came between the two lines above
        raise RunError(
            f"{temporary}: another process is writing there: wait for it, or choose another folder"
        )
    return lock


def _cannot_be_saved(target: Path, error: BaseException) -> RunError:
    reason = getattr(error, "strerror", None) or str(error).strip()
    return RunError(f"{target}: cannot be saved: {reason}; what was there before is untouched")


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


def remove_directory(target: Path) -> None:
    """Takes the name away first, so that a removal that is cut short leaves no half of a directory under it."""
    gone = target.parent / f".{target.name}.gone"
    os.rename(target, gone)
    shutil.rmtree(gone, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Removes what killed processes left of directories in ``folder`` that were being written or removed."""
    for path in [*folder.glob(".*.tmp"), *folder.glob(".*.gone")]:
        shutil.rmtree(path, ignore_errors=True)


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
