"""What the commands read: texts from a set by name, or from a person's own file. Torch-free.

===================================  ==========================================================================
samples-sts-en, stsb-dev, nli-en     a set of sentence pairs: its distinct sentences
samples-mrc-en, squad, scifact       a retrieval set: the passages that it searches, labelled by their titles
trec, mr, subj                       a transfer task: its texts, labelled by their classes
my.jsonl                             a row of {"text", "id", "title", "label"}, the last three if they like; the title
                                     is put before the text
my.tsv, my.csv, my.jsonl             a file of named columns (data/readers/own.py): its distinct texts
my.txt, or any other file            a text a line
table.txt#2                          the second column of a tab-separated file
===================================  ==========================================================================

A file that is not there is looked for in --data-dir or SBERT_DATA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import data
from data.examples import DataError, DataSet
from data.loading import load
from data.locate import data_dirs, read_local
from data.readers.text import Raw, identifier, sentence, sentence_or_blank, short
from data.registry import format_of
from data.retrieval import is_own
from data.senteval import SENTEVAL_SETS, TASKS, load_senteval


@dataclass(frozen=True)
class Texts:
    """name: for tables. ids: what a text is called. titles, labels: one each, "" where there is none. files: sha256 of
    what was read. pairs: the examples, where they are scored sentence pairs."""

    name: str
    texts: list[str]
    ids: list[str]
    titles: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    pairs: DataSet | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, chosen: list[int]) -> Texts:
        """Those at these positions."""
        columns = {
            name: [getattr(self, name)[i] for i in chosen]
            for name in ("texts", "ids", "titles", "labels")
            if getattr(self, name)
        }
        return replace(self, **columns)  # type: ignore[arg-type]  # each is a list of texts


def read_texts(
    name: str, data_dir: str | None = None, *, rows: tuple[int, int] | None = None, limit: int = 0
) -> Texts:
    """name: as in the table above. rows: only those from the first to the second, counted from 1, both included.
    limit: only so many (0: all). Raises DataError with one line: an unknown name, an unreadable row, no text at all."""
    found = _read(name, data_dir)
    if rows is not None:
        if rows[1] > len(found):
            raise DataError(f"{name}: has {len(found):,} texts, rows {rows[0]}-{rows[1]} were asked for")
        found = found.rows(list(range(rows[0] - 1, rows[1])))
    if limit and limit < len(found):
        found = found.rows(list(range(limit)))
    if not found.texts:
        raise DataError(f"{name}: no texts")
    return found


def _read(name: str, data_dir: str | None) -> Texts:
    task, _, split = name.removeprefix("senteval-").partition("-")
    if f"senteval-{task}" in SENTEVAL_SETS:
        return _of_classes(load_senteval(task, split or None, data_dir))
    stem, sign, column = name.rpartition("#")
    if sign and not (column.isascii() and column.isdigit() and int(column) > 0):
        raise DataError(f"{name}: {column!r} after # is not the number of a column, from 1")
    path = _place(stem if sign else name, data_dir)
    if sign:
        return _of_lines(read_local(path), name, int(column))
    if path.is_file() and not is_own(name):
        raw = read_local(path)
        if format_of(name) == ".jsonl" and "text" in next((row for _, row in raw.objects()), {}):
            return _of_objects(raw, name)
        if format_of(name) in (None, ".txt"):
            return _of_lines(raw, name, None)
        return replace(_of_pairs(load(str(path))), files={name: raw.sha256})
    return _of_a_set(name, data_dir)


def _of_a_set(name: str, data_dir: str | None) -> Texts:
    """Of a registered set, of pairs or for retrieval; the error of an unknown name lists both kinds."""
    try:
        data.parse_name(name)
        return _of_pairs(load(name, data_dir=data_dir))
    except data.UnknownName:
        pass
    try:
        pool = data.load_retrieval(name, data_dir=data_dir)
    except data.UnknownName:
        if "/" in name or Path(name).suffix:
            raise DataError(f"{name}: cannot be read (No such file or directory)") from None
        sets = [*data.SETS, *data.retrieval_names(), *TASKS]
        raise data.UnknownName(name, sets, "a file of texts") from None
    titles = [passage.title for passage in pool.passages]
    ids = [passage.id for passage in pool.passages]
    return Texts(pool.key, pool.texts, ids, titles, titles if any(titles) else [], pool.files)


def _of_pairs(dataset: DataSet) -> Texts:
    texts = list(dict.fromkeys(text for example in dataset.examples for text in example.texts))
    scored = dataset if dataset.task == "sts" else None
    return Texts(dataset.key, texts, _numbers(texts), files=dataset.files, pairs=scored)


def _of_classes(dataset: DataSet) -> Texts:
    if any(len(example.texts) > 1 for example in dataset.examples):  # mrpc
        return _of_pairs(dataset)
    texts = [example.texts[0] for example in dataset.examples]
    labels = [str(example.label) for example in dataset.examples]
    return Texts(dataset.key, texts, _numbers(texts), labels=labels, files=dataset.files)


def _of_lines(raw: Raw, name: str, column: int | None) -> Texts:
    texts = []
    for line, whole in raw.lines():
        cells = whole.split("\t")
        if column is not None and column > len(cells):
            raw.fail(line, f"{len(cells)} column(s), the text was to be in column {column}")
        texts.append(sentence(raw, line, whole if column is None else cells[column - 1]))
    return Texts(Path(name).name, texts, _numbers(texts), files={name.partition("#")[0]: raw.sha256})


def _of_objects(raw: Raw, name: str) -> Texts:
    columns: dict[str, list[str]] = {"texts": [], "ids": [], "titles": [], "labels": []}
    readers: dict[str, Callable[[Raw, Any, object], str]] = {
        "text": sentence,
        "id": identifier,
        "title": sentence_or_blank,
        "label": _label,
    }
    seen: set[str] = set()
    for line, row in raw.objects():
        given = {"text": row.get("text"), "id": row.get("id", line), "title": row.get("title") or ""}
        given["label"] = row.get("label", "")
        for key, value in given.items():
            columns[f"{key}s"].append(readers[key](raw, f"{line}: {key}", value))
        columns["texts"][-1] = f"{columns['titles'][-1]} {columns['texts'][-1]}".strip()
        if columns["ids"][-1] in seen:
            raw.fail(
                line, f"id {short(columns['ids'][-1])} stands in an earlier line; every text needs its own"
            )
        seen.add(columns["ids"][-1])
    labels = columns.pop("labels")
    named = replace(Texts(Path(name).name, [], []), **columns)  # type: ignore[arg-type]
    return replace(named, labels=labels if any(labels) else [], files={name: raw.sha256})


def _label(raw: Raw, place: Any, value: object) -> str:
    """A word or a whole number, as text."""
    known = isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
    return str(value).strip() if known else raw.fail(place, f"{short(value)} is not a word or a number")


def _place(name: str, data_dir: str | None) -> Path:
    """Where a file lies: as the name says, else below the data folder; a name of no file is returned as it is."""
    path = Path(name).expanduser()
    below = [folder / name for folder in data_dirs(data_dir)] if not path.is_absolute() else []
    return next((place for place in (path, *below) if place.is_file()), path)


def _numbers(texts: list[str]) -> list[str]:
    return [str(i) for i in range(1, len(texts) + 1)]
