"""Wikipedia sections: made-up triplets in the publisher's layout, malformed rows, and a run on them."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from data_files import load
from train_process import TrainRunner

import data
from data.examples import Example
from data.sets_paper import PAPER_ENTRIES
from sbert.flag_checks import objectives_of, parse

HEADER = ("Sentence1", "Sentence2", "Sentence3", "ArticleId", "Section1", "Section2")
FILES = {"train": "train.csv", "dev": "validation.csv", "test": "test.csv"}
PLACES = ("river", "lake", "hill", "town", "wood", "field", "coast", "island")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))


def table(*rows: tuple[object, ...], header: tuple[str, ...] = HEADER) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue()


def triplet(place: str, number: int = 1) -> tuple[object, ...]:
    return (
        f"The {place} is old.",
        f"People lived at the {place} early.",
        "It rains a lot.",
        number,
        "History",
        "Climate",
    )


def write(folder: Path, split: str, text: str) -> Path:
    path = folder / "wikisec" / FILES[split]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf8", newline="")
    return path


@pytest.mark.parametrize("split", FILES)
def test_each_split_has_its_file(tmp_path: Path, split: str) -> None:
    write(
        tmp_path,
        split,
        table(triplet("lake"), ('He said "no", once.', "one\ntwo", " 강은 길다. ", 2, "", "")),
    )
    loaded = load(f"wikisec-{split}", tmp_path)
    assert loaded.examples == [
        Example(("The lake is old.", "People lived at the lake early.", "It rains a lot."), None),
        Example(('He said "no", once.', "one\ntwo", "강은 길다."), None),
    ]
    assert (loaded.task, loaded.key, loaded.language) == ("triplet", f"wikisec-{split}", "en")
    assert list(loaded.files) == [f"wikisec/{FILES[split]}"]


def test_columns_by_name_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    text = table((1, "neg", "anchor", "pos"), header=("id", "Sentence3", "Sentence1", "Sentence2"))
    write(tmp_path, "test", "\ufeff" + text.replace("\n", "\r\n") + "\r\n\r\n")
    assert load("wikisec", tmp_path).examples == [Example(("anchor", "pos", "neg"), None)]


@pytest.mark.parametrize("folder", ["", "wikipedia-sections-triplets/"])
def test_inside_the_publishers_zip(tmp_path: Path, folder: str) -> None:
    path = tmp_path / "wikisec/wikipedia-sections-triplets.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        for name in FILES.values():
            file.writestr(folder + name, table(triplet(name)))
    assert load("wikisec-dev", tmp_path).examples[0].texts[0] == "The validation.csv is old."
    assert load("wikisec", tmp_path).examples[0].texts[0] == "The test.csv is old."


MALFORMED = [
    (table(("a", "b", "", 1, "", "")), ":2: empty sentence"),
    (table(triplet("lake"), ("a", "b", "  ", 1, "", "")), ":3: empty sentence"),
    (table(triplet("lake")) + "a,b\n", ":3: 2 column(s), need 6: Sentence1, Sentence2, Sentence3"),
    (table(triplet("lake")) + "a,b,c,1,x,y,z\n", ":3: 7 column(s), need 6"),
    (table(("one\ntwo", "b", "c", 1, "", ""), ("a", "", "c", 2, "", "")), ":4: empty sentence"),
    (
        table(triplet("lake"), header=("Sentence1", "Sentence2", "s3", "a", "b", "c")),
        ":1: no column Sentence3 in",
    ),
    (table(triplet("lake")) + '"a"b,b,c,1,x,y\n', ":3: not CSV ("),
    (table(triplet("lake")) + '"never closed\n', ":3: not CSV (unexpected end of data)"),
]


@pytest.mark.parametrize(("text", "said"), MALFORMED, ids=[said for _, said in MALFORMED])
def test_malformed_rows_are_named_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, "test", text)
    with pytest.raises(data.DataError) as caught:
        load("wikisec", tmp_path)
    assert str(caught.value).startswith(f"{path}{said}") and "\n" not in str(caught.value)


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = write(tmp_path, "test", table(triplet("lake")))
    path.write_bytes(path.read_bytes() + b"caf\xe9,b,c,1,x,y\n")
    with pytest.raises(data.DataError, match=r"test.csv:3: not UTF-8 \(byte 0xe9\)"):
        load("wikisec", tmp_path)


def test_nothing_there_and_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(
        data.DataError, match=r"publisher keeps it at https://sbert.net/datasets/wikipedia-sections"
    ):
        load("wikisec", tmp_path)
    write(tmp_path, "test", table())
    with pytest.raises(data.DataError, match="wikisec-test: no examples"):
        load("wikisec", tmp_path)


def test_the_entry() -> None:
    entry = next(entry for entry in PAPER_ENTRIES if entry.name == "wikisec")
    assert entry.rows == {"test": 222957} and entry.splits == ("train", "dev", "test")


def test_train_py_takes_it() -> None:
    words = ["--train-data", "wikisec", "--dev-data", "wikisec", "--eval-data", "wikisec"]
    assert objectives_of(parse([*words, "--objective", "triplet"])[0]) == ["triplet"]
    assert objectives_of(parse(words)[0]) == ["triplet"]
    assert objectives_of(parse([*words[:2], "--arch", "cross"])[0]) == ["ranking"]


def test_a_run(run_train: TrainRunner, tiny_model_dir: Path) -> None:
    """The triplet objective on its train file, chosen on dev, the accuracies of test in metrics.json."""
    for split in FILES:
        write(run_train.folder / "data", split, table(*(triplet(place, i) for i, place in enumerate(PLACES))))
    words = (
        "--train-data",
        "wikisec",
        "--objective",
        "triplet",
        "--dev-data",
        "wikisec",
        "--eval-data",
        "wikisec",
    )
    more = ("--data-dir", "data", "--model", tiny_model_dir, "--batch-size", 4, "--precision", "fp32")
    select = ("--select-on", "wikisec-dev/accuracy_euclidean", "--output-dir", "run")
    result = run_train(*words, *more, *select)
    assert result.code == 0, result.stderr
    metrics = json.loads((run_train.folder / "run" / "metrics.json").read_text())
    assert 0 <= metrics["wikisec-test/accuracy_euclidean"] <= 1
    (stage,) = metrics["stages"]
    assert stage["selected_on"] == "wikisec-dev/accuracy_euclidean" and stage["last_update"] == 2
