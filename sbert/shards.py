"""A corpus of any size -> vectors on disk, in shards, in flat memory; what was cut short goes on and ends in the same bytes.

    FOLDER/encoding.json     what decides the vectors: model fingerprint, prompt, precision, rows a shard, ...; written first
    FOLDER/shard-000000/     embeddings.npy (n, D), ids.json (n strings), shard.json; whole or not there
    FOLDER/complete.json     rows, shards, width, and the sha256 of every shard.json; written last

shard.json says where its rows begin and holds the sha256 of its two files and of the texts that they were made of, so that a
damaged shard is made again and one of other texts is never taken for this corpus's. A shard's vectors depend on its own texts
alone: batches never cross from one shard into the next. Several processes share the batches of a shard, and the first one writes:
the same bytes again.
Shape letters: n rows of a shard, D embedding width.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from data.files import sha256_of, write_text_atomically
from sbert import distributed, ranks
from sbert.atomic import atomic_directory, settle
from sbert.errors import RunError
from sbert.jsonfile import read_json, to_json
from sbert.lock import FolderLock

log = logging.getLogger("sbert")

FORMAT = 1  # of encoding.json
DTYPES = ("float16", "float32")
MARK = "shard.json"
FILES = ("embeddings.npy", "ids.json")
Encode = Callable[[list[str]], np.ndarray]  # texts -> (n, D)


@dataclass(frozen=True)
class Written:
    """rows and shards in the folder; made: the shards that this call encoded."""

    rows: int
    shards: int
    made: int


def encode_corpus(
    encode: Encode,
    corpus: Iterable[tuple[str, str]],
    folder: Path,
    facts: Mapping[str, Any],
    *,
    shard_rows: int = 10_000,
    dtype: str = "float32",
) -> Written:
    """Encodes (id, text) rows into ``folder``; shards that are there already, whole and of the same texts, are kept.

    facts: what decides the vectors besides the texts, such as the model's fingerprint; must be the same when a call goes on
    where another was stopped. Raises RunError when they are not, when a shard is of other texts, when another process writes
    there, when a vector is not finite or not of ``dtype``'s range, and when the disk is full. Of several processes each reads the
    whole corpus.
    """
    if shard_rows < 1 or dtype not in DTYPES:
        raise ValueError(f"shard_rows {shard_rows}, dtype {dtype!r}: at least 1, and {' or '.join(DTYPES)}")
    asked = {"format": FORMAT, "shard_rows": shard_rows, "dtype": dtype, "facts": dict(facts)}
    distributed.check_alike({**facts, "shard_rows": shard_rows, "dtype": dtype})
    writes = ranks.is_first()
    parts = _parts(corpus, shard_rows)
    first = next(parts, None)  # a corpus that cannot be read, or holds nothing, makes no folder
    if first is None:
        raise RunError("no texts to encode")
    lock = _open(folder, asked) if writes else None
    try:
        rows = shards = made = 0
        seals: list[str] = []
        for part in chain([first], parts):
            place = shard_folder(folder, shards)
            if not distributed.from_first(writes and _is_there(place, rows, part)):
                vectors = _vectors(encode, part, dtype, rows)
                if writes:
                    _write(place, rows, part, vectors)
                made += 1
                log.info(
                    "shard %d: %s texts encoded, %s in all", shards, f"{len(part):,}", f"{rows + len(part):,}"
                )
            seals += [sha256_of(place / MARK)] if writes else []
            rows, shards = rows + len(part), shards + 1
        if writes:
            if (extra := shard_folder(folder, shards)).exists():
                raise RunError(
                    f"{extra}: is of a longer corpus than this one of {rows:,} texts; give another --output"
                )
            _put(folder / "complete.json", {"rows": rows, "shards": shards, "sha256": seals})
        distributed.wait()  # what the first process has written is there for all
        return Written(rows, shards, made)
    finally:
        if lock is not None:
            lock.close()


def shard_folder(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:06d}"


def read_shards(folder: Path) -> Iterator[tuple[list[str], np.ndarray]]:
    """(ids, embeddings (n, D), memory-mapped) of every shard, in order. Raises RunError for a folder that is not complete, and
    for a damaged shard."""
    complete = read_json(folder / "complete.json")
    seals = complete.get("sha256")
    if not isinstance(seals, list) or complete.get("shards") != len(seals):
        raise RunError(f"{folder}/complete.json: not what encode_corpus writes")
    for number, seal in enumerate(seals):
        place = shard_folder(folder, number)
        if not (place / MARK).is_file() or sha256_of(place / MARK) != seal:
            raise RunError(f"{place}/{MARK}: missing or changed since complete.json was written")
        if (wrong := _damage(place, read_json(place / MARK))) is not None:
            raise RunError(f"{place}/{wrong}: damaged: its sha256 is not the one in {MARK}")
        yield (
            read_json(place / "ids.json", list),
            np.load(place / "embeddings.npy", mmap_mode="r", allow_pickle=False),
        )


def _parts(corpus: Iterable[tuple[str, str]], shard_rows: int) -> Iterator[list[tuple[str, str]]]:
    """The rows of one shard after the other. Raises RunError where another process reads other rows."""
    source, read = iter(corpus), 0
    while True:
        part = list(islice(source, shard_rows))
        if distributed.count() > 1 and distributed.from_first(_sha256(part)) != _sha256(part):
            raise RunError(f"the corpus: from row {read + 1:,} on not what the first process reads")
        if not part:
            return
        yield part
        read += len(part)


def _open(folder: Path, asked: dict[str, Any]) -> FolderLock:
    """Makes the folder or goes on in one that was begun with the same settings; the lock of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made: {error.strerror}") from None
    lock = FolderLock(folder)
    path = folder / "encoding.json"
    if path.exists():
        stored = read_json(path)
        for key, value in asked.items():
            if stored.get(key) != value:
                was, now = _difference(stored.get(key), value)
                raise RunError(f"{folder}: begun with {key} {was}, asked for is {now}; give another --output")
    elif any(child for child in folder.iterdir() if not child.name.startswith(".encoding.json.")):
        raise RunError(f"{folder}: holds other things (no encoding.json in it): not written to")
    else:
        _put(path, asked)
    return lock


