"""Inference readers on made-up files in the publishers' layouts, and triplets; values by hand."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest
from data_files import jsonl, load, nli_item, row, write

import data
from data.examples import Example


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data dir, an empty cache, and made-up files accepted in place of the published ones."""
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SBERT_ANY_HASH", "1")


def test_label_ids_and_dropped_rows(tmp_path: Path) -> None:
    words = ("contradiction", "entailment", "neutral", "-")
    write(tmp_path, "snli/snli_1.0_test.jsonl", jsonl(*map(nli_item, words)), end="")
    loaded = load("snli", tmp_path)
    assert [example.label for example in loaded.examples] == [0, 1, 2]
    assert loaded.skipped == 1


def test_snli_and_multinli_inside_the_official_zip(tmp_path: Path) -> None:
    for folder, members in (
        ("snli", {"snli_1.0_train": "snli"}),
        ("multinli", {"multinli_1.0_dev_matched": "m", "multinli_1.0_dev_mismatched": "mm"}),
    ):
        path = tmp_path / folder / f"{folder}_1.0.zip"
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, premise in members.items():
                file.writestr(f"{folder}_1.0/{name}.jsonl", jsonl(nli_item("neutral", premise)))
                file.writestr(f"__MACOSX/{folder}_1.0/._{name}.jsonl", b"x")
    assert [e.texts[0] for e in load("snli-train", tmp_path).examples] == ["snli"]
    loaded = load("multinli", tmp_path)  # dev = matched, then mismatched
    assert [e.texts[0] for e in loaded.examples] == ["m", "mm"]
    assert list(loaded.files) == [
        "multinli/multinli_1.0_dev_matched.jsonl",
        "multinli/multinli_1.0_dev_mismatched.jsonl",
    ]


@pytest.mark.parametrize("place", ["snli", "snli/snli_1.0", "snli_1.0"])
def test_snli_unpacked_anywhere(tmp_path: Path, place: str) -> None:
    write(tmp_path, f"{place}/snli_1.0_dev.jsonl", jsonl(nli_item("entailment")), end="")
    assert len(load("snli-dev", tmp_path)) == 1


def test_snli_row_without_sentence_is_skipped(tmp_path: Path) -> None:
    write(
        tmp_path, "snli/snli_1.0_dev.jsonl", jsonl(nli_item("neutral"), nli_item("neutral", "p", " ")), end=""
    )
    loaded = load("snli-dev", tmp_path)
    assert (len(loaded), loaded.skipped) == (1, 1)


def test_nli_en_gzipped(tmp_path: Path) -> None:
    (tmp_path / "nli-en").mkdir()
    packed = gzip.compress(jsonl(nli_item("entailment")).encode())
    (tmp_path / "nli-en/train.jsonl.gz").write_bytes(packed)
    assert load("nli-en-train", tmp_path).examples == [Example(("p", "h"), 1)]


def test_allnli_splits_and_quotes(tmp_path: Path) -> None:
    rows = [row("split", "dataset", "filename", "sentence1", "sentence2", "label")]
    rows += [
        row(split, "SNLI", "f", f'"{split}', "h", "neutral") for split in ("train", "train", "dev", "test")
    ]
    (tmp_path / "allnli").mkdir()
    (tmp_path / "allnli/AllNLI.tsv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    assert [len(load(f"allnli-{split}", tmp_path)) for split in ("train", "dev", "test")] == [2, 1, 1]
    assert load("allnli-dev", tmp_path).examples == [Example(('"dev', "h"), 2)]


def test_kornli_train_joins_files_and_skips_rows_with_a_stray_tab(tmp_path: Path) -> None:
    header = row("sentence1", "sentence2", "gold_label")
    write(
        tmp_path,
        "kornli/multinli.train.ko.tsv",
        header,
        row("가", "나", "neutral"),
        row("가", "나", "다", "neutral"),
    )
    write(
        tmp_path,
        "kornli/snli_1.0_train.ko.tsv",
        header,
        row("라", "마", "entailment"),
        row("", "바", "neutral"),
    )
    loaded = load("kornli-train", tmp_path)
    assert loaded.examples == [Example(("가", "나"), 2), Example(("라", "마"), 1)]
    assert loaded.skipped == 2


def test_klue_nli(tmp_path: Path) -> None:
    item = {"premise": "전제", "hypothesis": "가설", "gold_label": "contradiction"}
    write(tmp_path, "klue/klue-nli-v1.1_dev.json", json.dumps([item]))
    assert load("klue-nli", tmp_path).examples == [Example(("전제", "가설"), 0)]


def test_xnli_test_takes_its_labels_from_kornli(tmp_path: Path) -> None:
    write(tmp_path, "xnli-en/dev-en.tsv", row("p", "h", "neutral"))
    write(tmp_path, "xnli-en/test-en.tsv", row("p1", "h1"), row("p2", "h2"))
    korean = [
        row("sentence1", "sentence2", "gold_label"),
        row("가", "나", "entailment"),
        row("다", "라", "neutral"),
    ]
    write(tmp_path, "kornli/xnli.test.ko.tsv", *korean)
    assert load("xnli-en-dev", tmp_path).examples == [Example(("p", "h"), 2)]
    assert load("xnli-en", tmp_path).examples == [Example(("p1", "h1"), 1), Example(("p2", "h2"), 2)]
    write(tmp_path, "kornli/xnli.test.ko.tsv", *korean[:2])
    with pytest.raises(data.DataError, match=r"xnli.test.ko.tsv: 1 labels for the 2 pairs of .*test-en.tsv"):
        load("xnli-en", tmp_path)


def test_xnli_official_zip_keeps_english(tmp_path: Path) -> None:
    path = tmp_path / "xnli-en/XNLI-1.0.zip"
    path.parent.mkdir()
    header = row("language", "gold_label", "sentence1_binary_parse", "sentence1", "sentence2", "pairID")
    rows = [row("de", "neutral", "", "eins", "zwei", 1), row("en", "contradiction", "", "one", "two", 1)]
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("XNLI-1.0/xnli.test.tsv", "\n".join([header, *rows]))
    assert load("xnli-en", tmp_path).examples == [Example(("one", "two"), 0)]


def test_triplets_by_hand() -> None:
    pairs = [("p", "e1", 1), ("p", "c1", 0), ("q", "e", 1), ("p", "n", 2), ("p", "c2", 0), ("p", "e2", 1)]
    examples = [Example((premise, hypothesis), label) for premise, hypothesis, label in pairs]
    made = data.triplets(data.DataSet("x", "train", "nli", "en", examples, {"f": "0"}))
    expected = [("p", "e1", "c1"), ("p", "e1", "c2"), ("p", "e2", "c1"), ("p", "e2", "c2")]
    assert made.examples == [Example(texts, None) for texts in expected]
    assert (made.task, made.key, made.files) == ("triplet", "x-train", {"f": "0"})


def test_triplets_need_nli_with_both_sides() -> None:
    neutral = data.DataSet("x", "dev", "nli", "en", [Example(("p", "h"), 2)], {})
    with pytest.raises(data.DataError, match="x-dev: no premise has both"):
        data.triplets(neutral)
    with pytest.raises(data.DataError, match="this one is sts"):
        data.triplets(data.DataSet("x", "dev", "sts", "en", [], {}))
