"""A corpus read a text at a time, so that a file of any size fits into memory. Torch-free.

.txt     one text a line, called by its line number; a blank line is an empty text, so that rows stay beside their lines
.jsonl   {"text", "id", "title"}, the last two if they like; "title text" is what is read; without an id, the line number

Each may be gzipped. Ids are not compared with one another: that would take the memory that this module is to spare.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from data.examples import DataError
from data.readers.text import BOM, Raw, field, identifier, sentence_or_blank, short

SUFFIXES = (".txt", ".jsonl")
LONGEST = 64 << 20  # bytes of a line; a file without line ends is no corpus
Row = tuple[str, str]  # (id, text)


class _Lines(Protocol):
    def readline(self, size: int = -1, /) -> bytes: ...


def corpus_suffix(path: Path) -> str:
    """.txt or .jsonl. Raises DataError for another ending."""
    for suffix in SUFFIXES:
        if path.name.removesuffix(".gz").endswith(suffix):
            return suffix
    raise DataError(f"{path}: a corpus is a file of {' or '.join(SUFFIXES)}, gzipped (.gz) or not")


def stream_corpus(path: Path) -> Iterator[Row]:
    """(id, text) of every line. Raises DataError naming the file and the line."""
    plain = corpus_suffix(path) == ".txt"
    try:
        with gzip.open(path, "rb") if path.name.endswith(".gz") else open(path, "rb") as file:
            for number, line in _lines(path, file):
                yield (str(number), _checked(path, number, line)) if plain else _object(path, number, line)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _lines(path: Path, file: _Lines) -> Iterator[tuple[int, str]]:
    """Numbered lines, from 1. Only LF or CRLF ends a line."""
    number = 0
    while block := file.readline(LONGEST + 1):
        number += 1
        if len(block) > LONGEST:
            raise DataError(f"{path}:{number}: a line of more than {LONGEST:,} bytes")
        try:
            line = block.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: not UTF-8 (byte 0x{block[error.start]:02x})") from None
        yield number, (line.removeprefix(BOM) if number == 1 else line).removesuffix("\n").removesuffix("\r")


def _checked(path: Path, number: int, line: str) -> str:
    return sentence_or_blank(_place(path), number, line)


def _object(path: Path, number: int, line: str) -> Row:
    raw = _place(path)
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raw.fail(number, f"not JSON ({getattr(error, 'msg', None) or str(error).splitlines()[0]})")
    if not isinstance(item, dict):
        raw.fail(number, f"{short(item)} is not a JSON object")
    identity = identifier(raw, f"{number}: id", item.get("id", number))
    text = sentence_or_blank(raw, f"{number}: text", field(raw, number, item, "text"))
    title = sentence_or_blank(raw, f"{number}: title", item.get("title") or "")
    return identity, f"{title} {text}".strip()


def _place(path: Path) -> Raw:
    """Names the file in errors; its content is never held."""
    return Raw(path.name, str(path), b"", "")