def _difference(was: Any, now: Any) -> tuple[Any, Any]:
    """Of two mappings only the entries that differ."""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return was, now
    keys = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    return {key: was.get(key) for key in keys}, {key: now.get(key) for key in keys}


def _is_there(place: Path, first: int, part: list[tuple[str, str]]) -> bool:
    """Whether a whole shard of these rows is there. Raises RunError when it is of other rows."""
    settle(place)
    if not (place / MARK).is_file():
        return False
    try:
        about = read_json(place / MARK)
    except RunError as error:
        log.warning("%s: the shard is made again", error)
        return False
    if about.get("first") != first or about.get("texts") != _sha256(part):
        raise RunError(
            f"{place}: made of other texts than rows {first + 1:,} to {first + len(part):,} of this corpus; give another --output"
        )
    if (wrong := _damage(place, about)) is not None:
        log.warning("%s/%s is damaged: the shard is made again", place, wrong)
        return False
    return True


def _damage(place: Path, about: dict[str, Any]) -> str | None:
    """The name of the first file whose bytes are not those that were written."""
    for name in FILES:
        path = place / name
        if not path.is_file() or sha256_of(path) != about.get(name):
            return name
    return None


def _vectors(encode: Encode, part: list[tuple[str, str]], dtype: str, first: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        vectors = np.ascontiguousarray(encode([text for _, text in part]).astype(dtype))
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        row = int(bad[0])
        raise RunError(f"row {first + row + 1:,} (id {part[row][0]}): its vector is not finite in {dtype}")
    return vectors


def _write(place: Path, first: int, part: list[tuple[str, str]], vectors: np.ndarray) -> None:
    with atomic_directory(place, (MARK, *FILES)) as temporary:
        np.save(temporary / "embeddings.npy", vectors, allow_pickle=False)
        (temporary / "ids.json").write_text(to_json([identity for identity, _ in part]), encoding="utf8")
        about = {
            "first": first,
            "rows": len(part),
            "width": vectors.shape[1],
            "texts": _sha256(part),
            **{name: sha256_of(temporary / name) for name in FILES},
        }
        (temporary / MARK).write_text(to_json(about), encoding="utf8")


def _put(path: Path, value: dict[str, Any]) -> None:
    try:
        write_text_atomically(path, to_json(value))
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None


def _sha256(part: list[tuple[str, str]]) -> str:
    """Of ids and texts, in order."""
    digest = hashlib.sha256()
    for row in part:
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
