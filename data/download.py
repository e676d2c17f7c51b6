"""Verified, resumable download, and reading single members of archives.

A file arrives as ``<name>.part`` beside its place and takes its name only when its length, its sha256 (where
known) and the caller's own check are right: what is wrong never becomes a data set. A part that was cut short
is kept, and the next attempt asks for the rest. Where no sha256 is known, the one seen first is kept in
``<name>.sha256`` and any other is refused from then on (trust on first use).
"""

from __future__ import annotations

import logging
import os
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import IO

from data.examples import DataError
from data.files import sha256_of, write_text_atomically

log = logging.getLogger(__name__)

BLOCK = 1 << 16
TIMEOUT = 60.0  # seconds without a byte
LARGEST_MEMBER = 4 << 30  # bytes; more than any set here holds, less than an archive bomb


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    pinned: bool = False,
    check: Callable[[Path], object] | None = None,
) -> Path:
    """Download ``url`` to ``target`` and return it; DataError, and no file, when anything is wrong.

    sha256: what the downloaded bytes must hash to. pinned: the content is verified by a hash in some way (by
    ``sha256``, or by ``check``), which is what plain http needs. check: called with the finished ``.part``;
    raises DataError.
    """
    _check_scheme(url, pinned or sha256 is not None)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(target.name + ".lock")):
            if not target.is_file():  # else another process was quicker
                _fetch(url, target, sha256, pinned, check)
    except OSError as error:
        raise DataError(
            f"{url}: cannot be kept at {target} ({error.strerror or error}); "
            "SBERT_CACHE names the folder for downloads"
        ) from error
    return target


def _fetch(
    url: str, target: Path, sha256: str | None, pinned: bool, check: Callable[[Path], object] | None
) -> None:
    """The download itself, under the lock. DataError; OSError where the finished part cannot be kept."""
    part = target.with_name(target.name + ".part")
    try:
        _transfer(url, part, pinned or sha256 is not None)
    except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
        raise DataError(f"{url}: download failed ({_reason(error)})") from error
    _verify(url, part, target, sha256, pinned, check)
    _tag(part).unlink(missing_ok=True)
    os.replace(part, target)


def remembered_sha256(path: Path) -> str | None:
    """The sha256 written down when a file without a known one was first downloaded."""
    note = path.with_name(path.name + ".sha256")
    return note.read_text(encoding="ascii").strip() if note.is_file() else None


def _check_scheme(url: str, pinned: bool) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme != "https" and not (scheme == "http" and pinned):
        raise DataError(f"{url}: only https is downloaded, or http where the sha256 is known")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects must keep to the rule for the first address."""

    def __init__(self, pinned: bool) -> None:
        self.pinned = pinned

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        _check_scheme(newurl, self.pinned)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _transfer(url: str, part: Path, pinned: bool) -> None:
    """Bring ``part`` to its full length, from where it stands."""
    have = part.stat().st_size if part.is_file() else 0
    tag = _tag(part).read_text(encoding="utf-8") if _tag(part).is_file() else ""
    if have and not (tag or pinned):  # nothing would tell us that the two halves belong together
        have = 0
    headers = {"User-Agent": "sbert-from-scratch", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag:
            headers["If-Range"] = tag
    opener = urllib.request.build_opener(_SafeRedirects(pinned))
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have and _range_total(error.headers.get("Content-Range")) == have:
            return  # the part was already whole
        if error.code == 416:
            part.unlink(missing_ok=True)
        raise
    with response:
        resumed = response.status == 206 and _range_start(response.headers.get("Content-Range")) == have
        if response.status == 206 and not resumed:
            part.unlink(missing_ok=True)
            raise ValueError(f"the server sent another range than {headers.get('Range')}; run again")
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if validator and not validator.startswith("W/"):
            write_text_atomically(_tag(part), validator)
        else:
            _tag(part).unlink(missing_ok=True)
        _copy(response, part, have, total)
    size = part.stat().st_size
    if total is not None and size != total:
        raise DataError(f"{url}: short file, {size:,} of {total:,} bytes; run again to fetch the rest")


def _copy(response: HTTPResponse, part: Path, have: int, total: int | None) -> None:
    """Append the response to ``part`` from byte ``have``, with a progress bar on a terminal."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    name = part.name.removesuffix(".part")
    with (
        open(part, "r+b" if have else "wb") as file,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=None) as bar,
    ):
        file.seek(have)
        file.truncate()
        while block := _block(response, total):
            file.write(block)
            bar.update(len(block))
        file.flush()
        os.fsync(file.fileno())


