"""Entries, names, splits and overlaps."""

from __future__ import annotations

import re

import pytest

import data
from data.readers import READERS
from data.registry import ALIASES, SETS


def test_every_entry_is_complete() -> None:
    for name, entry in SETS.items():
        assert name == entry.name
        assert entry.task in ("sts", "nli", "triplet", "parallel")
        assert entry.language in ("en", "ko", "en+ko")
        assert entry.eval_split in entry.splits
        assert set(entry.rows) <= set(entry.splits)
        assert "\n" not in entry.description and entry.description and entry.licence and entry.citation
        for layout in entry.layouts:
            assert layout.reader in READERS
            for file in (file for files in layout.splits.values() for file in files):
                assert file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256)
                assert not file.path.startswith("/") and ".." not in file.path


def test_every_address_is_https_or_pinned() -> None:
    for entry in SETS.values():
        for layout in entry.layouts:
            for file in (file for files in layout.splits.values() for file in files):
                for url in (*file.urls, *(file.archive.urls if file.archive else ())):
                    assert url.startswith("https://") or (url.startswith("http://") and file.sha256), url


def test_every_set_can_be_had_somehow() -> None:
    """Each split of each set is embedded, or has an address for every file, or says how to put it together."""
    for entry in SETS.values():
        for split in entry.splits:
            layouts = [layout.splits[split] for layout in entry.layouts if split in layout.splits]
            whole = [all(f.embedded or f.urls or f.archive for f in files) for files in layouts]
            assert any(whole) or entry.sources, f"{entry.name}-{split}"


def test_overlaps_name_known_sets() -> None:
    for entry in SETS.values():
        for overlap in entry.overlaps:
            assert overlap.other == "minilm" or data.parse_name(overlap.other)
            assert not overlap.split or overlap.split in entry.splits


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stsb", ("stsb", None)),
        ("stsb-dev", ("stsb", "dev")),
        ("sickr-all", ("sickr-all", None)),
        ("sick-nli-train", ("sick-nli", "train")),
        ("samples", ("samples-sts", None)),
        ("samples-train", ("samples-sts", "train")),
        ("samples-nli-ko-dev", ("samples-nli-ko", "dev")),
        ("some/folder/mine.tsv", ("some/folder/mine.tsv", "all")),
        ("mine-dev.jsonl.gz", ("mine-dev.jsonl.gz", "all")),
    ],
)
def test_parse_name(name: str, expected: tuple[str, str | None]) -> None:
    assert data.parse_name(name) == expected


def test_unknown_name_suggests_and_lists() -> None:
    with pytest.raises(data.UnknownName) as caught:
        data.parse_name("stbs")
    assert isinstance(caught.value, data.DataError)
    assert caught.value.suggestion == "stsb"
    assert set(caught.value.allowed) == {*SETS, *ALIASES}
    assert "unknown data set 'stbs', did you mean stsb?" in str(caught.value)
    with pytest.raises(data.UnknownName):
        data.parse_name("")
    with pytest.raises(data.UnknownName):
        data.parse_name("mine.doc")


def test_missing_split_names_those_that_exist() -> None:
    with pytest.raises(data.DataError, match=r"klue-sts has no split 'train'; it has: dev"):
        data.split_for("klue-sts", "train")
    with pytest.raises(data.DataError, match=r"sts12 has no split 'dev'; it has: test"):
        data.parse_name("sts12-dev")
    with pytest.raises(data.DataError, match=r"klue-sts has no split 'test'"):
        data.load("klue-sts", "test")


def test_split_for() -> None:
    assert data.split_for("stsb") == "test"
    assert data.split_for("klue-nli") == "dev"
    assert data.split_for("stsb", "train") == "train"
    assert data.split_for("stsb-dev", "train") == "dev"  # the name is more exact than the wish
    assert data.split_for("mine.tsv", "train") == "all"


def test_names_by_task() -> None:
    assert set(data.names()) == set(SETS)
    assert "stsb" in data.names("sts") and "stsb" not in data.names("nli")
    assert sorted(
        data.names("sts") + data.names("nli") + data.names("triplet") + data.names("parallel")
    ) == sorted(SETS)


def test_two_different_splits_are_refused() -> None:
    with pytest.raises(data.DataError, match="stsb-dev names the split 'dev', but 'test' was asked for"):
        data.load("stsb-dev", "test")


def test_stsb_train_overlaps_the_semeval_years() -> None:
    for year, shared in ((12, "1,002"), (13, "597"), (14, "1,861"), (15, "1,102"), (16, "197")):
        warning = data.overlap_warning(["stsb"], f"sts{year}")
        assert warning is not None
        assert warning.startswith(f"sts{year}-test is not unseen: {shared} of the ")
        assert data.overlap_warning(["stsb-train"], f"sts{year}-test") == warning


@pytest.mark.parametrize(
    ("trained", "evaluated"),
    [
        (["stsb"], "stsb"),
        (["stsb"], "sickr"),
        (["nli-en"], "stsb"),
        (["samples"], "samples-sts-ko"),
        (["samples-nli"], "samples-nli-dev"),
        (["mine.tsv"], "stsb"),
        (["stsb"], "mine.tsv"),
        (["snli"], "snli-dev"),
        (["allnli"], "snli-test"),
        (["snli"], "allnli-dev"),
        (["snli"], "nli-en-dev"),
        (["nli-en-dev"], "snli-test"),
        (["korsts"], "klue-sts"),
        (["minilm"], "stsb"),
        ([], "stsb"),
    ],
)
def test_no_overlap(trained: list[str], evaluated: str) -> None:
    assert data.overlap_warning(trained, evaluated) is None


@pytest.mark.parametrize(
    ("trained", "evaluated", "says"),
    [
        ("stsb-test", "stsb", "stsb-test was trained on"),
        ("sts12", "stsb", "256 of the 3,108 pairs of sts12"),  # stated once, found in both directions
        ("sickr", "sickr-all", "4,500 of the 9,927 pairs"),
        ("sick-nli-test", "sickr", "reads the same file, sick/SICK_test_annotated.txt"),
        ("samples-sts-en-test", "samples", "reads the same file, samples/sts/en-test.tsv"),
        ("multinli", "nli-en-dev", "premises"),
        ("kornli", "xnli-en", "premises"),
        ("snli-test", "nli-en-test", "holds the pairs of SNLI test"),
        ("allnli-dev", "snli-dev", "SNLI"),
        ("minilm", "allnli", "277,230"),
        ("minilm", "nli-en-dev", "277,230"),
    ],
)
def test_overlap(trained: str, evaluated: str, says: str) -> None:
    warning = data.overlap_warning(["korsts", trained, trained], evaluated)
    assert warning is not None and says in warning
    assert "\n" not in warning
    assert warning.count(says) == 1
