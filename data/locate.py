"""Where the files of a split lie, and their verified, unpacked bytes.

Looked for in the data dir, then in the download cache, then at the publisher.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from pathlib import Path

from data.download import LARGEST_MEMBER, fetch, read_member, remembered_sha256
from data.entries import Entry, File, Layout
from data.examples import DataError
from data.files import sha256_of
from data.readers.text import Raw

PACKAGE = Path(__file__).parent
ADVICE = "point --data-dir or SBERT_DATA at a folder that has it"


def data_dirs(data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """The folder given, or that of SBERT_DATA, or none."""
    folder = data_dir or os.environ.get("SBERT_DATA")
    if not folder:
        return []
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DataError(f"{path}: the data dir (--data-dir or SBERT_DATA) is not a folder")
    return [path]


def cache(cache_dir: str | os.PathLike[str] | None) -> Path:
    """The folder given, or that of SBERT_CACHE, or the one in the user's home."""
    return Path(cache_dir or os.environ.get("SBERT_CACHE") or "~/.cache/sbert-from-scratch").expanduser()


def find(file: File, roots: list[Path]) -> Path | None:
    """The first place that holds a file: itself plain or gzipped, or the archive it is a member of."""
    if file.embedded:
        return PACKAGE / file.path
    for root in roots:
        names = [form for path in (file.path, *file.also) for form in (path, path + ".gz")]
        for name in names + ([file.archive.path] if file.archive else []):
            if (root / name).is_file():
                return root / name
    return None


def any_hash() -> bool:
    """Whether the user accepts copies whose sha256 is not the known one (SBERT_ANY_HASH=1)."""
    return os.environ.get("SBERT_ANY_HASH") == "1"


def unpack(path: Path, file: File, shown: str | None = None) -> tuple[str, bytes]:
    """(name for errors, bytes) of a file found at ``path``: as it is, gunzipped, or out of its archive."""
    shown = shown or str(path)
    if file.archive and shown.endswith(file.archive.path):
        return f"{shown}/{file.member_name}", read_member(path, file.member_name, shown)
    try:
        if shown.endswith(".gz"):
            with gzip.open(path) as stream:
                content = stream.read(LARGEST_MEMBER + 1)
            if len(content) > LARGEST_MEMBER:
                raise DataError(f"{shown}: more than {LARGEST_MEMBER:,} bytes unpacked")
            return shown, content
        return shown, path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{shown}: not a whole gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{shown}: cannot be read ({error.strerror or error})") from error


def read(file: File, path: Path, shown: str | None = None) -> Raw:
    """The unpacked bytes of a located file, checked against the known sha256."""
    where, content = unpack(path, file, shown)
    sha256 = hashlib.sha256(content).hexdigest()
    if file.sha256 and sha256 not in (file.sha256, *file.other_sha256) and not any_hash():
        raise DataError(
            f"{where}: sha256 is {sha256}, expected {file.sha256}; SBERT_ANY_HASH=1 reads it all the same"
        )
    return Raw(file.path, where, content, sha256)


def read_local(path: Path) -> Raw:
    """A user's own file, gunzipped where its name ends in .gz."""
    return read(File(path.name), path)


def choose(
    entry: Entry, split: str, data_dirs: list[Path], cache: Path, download: bool
) -> tuple[list[Raw], str]:
    """The files of the first layout that is complete, and its reader.

    Complete in the data dir, else in data dir and cache together, else with what the publisher has.
    """
    layouts = [layout for layout in entry.layouts if split in layout.splits]
    for roots in (data_dirs, [*data_dirs, cache]):
        for layout in layouts:
            paths = [find(file, roots) for file in layout.splits[split]]
            if all(paths):
                return _read_all(layout.splits[split], paths, cache), layout.reader
    for layout in layouts if download else ():
        files = layout.splits[split]
        paths = [find(file, [*data_dirs, cache]) for file in files]
        if all(path or _addresses(file) for file, path in zip(files, paths, strict=True)):
            try:
                paths = [path or _download(file, cache) for file, path in zip(files, paths, strict=True)]
            except DataError as error:
                lacking = _lacking(entry, split, layout, [*data_dirs, cache])
                raise DataError(f"{lacking}; {error}; {ADVICE}") from error
            return _read_all(files, paths, cache), layout.reader
    raise DataError(_not_found(entry, split, layouts, [*data_dirs, cache], download))


def _read_all(files: tuple[File, ...], paths: list[Path | None], cache: Path) -> list[Raw]:
    raws = []
    for file, path in zip(files, paths, strict=True):
        assert path is not None
        if path.is_relative_to(cache) and not file.sha256 and (first := remembered_sha256(path)):
            _check_remembered(path, first)
        raws.append(read(file, path))
    return raws


def _check_remembered(path: Path, first: str) -> None:
    found = sha256_of(path)
    if found != first and not any_hash():
        raise DataError(
            f"{path}: sha256 is {found}, but {first} when it was downloaded; remove it to fetch it again"
        )


def _addresses(file: File) -> list[tuple[str, str, str | None]]:
    """(URL, place in the cache, sha256 of what is there) of a file, its own addresses first, then its archive's.

    The sha256 of a file itself is that of its unpacked bytes, so it is None here.
    """
    own = [(url, file.path + ".gz" if url.endswith(".gz") else file.path, None) for url in file.urls]
    archive = file.archive
    return own + ([(url, archive.path, archive.sha256) for url in archive.urls] if archive else [])


def _download(file: File, cache: Path) -> Path:
    """Fetch a file, or the archive it is in, from the first of its addresses that gives the right bytes."""
    problems = []
    for url, place, sha256 in _addresses(file):
        try:
            return fetch(
                url,
                cache / place,
                sha256=sha256,
                pinned=file.sha256 is not None,
                check=lambda part, place=place, url=url: read(file, part, f"{url} -> {place}"),  # type: ignore[misc]
            )
        except DataError as error:
            problems.append(str(error))
    raise DataError("; ".join(problems))


def _missing(split: str, layout: Layout, roots: list[Path]) -> list[str]:
    return [file.path for file in layout.splits[split] if find(file, roots) is None]


def _lacking(entry: Entry, split: str, layout: Layout, roots: list[Path]) -> str:
    """Which files of a layout are missing, and the folders that were searched."""
    places = ", ".join(map(str, roots))
    return f"{entry.name}-{split}: no {', '.join(_missing(split, layout, roots))} in {places}"


def _not_found(entry: Entry, split: str, layouts: list[Layout], roots: list[Path], download: bool) -> str:
    """What is missing of the layout that is nearest to complete, and how to get it."""
    nearest = min(layouts, key=lambda layout: len(_missing(split, layout, roots)))
    addresses = [url for file in nearest.splits[split] for url, *_ in _addresses(file)]
    if entry.sources:
        advice = f"it has no single address: {entry.sources}"
    elif addresses and not download:
        advice = f"downloading is off; the publisher keeps it at {addresses[0]}"
    else:
        advice = "it cannot be downloaded"
    return f"{_lacking(entry, split, nearest, roots)}; {advice}; {ADVICE}"
