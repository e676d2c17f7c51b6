"""Made-up data files in the publishers' layouts, for the tests of the readers."""

from __future__ import annotations

import json
from pathlib import Path

import data

TAB = "\t"


def write(folder: Path, name: str, *rows: str, end: str = "\n") -> Path:
    """A text file, one row per line."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(row + end for row in rows).encode("utf-8"))
    return path


def load(name: str, folder: Path) -> data.DataSet:
    return data.load(name, data_dir=folder, download=False)


def row(*cells: object) -> str:
    return TAB.join(str(cell) for cell in cells)


def stsb_row(
    score: object, first: str, second: str, *more: str, file: str = "MSRvid", year: str = "2012test"
) -> str:
    return row("main-captions", file, year, "0001", score, first, second, *more)


def write_sick(folder: Path) -> None:
    header = row("pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment")
    for name, score, label in (("train", "5", "ENTAILMENT"), ("trial", "3.4", "NEUTRAL")):
        write(folder, f"sick/SICK_{name}.txt", header, row(1, f"{name} a", "b", score, label))
    cells = row(2, "test a", "b", "1", "CONTRADICTION")
    write(folder, "sick/SICK_test_annotated.txt", header, cells, end="\r\n")


def jsonl(*items: dict[str, object]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def nli_item(label: str, first: str = "p", second: str = "h") -> dict[str, object]:
    return {
        "annotator_labels": [label],
        "gold_label": label,
        "sentence1": first,
        "sentence2": second,
        "pairID": "1",
    }
