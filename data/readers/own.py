"""A user's own file: named columns, its task told by their names; or (.txt) a text a line, of the task text.

=========================================  =======  ==================================
columns                                    task     label
=========================================  =======  ==================================
sentence1, sentence2, score                sts      a number already scaled to 0..1
sentence1, sentence2, label or gold_label  nli      a word of NLI_LABELS or its id 0..2
anchor, positive                           ranking  relevance 1
anchor, positive, negative                 triplet  none
anchor, positive, negative, margin         margin   a finite number, of either sign
source, target                             parallel none: target is the translation of source
query, positive, negative                  ranking  relevance 1 and 0
query, positive, documents                 ranking  1 for a document that is a positive
query, documents, scores                   ranking  a finite number >= 0 a document
=========================================  =======  ==================================

``.tsv`` has a header and no quoting, ``.csv`` a header and quoting as in RFC 4180, ``.jsonl`` one object per
line; each may be gzipped (``.tsv.gz``). Columns of no layout are ignored.

Rows of ``query`` hold lists and therefore stand in ``.jsonl`` only; ``positive`` and ``negative`` may also be one text.
Rows of ``query, positive, negative`` may say of which passage each text is a part (``passages``: names, the positives'
first) and which passages answer the query (``relevant``), as ``experiments.mine`` does: a part of a passage that
answers is then never taken for a wrong answer. Their lists may differ in length from row to row, but every row needs a relevant document. A positive that is named
twice counts once, and no text may be positive and negative. ``documents`` are what an earlier stage retrieved, in its
order: they are kept as they are, duplicates included, and positives that are not among them are appended. Texts are
compared without the blanks around them.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

from data.examples import NLI_LABELS, Example
from data.readers.text import Place, Raw, as_float, field, nli_label, score, sentence, short

ALLOWED = (
    "sentence1, sentence2, score | sentence1, sentence2, label (or gold_label) | anchor, positive | "
    "anchor, positive, negative | anchor, positive, negative, margin | source, target"
)
ALLOWED_JSONL = "query, positive, negative | query, positive, documents | query, documents, scores"

Make = Callable[[Raw, Place, dict[str, Any]], Example | None]


def read_own(raw: Raw, suffix: str) -> tuple[str, list[Example], int]:
    """(task, examples, rows skipped) of a file with named columns, whose first row decides the task, or of lines."""
    if suffix == ".txt":
        lines = list(raw.lines())
        texts = [Example((sentence(raw, number, line),), None) for number, line in lines if line.strip()]
        return "text", texts, len(lines) - len(texts)
    rows = {".tsv": _tsv, ".csv": _csv, ".jsonl": Raw.objects}[suffix](raw)
    layout: tuple[str, Make] | None = None
    examples, skipped = [], 0
    for place, row in rows:
        layout = layout or _layout(raw, place, row, suffix)
        example = layout[1](raw, place, row)
        if example is None:
            skipped += 1
        else:
            examples.append(example)
    return layout[0] if layout else "", examples, skipped


def _tsv(raw: Raw) -> Iterator[tuple[int, dict[str, Any]]]:
    names: list[str] | None = None
    for line, cells in raw.rows(1, "a header"):
        if names is None:
            names = _header(raw, line, cells)
            continue
        yield line, _named(raw, line, names, cells)


def _csv(raw: Raw) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(sys.maxsize)  # a text may be long; the whole file is in memory anyway
    reader = csv.reader(io.StringIO(raw.text(), newline=""), strict=True)
    names: list[str] | None = None
    try:
        for cells in reader:
            if not cells:
                continue  # blank line
            if names is None:
                names = _header(raw, reader.line_num, cells)
                continue
            yield reader.line_num, _named(raw, reader.line_num, names, cells)
    except csv.Error as error:
        raw.fail(reader.line_num, f"not CSV ({error})")


def _header(raw: Raw, line: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raw.fail(line, f"column {short(twice)} stands twice in the header")
    return names


def _named(raw: Raw, line: int, names: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(names):
        raw.fail(line, f"{len(cells)} column(s), need {len(names)}: {', '.join(names)}")
    return dict(zip(names, cells, strict=True))


def _layout(raw: Raw, place: Place, row: dict[str, Any], suffix: str) -> tuple[str, Make]:
    """(task, maker of examples) of the only layout whose columns a row has."""
    names = row.keys()
    kinds: list[tuple[str, Make]] = []
    if {"sentence1", "sentence2", "score"} <= names:
        kinds.append(("sts", _scored))
    if {"sentence1", "sentence2"} <= names and names & {"label", "gold_label"}:
        kinds.append(("nli", _labelled))
    if {"anchor", "positive", "negative"} <= names:
        kinds.append(("margin", _margin) if "margin" in names else ("triplet", _triplet))
    elif {"anchor", "positive"} <= names:
        kinds.append(("ranking", _pair))
    if {"source", "target"} <= names:
        kinds.append(("parallel", _translated))
    if suffix == ".jsonl":
        for columns, make in RANKING.items():
            if set(columns) <= names:
                kinds.append(("ranking", make))
    if len(kinds) != 1:
        problem = "more than one task" if kinds else "no known task"
        allowed = f"{ALLOWED} | {ALLOWED_JSONL if suffix == '.jsonl' else f'in .jsonl {ALLOWED_JSONL}'}"
        raw.fail(place, f"{problem} in the columns {', '.join(row)}; need exactly one of: {allowed}")
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
    _refuse(raw, place, row, "anchor, positive, negative", "margin")
    return Example(_cells(raw, place, row, "anchor", "positive", "negative"), None)


def _pair(raw: Raw, place: Place, row: dict[str, Any]) -> Example:
    _refuse(raw, place, row, "anchor, positive", "negative", "margin")
    return Example(_cells(raw, place, row, "anchor", "positive"), (1.0,))


def _margin(raw: Raw, place: Place, row: dict[str, Any]) -> Example:
    texts = _cells(raw, place, row, "anchor", "positive", "negative")
    return Example(texts, _number(raw, place, "margin", field(raw, place, row, "margin"), -math.inf))


def _translated(raw: Raw, place: Place, row: dict[str, Any]) -> Example:
    return Example(_cells(raw, place, row, "source", "target"), None)


def _contrasted(raw: Raw, place: Place, row: dict[str, Any]) -> Example:
    """The positives, then the negatives."""
    _refuse(raw, place, row, "query, positive, negative", "documents", "scores")
    (query,) = _cells(raw, place, row, "query")
    positives = _positives(raw, place, row)
    negatives = _texts(raw, place, row, "negative", one=True)
    for text in negatives:
        if text in positives:
            raw.fail(place, f"negative {short(text)} is also a positive; need it in one of the two")
    relevance = (1.0,) * len(positives) + (0.0,) * len(negatives)
    passages, relevant = _ids(raw, place, row, "passages"), _ids(raw, place, row, "relevant")
    if passages and len(passages) != len(relevance):
        raw.fail(place, f"{len(passages)} passages for {len(relevance)} texts; need one each, or none")
    return Example((query, *positives, *negatives), relevance, passages=passages, relevant=relevant)


def _retrieved(raw: Raw, place: Place, row: dict[str, Any]) -> Example:
    """The documents in their order, then the positives that are not among them."""
    _refuse(raw, place, row, "query, positive, documents", "negative", "scores")
    (query,) = _cells(raw, place, row, "query")
    positives = _positives(raw, place, row)
    documents = _texts(raw, place, row, "documents")
    found = set(documents)
    missed = [text for text in positives if text not in found]
    relevance = [float(text in positives) for text in documents] + [1.0] * len(missed)
    return Example((query, *documents, *missed), tuple(relevance), len(documents))


def _graded(raw: Raw, place: Place, row: dict[str, Any]) -> Example:
    """The documents in the order of the file, which means nothing; their scores are their relevance."""
    _refuse(raw, place, row, "query, documents, scores", "positive", "negative")
    (query,) = _cells(raw, place, row, "query")
    documents = _texts(raw, place, row, "documents")
    scores = field(raw, place, row, "scores")
    if not isinstance(scores, list):
        raw.fail(place, f"scores {short(scores)} is not a list of numbers, one for each document")
    if len(scores) != len(documents):
        raw.fail(place, f"{len(scores)} scores {short(scores)} for {len(documents)} documents; need as many")
    relevance = [_number(raw, place, f"scores[{i}]", value, 0) for i, value in enumerate(scores)]
    if not any(relevance):
        raw.fail(place, f"scores {short(scores)}: no document is relevant; need at least one above 0")
    return Example((query, *documents), tuple(relevance))


RANKING: dict[tuple[str, str, str], Make] = {
    ("query", "positive", "negative"): _contrasted,
    ("query", "positive", "documents"): _retrieved,
    ("query", "documents", "scores"): _graded,
}


def _refuse(raw: Raw, place: Place, row: dict[str, Any], layout: str, *names: str) -> None:
    """Fail where a row has a column, one of ``names``, that would make it a row of another layout."""
    found = [name for name in names if name in row]
    if found:
        raw.fail(place, f"field {', '.join(found)} is of another layout than the file's: {layout}")


def _texts(raw: Raw, place: Place, row: dict[str, Any], name: str, one: bool = False) -> list[str]:
    """The non-empty list of texts of a field, which may be ``one`` text alone."""
    value = field(raw, place, row, name)
    if one and isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raw.fail(place, f"{name} {short(value)} is not {'a text or ' if one else ''}a list of texts")
    if not value:
        raw.fail(place, f"{name} [] is empty; need at least one text")
    return [sentence(raw, f"{place}: {name}[{i}]", text) for i, text in enumerate(value)]


def _ids(raw: Raw, place: Place, row: dict[str, Any], name: str) -> tuple[str, ...]:
    """The list of names in a field that may be missing."""
    value = row.get(name, [])
    if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
        raw.fail(place, f"{name} {short(value)} is not a list of names")
    return tuple(value)


def _positives(raw: Raw, place: Place, row: dict[str, Any]) -> list[str]:
    """The texts of ``positive``, each once, in their order."""
    return list(dict.fromkeys(_texts(raw, place, row, "positive", one=True)))


def _number(raw: Raw, place: Place, name: str, value: object, low: float) -> float:
    """A finite number from ``low`` on, in JSON or spelled as text."""
    allowed = "a finite number" + ("" if low == -math.inf else f" >= {low:g}")
    try:
        number = as_float(value)
    except (ValueError, OverflowError):  # not a number; an integer beyond every float
        number = math.nan
    if not (math.isfinite(number) and number >= low):
        raw.fail(place, f"{name} {short(value)} is not {allowed}")
    return number