def _block(response: HTTPResponse, total: int | None) -> bytes:
    """The next bytes; empty at the end, and after a cut where the length is known and checked afterwards."""
    try:
        return response.read(BLOCK)
    except IncompleteRead as error:
        if total is None:
            raise
        return error.partial


def _verify(
    url: str,
    part: Path,
    target: Path,
    sha256: str | None,
    pinned: bool,
    check: Callable[[Path], object] | None,
) -> None:
    """Hash and check a complete part; a wrong one is removed."""
    found = sha256_of(part)
    expected = sha256 or remembered_sha256(target)
    try:
        if expected and found != expected:
            raise DataError(f"{url}: sha256 is {found}, expected {expected}; the download was removed")
        if check is not None:
            check(part)
    except DataError:
        part.unlink(missing_ok=True)
        _tag(part).unlink(missing_ok=True)
        raise
    if expected is None and not pinned:
        write_text_atomically(target.with_name(target.name + ".sha256"), found + "\n")
        log.warning(
            "%s: no sha256 is known for it; %s was seen now and will be asked for from now on", url, found
        )


def _tag(part: Path) -> Path:
    """Where the server's ETag or date of a part is kept, so that halves of two versions are never joined."""
    return part.with_name(part.name + ".tag")


def _range_start(header: str | None) -> int | None:
    """5 of ``bytes 5-9/10``."""
    start = (header or "").removeprefix("bytes ").split("-")[0]
    return int(start) if start.isdigit() else None


def _range_total(header: str | None) -> int | None:
    """10 of ``bytes */10``."""
    total = (header or "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    code = f"HTTP {error.code}: " if isinstance(error, urllib.error.HTTPError) else ""
    return f"{code}{reason}" or type(error).__name__


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time downloads a file (several ranks start together); waits for the other one."""
    try:
        import fcntl
    except ImportError:  # not POSIX
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_member(archive: Path, name: str, shown: str | None = None) -> bytes:
    """The bytes of one member of a zip or tar.gz: ``name`` itself, or the only one that ends in ``/name``.

    Nothing is written to disk, so a hostile member name reaches no path; links and oversized members are
    refused. ``shown`` is the archive's name in errors.
    """
    shown = shown or str(archive)
    try:
        if zipfile.is_zipfile(archive) or archive.suffix == ".zip":
            return _zip_member(archive, name, shown)
        return _tar_member(archive, name, shown)
    except DataError:
        raise
    except Exception as error:
        # the readers of zip and tar have a dozen kinds: encryption, names, LZMA, sparse files
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DataError(f"{shown}: not a whole zip or tar.gz archive ({reason})") from error


def _zip_member(archive: Path, name: str, shown: str) -> bytes:
    with zipfile.ZipFile(archive) as file:
        chosen = _choose(name, [info.filename for info in file.infolist() if not info.is_dir()], shown)
        with file.open(chosen) as stream:
            return _bounded(stream, f"{shown}/{chosen}")


def _tar_member(archive: Path, name: str, shown: str) -> bytes:
    with tarfile.open(archive, "r:gz") as file:
        members = {member.name: member for member in file.getmembers() if member.isfile()}
        chosen = _choose(name, list(members), shown)
        if members[chosen].issparse():
            raise DataError(f"{shown}/{chosen}: a sparse file, which is not read")
        stream = file.extractfile(members[chosen])
        if stream is None:
            raise DataError(f"{shown}/{chosen}: not a plain file")
        return _bounded(stream, f"{shown}/{chosen}")


def _choose(name: str, members: list[str], shown: str) -> str:
    found = [member for member in members if member == name or member.endswith("/" + name)]
    found = [member for member in found if not member.startswith("/") and ".." not in member.split("/")]
    if len(found) != 1:
        listed = ", ".join(members[:8]) + (", ..." if len(members) > 8 else "")
        raise DataError(
            f"{shown}: {len(found) or 'no'} member(s) called {name}; it holds {listed or 'nothing'}"
        )
    return found[0]


def _bounded(stream: IO[bytes], shown: str) -> bytes:
    content = stream.read(LARGEST_MEMBER + 1)
    if len(content) > LARGEST_MEMBER:
        raise DataError(f"{shown}: more than {LARGEST_MEMBER:,} bytes")
    return content
