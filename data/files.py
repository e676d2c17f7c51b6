"""Hashes and atomic writes: a file is either the old one or the whole new one, never half."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hexadecimal sha256 of a file's bytes, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed and takes the name, else removed.

    The folder is made if it is missing. The mode is that of the file replaced, or the one a plain ``open``
    would give.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, _mode_for(target))
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:  # KeyboardInterrupt too: leave nothing half-written behind
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def write_bytes_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text_atomically(path: str | os.PathLike[str], text: str) -> None:
    """Replace ``path`` by ``text`` (UTF-8, line ends as given) in one step."""
    write_bytes_atomically(path, text.encode("utf-8"))


def _mode_for(target: Path) -> int:
    """``mkstemp`` makes private files (0600); give the replaced file's mode, or 0666 less the umask."""
    if target.exists():
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


def sync_folder(folder: Path) -> None:
    """Flush the folder entry, so that the rename survives a power cut (POSIX only)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse to sync folders; the rename itself has happened
    finally:
        os.close(handle)
