"""From bytes to numbered lines and checked cells; every error names file and line."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from data.examples import NLI_LABELS, DataError

BOM = "\ufeff"
Place = int | str  # a line number from 1, or "item 7" of a JSON list


@dataclass(frozen=True, slots=True)
class Raw:
    """One file, unpacked. ``name`` is its path in the registry, ``where`` the place shown in errors."""

    name: str
    where: str
    content: bytes
    sha256: str  # of ``content``

    def fail(self, place: Place | None, problem: str) -> NoReturn:
        """Raise the one-line error of this file; line ends and what does not encode as UTF-8 are escaped, so that it prints."""
        message = f"{self.where}{'' if place is None else f':{place}'}: {problem}"
        message = message.replace("\r", "\\r").replace("\n", "\\n")
        raise DataError(message.encode("utf-8", "backslashreplace").decode("utf-8"))

    def text(self) -> str:
        """The whole file as text, without a byte order mark."""
        return _decode(self, None, self.content).removeprefix(BOM)

    def lines(self, keep_trailing_blank: bool = False) -> Iterator[tuple[int, str]]:
        """Numbered lines (from 1), LF or CRLF, without their ends.

        Only LF ends a line: sentences hold U+2028, U+0085 and form feeds. Blank lines at the end of the file
        are left out unless asked for; blank lines in the middle are returned, and the readers reject them.
        """
        blank: list[int] = []
        for number, block in enumerate(io.BytesIO(self.content), start=1):
            line = _decode(self, number, block).removesuffix("\n").removesuffix("\r")
            if number == 1:
                line = line.removeprefix(BOM)
            if not line.strip() and not keep_trailing_blank:
                blank.append(number)
                continue
            for earlier in blank:
                yield earlier, ""
            blank.clear()
            yield number, line

    def rows(self, minimum: int, layout: str) -> Iterator[tuple[int, list[str]]]:
        """Tab-separated rows without quoting; fewer than ``minimum`` columns is an error with ``layout``."""
        for number, line in self.lines():
            cells = line.split("\t")
            if len(cells) < minimum:
                self.fail(number, f"{len(cells)} column(s), need {minimum}: {layout}")
            yield number, cells

    def table(self, *columns: str) -> Iterator[tuple[int, list[str]]]:
        """Rows of a file with a header: the named columns, in the order asked for; others are ignored."""
        rows = self.rows(1, "a header")
        first = next(rows, None)
        if first is None:
            return
        header = [cell.strip() for cell in first[1]]
        missing = [name for name in columns if name not in header]
        if missing:
            self.fail(first[0], f"no column {', '.join(missing)} in the header {', '.join(header)}")
        places = [header.index(name) for name in columns]
        for number, cells in rows:
            if len(cells) <= max(places):
                self.fail(number, f"{len(cells)} column(s), need {len(header)}: {', '.join(header)}")
            yield number, [cells[place] for place in places]

    def json(self) -> Any:
        """The value of a JSON file."""
        return _json(self, None, self.text())

    def items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a JSON list, as ("item 1", {...})."""
        whole = self.json()
        if not isinstance(whole, list):
            self.fail(None, "not a JSON list")
        for number, item in enumerate(whole, start=1):
            if not isinstance(item, dict):
                self.fail(f"item {number}", f"{short(item)} is not a JSON object")
            yield f"item {number}", item

    def objects(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """JSON lines: numbered objects."""
        for number, line in self.lines():
            item = _json(self, number, line)
            if not isinstance(item, dict):
                self.fail(number, f"{short(item)} is not a JSON object")
            yield number, item


def _decode(raw: Raw, line: int | None, block: bytes) -> str:
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError as error:
        if line is None:
            line = block.count(b"\n", 0, error.start) + 1
        raw.fail(line, f"not UTF-8 (byte 0x{block[error.start]:02x})")


def _json(raw: Raw, line: int | None, text: str) -> Any:
    """The value of JSON text, which stands on ``line``, or is the whole file (None)."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raw.fail(line or error.lineno, f"not JSON ({error.msg})")
    except RecursionError:
        raw.fail(line, "JSON that is nested too deeply")
    except ValueError:  # Python converts no more digits than sys.get_int_max_str_digits()
        raw.fail(line, f"JSON with an integer of more than {sys.get_int_max_str_digits():,} digits")


def short(value: object) -> str:
    """A value for an error message: at most 80 characters, on one line."""
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def field(raw: Raw, place: Place | None, item: dict[str, Any], *path: str) -> Any:
    """``item[path[0]][path[1]]...``; a missing one is an error."""
    value: Any = item
    for name in path:
        if not isinstance(value, dict) or name not in value:
            raw.fail(place, f"no field {'.'.join(path)}")
        value = value[name]
    return value


def sentence(raw: Raw, place: Place, value: object) -> str:
    """A sentence: a non-empty string of whole characters, surrounding blanks removed."""
    if not isinstance(value, str):
        raw.fail(place, f"sentence {short(value)} is not a text")
    stripped = value.strip()
    if not stripped:
        raw.fail(place, "empty sentence")
    try:
        stripped.encode("utf-8")
    except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can spell: "\ud800"
        half = error.object[error.start]
        raw.fail(place, f"sentence {short(value)} does not encode as UTF-8 (lone surrogate {half!a})")
    return stripped


def sentence_or_blank(raw: Raw, place: Place, value: object) -> str:
    """As ``sentence``, but a text of blanks is allowed and becomes ""."""
    return "" if isinstance(value, str) and not value.strip() else sentence(raw, place, value)


def identifier(raw: Raw, place: Place, value: object) -> str:
    """An id: a word without blanks (columns of run files are parted by them), or an integer, as text."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or text.split() != [text]:
        raw.fail(place, f"id {short(value)} is not a word without blanks")
    return sentence(raw, place, text)


def as_float(value: object) -> float:
    """A number in JSON or spelled as text. Raises ValueError for anything else, OverflowError beyond every float."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    if isinstance(value, str) and "_" in value:  # 0_1 is a number to Python alone
        raise ValueError
    return float(value)


def score(raw: Raw, place: Place, value: object, low: float, high: float, advice: str = "") -> float:
    """A score in low..high, scaled to 0..1; ``advice`` ends the error of one outside."""
    try:
        number = as_float(value)
    except ValueError:
        raw.fail(place, f"score {short(value)} is not a number in {low:g}..{high:g}{advice}")
    except OverflowError:  # an integer beyond every float
        number = math.inf
    if not low <= number <= high:  # false for NaN
        raw.fail(place, f"score {short(value)} is outside {low:g}..{high:g}{advice}")
    return (number - low) / (high - low)


def nli_label(raw: Raw, place: Place, value: object, others: str = "-") -> int | None:
    """Class id of an NLI word in any case; None for ``-`` (no majority among the annotators: drop the row).

    ``others`` are the further values the error message allows.
    """
    word = value.strip().lower() if isinstance(value, str) else value
    if word == "-":
        return None
    if word not in NLI_LABELS:
        raw.fail(place, f"label {short(value)} is not one of {', '.join(NLI_LABELS)}, {others}")
    return NLI_LABELS.index(str(word))
