"""Rows of a .csv of a publisher: a header, quoting as in RFC 4180, cells that may hold line ends."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from data.readers.text import BOM, Raw


def csv_rows(raw: Raw, *columns: str, fallback: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """(line on which the row ends, the named columns in the order asked for) of every row; blank lines are passed over.

    Decoded line by line, so that a file of a gigabyte is not held twice; fallback: the encoding of lines that are not
    UTF-8, in which a byte without a meaning becomes U+FFFD. Raises DataError, naming file and line, where the header
    lacks a column, a row has more or fewer cells than the header, quoting is broken, or a line does not decode.
    """
    reader = csv.reader(_decoded(raw, fallback), strict=True)
    header: list[str] | None = None
    places: list[int] = []
    try:
        for cells in reader:
            if not cells:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                missing = [name for name in columns if name not in header]
                if missing:
                    problem = f"no column {', '.join(missing)} in the header {', '.join(header)}"
                    raw.fail(reader.line_num, problem)
                places = [header.index(name) for name in columns]
                continue
            if len(cells) != len(header):
                problem = f"{len(cells)} column(s), need {len(header)}: {', '.join(header)}"
                raw.fail(reader.line_num, problem)
            yield reader.line_num, [cells[place] for place in places]
    except csv.Error as error:
        raw.fail(reader.line_num, f"not CSV ({error})")


def _decoded(raw: Raw, fallback: str | None) -> Iterator[str]:
    """Lines with their ends, which the csv module needs where a cell holds some."""
    for number, block in enumerate(io.BytesIO(raw.content), start=1):
        try:
            line = block.decode("utf-8")
        except UnicodeDecodeError as error:
            if fallback is None:
                raw.fail(number, f"not UTF-8 (byte 0x{block[error.start]:02x})")
            line = block.decode(fallback, "replace")
        yield line.removeprefix(BOM) if number == 1 else line
