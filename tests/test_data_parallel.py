"""Parallel text: made-up files in the publishers' layouts, what training leaves out, malformed rows, the real files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from data_files import load, row, stsb_row, write

import data
from data.examples import Example
from data.readers.parallel import TATOEBA_TRAIN, letters

REAL = os.environ.get("SBERT_DATA")
NAMES = ("tatoeba", "news-ko-en", "jhe", "stsb-ko-en", "xnli-ko-en")
KORSTS_HEADER = row("genre", "filename", "year", "id", "score", "sentence1", "sentence2")
XNLI_HEADER = row("sentence1", "sentence2", "gold_label")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.setenv("SBERT_ANY_HASH", "1")
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every file of every set, a few rows each; kor.txt as long as its first and last part."""
    attribution = "CC-BY 2.0 (France)"
    lines = [row(f"Line {i}.", f"{i}번째 줄.", attribution) for i in range(TATOEBA_TRAIN + 1000)]
    lines[:3] = [
        row("Go.", "가.", attribution),
        row("Hi!", "안녕.", attribution),
        row("Hi!", "안녕.", attribution),
    ]
    write(tmp_path, "parallel-ko-en/kor.txt", *lines)
    for name in ("korean-english-park.dev", "korean-english-park.test", "jhe-koen-dev", "jhe-koen-eval"):
        write(tmp_path, f"parallel-ko-en/{name}.en", f"First of {name}.", f"Second of {name}.")
        write(tmp_path, f"parallel-ko-en/{name}.ko", f"{name}의 첫째.", f"{name}의 둘째.")
    for split in ("train", "dev", "test"):
        write(tmp_path, f"stsb/sts-{split}.csv", stsb_row("2.5", f"{split} one", f"{split} two", "source"))
        write(
            tmp_path,
            f"korsts/sts-{split}.tsv",
            KORSTS_HEADER,
            stsb_row("2.5", f"{split} 하나", f"{split} 둘"),
        )
    write(tmp_path, "xnli-en/dev-en.tsv", row("dev p", "dev h", "neutral"))
    write(tmp_path, "xnli-en/test-en.tsv", row("test p", "test h"))
    for split in ("dev", "test"):
        write(
            tmp_path,
            f"kornli/xnli.{split}.ko.tsv",
            XNLI_HEADER,
            row(f"{split} 전제", f"{split} 가설", "neutral"),
        )
    klue = [{"sentence1": "케이 하나", "sentence2": "케이 둘", "labels": {"label": 1.0}}]
    write(tmp_path, "klue/klue-sts-v1.1_dev.json", json.dumps(klue))
    return tmp_path


@pytest.mark.filterwarnings("ignore")
def test_every_set_reads_its_own_files(folder: Path) -> None:
    pairs = {
        name: [e.texts for e in load(name, folder).examples]
        for name in ("news-ko-en", "jhe-train", "stsb-ko-en-train", "stsb-ko-en-dev", "xnli-ko-en-train")
    }
    assert pairs == {
        "news-ko-en": [
            ("First of korean-english-park.test.", "korean-english-park.test의 첫째."),
            ("Second of korean-english-park.test.", "korean-english-park.test의 둘째."),
        ],
        "jhe-train": [
            ("First of jhe-koen-dev.", "jhe-koen-dev의 첫째."),
            ("Second of jhe-koen-dev.", "jhe-koen-dev의 둘째."),
        ],
        "stsb-ko-en-train": [("train one", "train 하나"), ("train two", "train 둘")],
        "stsb-ko-en-dev": [("dev one", "dev 하나"), ("dev two", "dev 둘")],
        "xnli-ko-en-train": [("dev p", "dev 전제"), ("dev h", "dev 가설")],
    }


def test_tatoeba_is_cut_by_lines_and_repeats_count_once(folder: Path) -> None:
    train, test = load("tatoeba-train", folder), load("tatoeba", folder)
    assert [e.texts for e in train.examples[:3]] == [
        ("Go.", "가."),
        ("Hi!", "안녕."),
        ("Line 3.", "3번째 줄."),
    ]
    assert train.examples[-1] == Example(("Line 4748.", "4748번째 줄."), None)
    assert test.examples[0] == Example(("Line 4749.", "4749번째 줄."), None)
    assert (len(train), train.skipped, len(test)) == (4748, 1, 1000)
    assert (test.task, test.language, test.key) == ("parallel", "en+ko", "tatoeba-test")


REPORTED = {
    "tatoeba": ("parallel-ko-en/kor.txt", None, "line 4749", "x"),
    "news": ("parallel-ko-en/korean-english-park.test.ko", None, "x", "korean-english-park.test의 둘째"),
    "jhe": ("parallel-ko-en/jhe-koen-eval.en", None, "FIRST of jhe-koen-eval", "x"),
    "korsts dev": ("korsts/sts-dev.tsv", None, "x", "dev, 둘!"),
    "korsts test": ("korsts/sts-test.tsv", None, "x", "test 하나"),
    "stsb test": ("stsb/sts-test.csv", None, "Test  two", "x"),
    "kornli test": ("kornli/xnli.test.ko.tsv", None, "x", "test 전제"),
    "xnli test": ("xnli-en/test-en.tsv", None, "test: h", "x"),
    "klue-sts": ("klue/klue-sts-v1.1_dev.json", None, "x", "케이 둘."),
}


