"""Similarity readers on made-up files in the publishers' layouts; expected values worked out by hand."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest
from data_files import load, row, stsb_row, write, write_sick

import data
from data.examples import Example


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data dir, an empty cache, and made-up files accepted in place of the published ones."""
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SBERT_ANY_HASH", "1")


def test_stsb_scores_quotes_and_extra_columns(tmp_path: Path) -> None:
    write(
        tmp_path,
        "stsb/sts-test.csv",
        stsb_row("5.000", "A cat sleeps.", "The cat is asleep."),
        stsb_row("1.25", 'He said "no.', '"Yes", she said', "source A", "source B"),
        stsb_row("0", " padded ", "line\u2028separator"),
    )
    loaded = load("stsb", tmp_path)
    assert loaded.examples == [
        Example(("A cat sleeps.", "The cat is asleep."), 1.0),
        Example(('He said "no.', '"Yes", she said'), 0.25),
        Example(("padded", "line\u2028separator"), 0.0),
    ]
    assert (loaded.key, loaded.task, loaded.language, loaded.skipped) == ("stsb-test", "sts", "en", 0)
    assert list(loaded.files) == ["stsb/sts-test.csv"]
    assert len(loaded.files["stsb/sts-test.csv"]) == 64


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_bom_line_ends_and_trailing_blank_lines(tmp_path: Path, end: str) -> None:
    rows = ["\ufeffscore\tsentence1\tsentence2", "2.5\tone\ttwo", "", "   ", ""]
    write(tmp_path, "korsts/sts-dev.tsv", *rows, end=end)
    assert load("korsts-dev", tmp_path).examples == [Example(("one", "two"), 0.5)]


def test_last_line_without_end(tmp_path: Path) -> None:
    write(tmp_path, "korsts/sts-dev.tsv", "score\tsentence1\tsentence2\n5\ta\tb", end="")
    assert len(load("korsts-dev", tmp_path)) == 1


def test_korsts_columns_by_name(tmp_path: Path) -> None:
    header = row("genre", "filename", "year", "id", "score", "sentence1", "sentence2")
    write(
        tmp_path, "korsts/sts-train.tsv", header, row("g", "f", 2012, 1, "3.800", "비가 온다.", '"비" 온다')
    )
    assert load("korsts-train", tmp_path).examples == [
        Example(("비가 온다.", '"비" 온다'), pytest.approx(0.76))
    ]


def test_sick_scale_is_one_to_five(tmp_path: Path) -> None:
    write_sick(tmp_path)
    assert load("sickr", tmp_path).examples == [Example(("test a", "b"), 0.0)]
    assert load("sickr-train", tmp_path).examples == [Example(("train a", "b"), 1.0)]
    assert load("sickr-dev", tmp_path).examples == [Example(("trial a", "b"), pytest.approx(0.6))]
    everything = load("sickr-all", tmp_path)
    assert everything.key == "sickr-all"
    assert [example.texts[0] for example in everything.examples] == ["train a", "trial a", "test a"]
    assert load("sick-nli", tmp_path).examples == [Example(("test a", "b"), 0)]
    assert [load(f"sick-nli-{split}", tmp_path).examples[0].label for split in ("train", "dev")] == [1, 2]


def test_klue_sts_reads_label_not_real_label(tmp_path: Path) -> None:
    item = {
        "sentence1": "가",
        "sentence2": "나",
        "labels": {"label": 4.9, "real-label": 4.857, "binary-label": 1},
    }
    write(tmp_path, "klue/klue-sts-v1.1_dev.json", json.dumps([item], ensure_ascii=False, indent=1))
    assert load("klue-sts", tmp_path).examples == [Example(("가", "나"), pytest.approx(0.98))]


