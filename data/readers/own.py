"""A user's own file: named columns, its task told by their names.

=========================================  =======  ==================================
columns                                    task     label
=========================================  =======  ==================================
sentence1, sentence2, score                sts      a number already scaled to 0..1
sentence1, sentence2, label or gold_label  nli      a word of NLI_LABELS or its id 0..2
anchor, positive, negative                 triplet  none
=========================================  =======  ==================================

``.tsv`` has a header and no quoting, ``.csv`` a header and quoting as in RFC 4180, ``.jsonl`` one object per
line; each may be gzipped (``.tsv.gz``).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any

from data.examples import NLI_LABELS, Example
from data.readers.text import Place, Raw, nli_label, score, sentence, short

ALLOWED = (
    "sentence1, sentence2, score | sentence1, sentence2, label (or gold_label) | anchor, positive, negative"
)

Make = Callable[[Raw, Place, dict[str, Any]], Example | None]


def read_own(raw: Raw, suffix: str) -> tuple[str, list[Example], int]:
    """(task, examples, rows skipped) of a file with named columns; its first row decides the task."""
    rows = {".tsv": _tsv, ".csv": _csv, ".jsonl": Raw.objects}[suffix](raw)
    task = ""
    make: Make = _scored
    examples, skipped = [], 0
    for place, row in rows:
        if not task:
            task, make = _task(raw, place, row)
        example = make(raw, place, row)
        if example is None:
            skipped += 1
        else:
            examples.append(example)
    return task, examples, skipped


def _tsv(raw: Raw) -> Iterator[tuple[int, dict[str, Any]]]:
    names: list[str] | None = None
    for line, cells in raw.rows(1, "a header"):
        if names is None:
            names = [cell.strip() for cell in cells]
            continue
        yield line, _named(raw, line, names, cells)


def _csv(raw: Raw) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(raw.text(), newline=""), strict=True)
    names: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue  # blank line
            if names is None:
                names = [cell.strip() for cell in cells]
                continue
            yield reader.line_num, _named(raw, reader.line_num, names, cells)
    except csv.Error as error:
        raw.fail(reader.line_num, f"not CSV ({error})")


def _named(raw: Raw, line: int, names: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(names):
        raw.fail(line, f"{len(cells)} column(s), need {len(names)}: {', '.join(names)}")
    return dict(zip(names, cells, strict=True))


def _task(raw: Raw, place: Place, row: dict[str, Any]) -> tuple[str, Make]:
    kinds: list[tuple[str, Make]] = []
    if {"sentence1", "sentence2", "score"} <= row.keys():
        kinds.append(("sts", _scored))
    if {"sentence1", "sentence2"} <= row.keys() and row.keys() & {"label", "gold_label"}:
        kinds.append(("nli", _labelled))
    if {"anchor", "positive", "negative"} <= row.keys():
        kinds.append(("triplet", _triplet))
    if len(kinds) != 1:
        problem = "more than one task" if kinds else "no known task"
        raw.fail(place, f"{problem} in the columns {', '.join(row)}; need exactly one of: {ALLOWED}")
    return kinds[0]


def _cells(raw: Raw, place: Place, row: dict[str, Any], *names: str) -> tuple[str, ...]:
    missing = [name for name in names if name not in row]
    if missing:
        raw.fail(place, f"no field {', '.join(missing)}")
    return tuple(sentence(raw, place, row[name]) for name in names)


def _scored(raw: Raw, place: Place, row: dict[str, Any]) -> Example:
    texts = _cells(raw, place, row, "sentence1", "sentence2")
    advice = "; scale your scores to 0..1 first"
    return Example(texts, score(raw, place, row.get("score"), 0, 1, advice))


def _labelled(raw: Raw, place: Place, row: dict[str, Any]) -> Example | None:
    value = row["label"] if "label" in row else row.get("gold_label")
    ids = range(len(NLI_LABELS))
    if isinstance(value, bool):
        raw.fail(place, f"label {short(value)} is not one of {', '.join(NLI_LABELS)}, 0, 1, 2, -")
    label = (
        int(str(value)) if str(value).strip() in map(str, ids) else nli_label(raw, place, value, "0, 1, 2, -")
    )
    if label is None:
        return None
    return Example(_cells(raw, place, row, "sentence1", "sentence2"), label)


def _triplet(raw: Raw, place: Place, row: dict[str, Any]) -> Example:
    return Example(_cells(raw, place, row, "anchor", "positive", "negative"), None)