@pytest.mark.parametrize("reported", REPORTED)
def test_a_reported_text_is_left_out_of_training(folder: Path, reported: str) -> None:
    """Of either language, however it is written; the other pair stays."""
    _, _, english, korean = REPORTED[reported]
    write(folder, "parallel-ko-en/jhe-koen-dev.en", english, "Kept.")
    write(folder, "parallel-ko-en/jhe-koen-dev.ko", korean, "남은 것.")
    train = load("jhe-train", folder)
    assert [e.texts for e in train.examples] == [("Kept.", "남은 것.")] and train.skipped == 1


def test_held_out_files_are_not_trained_on(folder: Path) -> None:
    """They are read, and their hashes kept, but the overlap of a run is judged by what is trained on."""
    assert "korsts/sts-test.tsv" in load("jhe-train", folder).files
    for name in ("korsts", "klue-sts", "tatoeba", "jhe", "stsb-ko-en", "xnli-ko-en", "kornli"):
        assert data.overlap_warning(["jhe-train", "tatoeba-train"], name) is None
    assert "korsts/sts-test.tsv" in (data.overlap_warning(["stsb-ko-en-test"], "korsts") or "")
    assert "without scores" in (data.overlap_warning(["stsb-ko-en"], "sts12") or "")


def test_xnli_out_of_the_publishers_zip(folder: Path) -> None:
    """All languages in one file with a header; the English rows, in their order."""
    for split in ("dev", "test"):
        (folder / f"xnli-en/{split}-en.tsv").unlink()
        header = row("language", "gold_label", "sentence1", "sentence2")
        foreign, english = row("de", "neutral", "x", "y"), row("en", "neutral", f"{split} p", f"{split} h")
        write(folder, f"xnli-en/xnli.{split}.tsv", header, foreign, english)
    for name in ("xnli-ko-en-train", "xnli-ko-en"):
        split = "dev" if name.endswith("train") else "test"
        texts = [e.texts for e in load(name, folder).examples]
        assert texts == [(f"{split} p", f"{split} 전제"), (f"{split} h", f"{split} 가설")]


def test_letters() -> None:
    assert letters(" He's 3, “OK”?\u3000") == "hes3ok" and letters("가 나.") == "가나"


MALFORMED = {
    "one side shorter": (
        "jhe",
        "parallel-ko-en/jhe-koen-eval.ko",
        ["하나."],
        "jhe-koen-eval.ko: 1 rows for the 2 of ",
    ),
    "an empty line": (
        "jhe",
        "parallel-ko-en/jhe-koen-eval.ko",
        ["", "둘."],
        "jhe-koen-eval.ko:1: empty sentence",
    ),
    "one column": (
        "tatoeba",
        "parallel-ko-en/kor.txt",
        ["Go."],
        "kor.txt:1: 1 column(s), need 2: English, Korean",
    ),
    "another pair": (
        "stsb-ko-en",
        "korsts/sts-test.tsv",
        [KORSTS_HEADER, stsb_row("2.6", "하나", "둘")],
        "sts-test.tsv:2: ['main-captions', 'MSRvid', '2012test', '0001', '2.6'] is not what ",
    ),
    "another label": (
        "xnli-ko-en-train",
        "kornli/xnli.dev.ko.tsv",
        [XNLI_HEADER, row("전제", "가설", "entailment")],
        "xnli.dev.ko.tsv:2: ['entailment'] is not what ",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_named(folder: Path, case: str) -> None:
    name, path, rows, said = MALFORMED[case]
    write(folder, path, *rows)
    with pytest.raises(data.DataError) as caught:
        load(name, folder)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.tsv", row("source", "target"), row("Go.", "가."))
    loaded = data.load(str(path))
    assert (loaded.task, loaded.examples) == ("parallel", [Example(("Go.", "가."), None)])
    path = write(tmp_path, "both.tsv", row("source", "target", "anchor", "positive"), row("a", "b", "c", "d"))
    with pytest.raises(data.DataError, match="more than one task"):
        data.load(str(path))


@pytest.mark.oracle
@pytest.mark.skipif(not REAL, reason="SBERT_DATA is not set: no real data to compare")
@pytest.mark.parametrize("name", NAMES)
def test_no_training_text_is_reported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole texts of every reported set, read by the sets' own readers, against every text trained on."""
    monkeypatch.delenv("SBERT_ANY_HASH")
    reported = [
        *NAMES,
        "stsb-ko-en-dev",
        "korsts-dev",
        "korsts",
        "klue-sts",
        "kornli",
        "xnli-en",
        "stsb-dev",
        "stsb",
    ]
    seen = {
        letters(text)
        for other in reported
        for example in data.load(other, data_dir=REAL, download=False).examples
        for text in example.texts
    }
    trained = data.load(name, "train", data_dir=REAL, download=False)
    assert not {letters(text) for example in trained.examples for text in example.texts} & seen
    for split, rows in data.SETS[name].rows.items():
        assert len(data.load(name, split, data_dir=REAL, download=False)) == rows