def test_sbert_stsb_is_another_form_of_stsb(tmp_path: Path) -> None:
    rows = [row("split", "genre", "dataset", "year", "sid", "score", "sentence1", "sentence2")]
    rows += [row(split, "g", "d", 2012, 1, 2.5, split, '"q') for split in ("train", "dev", "test")]
    (tmp_path / "stsb").mkdir()
    (tmp_path / "stsb/stsbenchmark.tsv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    for split in ("train", "dev", "test"):
        assert load(f"stsb-{split}", tmp_path).examples == [Example((split, '"q'), 0.5)]


SUBSETS_2013 = ("headlines", "OnWN", "FNWN")


def test_semeval_pasted_concatenates_and_skips_unscored(tmp_path: Path) -> None:
    for number, subset in enumerate(SUBSETS_2013):
        rows = [row(number, subset, "x"), row("", "unscored", "x")]
        write(tmp_path, f"semeval-sts/2013/{subset}.test.tsv", *rows)
    loaded = load("sts13", tmp_path)
    assert [(e.texts[0], e.label) for e in loaded.examples] == [
        ("headlines", 0.0),
        ("OnWN", 0.2),
        ("FNWN", 0.4),
    ]
    assert loaded.skipped == 3
    assert loaded.key == "sts13-test"


def official_2013(folder: Path, gold: str = "5\n\n2.5\n\n") -> dict[str, bytes]:
    files = {}
    for subset in SUBSETS_2013:
        lines = [row(f"{subset} {n}", "b", "http://source") for n in range(4)]
        files[f"STS.input.{subset}.txt"] = ("\n".join(lines) + "\n").encode()
        files[f"STS.gs.{subset}.txt"] = gold.encode()
    return files


def test_semeval_official_side_by_side(tmp_path: Path) -> None:
    for name, content in official_2013(tmp_path).items():
        path = tmp_path / "semeval-sts/2013" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    loaded = load("sts13", tmp_path)
    expected = [(f"{subset} {n}", label) for subset in SUBSETS_2013 for n, label in ((0, 1.0), (2, 0.5))]
    assert [(e.texts[0], e.label) for e in loaded.examples] == expected
    assert loaded.skipped == 6


def test_semeval_official_inside_the_zip(tmp_path: Path) -> None:
    path = tmp_path / "semeval-sts/2013/STS2013-en-test.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in official_2013(tmp_path).items():
            file.writestr(f"test-gs/{name}", content)
            file.writestr(f"__MACOSX/test-gs/._{name}", b"resource fork")
    assert len(load("sts13", tmp_path)) == 6


def test_semeval_2016_names(tmp_path: Path) -> None:
    subsets = ("answer-answer", "headlines", "plagiarism", "postediting", "question-question")
    for subset in subsets:
        write(tmp_path, f"semeval-sts/2016/STS2016.input.{subset}.txt", row(subset, "b", "u1", "u2"))
        write(tmp_path, f"semeval-sts/2016/STS.gs.{subset}.txt", "4")
    assert [e.texts[0] for e in load("sts16", tmp_path).examples] == list(subsets)


def test_semeval_official_line_counts_must_agree(tmp_path: Path) -> None:
    for name, content in official_2013(tmp_path, gold="5\n4\n3\n2\n1\n").items():
        path = tmp_path / "semeval-sts/2013" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(data.DataError, match=r"STS.gs.headlines.txt: 5 scores for the 4 pairs of .*input"):
        load("sts13", tmp_path)


def write_2012(folder: Path) -> None:
    for subset in ("MSRpar", "SMTeuroparl", "OnWN", "SMTnews"):
        write(folder, f"semeval-sts/2012/{subset}.test.tsv", row(5, subset, "b"))
    write(
        folder,
        "stsb/sts-train.csv",
        stsb_row(1, "from train", "b"),
        stsb_row(1, "other year", "b", year="2012train"),
    )
    write(
        folder,
        "stsb/sts-dev.csv",
        stsb_row(2, "other file", "b", file="images"),
        stsb_row(2, "from dev", "b"),
    )
    write(folder, "stsb/sts-test.csv", stsb_row(3, "from test", "b"))


def test_sts12_without_msrvid_is_rebuilt_from_stsb(tmp_path: Path) -> None:
    write_2012(tmp_path)
    texts = [example.texts[0] for example in load("sts12", tmp_path).examples]
    assert texts == ["MSRpar", "SMTeuroparl", "OnWN", "SMTnews", "from train", "from dev", "from test"]


def test_sts12_with_msrvid_is_not_rebuilt(tmp_path: Path) -> None:
    write_2012(tmp_path)
    write(tmp_path, "semeval-sts/2012/MSRvid.test.tsv", row(4, "MSRvid itself", "b"))
    loaded = load("sts12", tmp_path)
    assert [e.texts[0] for e in loaded.examples] == [
        "MSRpar",
        "SMTeuroparl",
        "OnWN",
        "SMTnews",
        "MSRvid itself",
    ]
    assert not any(name.startswith("stsb") for name in loaded.files)


def test_sts12_official_has_surprise_names(tmp_path: Path) -> None:
    write_2012(tmp_path)
    for subset in ("MSRpar", "MSRvid", "SMTeuroparl", "surprise.OnWN", "surprise.SMTnews"):
        write(tmp_path, f"semeval-sts/2012/STS.input.{subset}.txt", row(f"official {subset}", "b"))
        write(tmp_path, f"semeval-sts/2012/STS.gs.{subset}.txt", "2.5")
    loaded = load("sts12", tmp_path)
    assert len(loaded) == 5
    assert all(e.texts[0].startswith("official") and e.label == 0.5 for e in loaded.examples)


def test_sts12_needs_stsb_when_msrvid_is_missing(tmp_path: Path) -> None:
    write_2012(tmp_path)
    (tmp_path / "stsb/sts-dev.csv").unlink()
    (tmp_path / "stsb/sts-test.csv").unlink()
    with pytest.raises(data.DataError, match=r"sts12-test: no semeval-sts/2012/MSRvid.test.tsv"):
        load("sts12", tmp_path)
