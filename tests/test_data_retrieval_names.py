"""Names, splits, entries and overlaps of the sets for retrieval."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import data
from data.readers import RETRIEVAL_READERS
from data.retrieval import parse_retrieval_name
from data.sets_retrieval import ARTICLES, RETRIEVAL_SETS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("korquad", ("korquad", None)),
        ("korquad-dev", ("korquad", "dev")),
        ("klue-mrc-train", ("klue-mrc", "train")),
        ("samples-mrc-ko", ("samples-mrc-ko", None)),
        ("samples-mrc-ko-test", ("samples-mrc-ko", "test")),
    ],
)
def test_parse_name(name: str, expected: tuple[str, str | None]) -> None:
    assert parse_retrieval_name(name) == expected


def test_names_and_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    assert data.retrieval_names() == tuple(RETRIEVAL_SETS)
    assert not set(RETRIEVAL_SETS) & set(data.SETS)
    with pytest.raises(
        data.UnknownName, match=r"'korqad', did you mean korquad\?.*SQuAD layout, or of a folder"
    ):
        data.load_retrieval("korqad")
    with pytest.raises(data.UnknownName):
        data.load_retrieval("")
    with pytest.raises(data.DataError, match="klue-mrc has no split 'test'; it has: train, dev"):
        data.load_retrieval("klue-mrc-test")
    with pytest.raises(data.DataError, match="squad-dev names the split 'dev', but 'test' was asked for"):
        data.load_retrieval("squad-dev", "test")
    (tmp_path / "korquad").mkdir()
    monkeypatch.chdir(tmp_path)  # a folder of this name does not hide the set
    with pytest.raises(
        data.DataError, match=r"korquad-test: no korquad/KorQuAD_v1.0_dev.json .*downloading is off"
    ):
        data.load_retrieval("korquad", download=False)


def test_every_entry_is_complete() -> None:
    for name, entry in RETRIEVAL_SETS.items():
        assert (name, entry.task) == (entry.name, "retrieval") and entry.eval_split in entry.splits
        assert entry.description and entry.licence and entry.citation
        assert set(entry.rows) <= set(entry.splits) and set(entry.passages) == set(entry.rows)
        for overlap in entry.overlaps:
            assert overlap.other == "minilm" or parse_retrieval_name(overlap.other)
            assert not overlap.split or overlap.split in entry.splits
        for split in entry.splits:
            layouts = [layout for layout in entry.layouts if split in layout.splits]
            assert all(layout.reader in RETRIEVAL_READERS for layout in layouts)
            files = [layout.splits[split] for layout in layouts]
            assert any(all(f.embedded or f.urls or f.archive for f in group) for group in files)
            for file in (file for group in files for file in group):
                assert all(len(sha) == 64 for sha in (file.sha256 or "0" * 64, *file.other_sha256))
                urls = (*file.urls, *(file.archive.urls if file.archive else ()))
                assert all(url.startswith("https://") for url in urls)
    used = {
        f.path for e in RETRIEVAL_SETS.values() for la in e.layouts for fs in la.splits.values() for f in fs
    }
    assert set(ARTICLES) <= used


@pytest.mark.parametrize(
    ("trained", "evaluated", "says"),
    [
        ("minilm", "squad", "squad-test is not unseen: .*87,599 questions.* other articles"),
        ("minilm", "squad-train", "these among them"),
        ("minilm", "scifact", "S2ORC"),
        ("squad-test", "squad", "squad-test was trained on"),
        ("tydiqa-ko", "tydiqa-ko", "tydiqa-ko-dev is not unseen: 15 of the 276"),
        ("tydiqa-ko-dev", "tydiqa-ko-train", "15 of the 276"),  # stated once, found in both directions
        ("samples-mrc-en-test", "samples-mrc", "holds samples-mrc-en-test"),
        ("samples-mrc-test", "samples-mrc-ko", "holds samples-mrc-ko-test"),
    ],
)
def test_overlap(trained: str, evaluated: str, says: str) -> None:
    warning = data.retrieval_overlap(["stsb", trained, trained], evaluated)
    assert warning is not None and re.search(says, warning) and "\n" not in warning
    assert warning.count(";") == 0


@pytest.mark.parametrize(
    ("trained", "evaluated"),
    [
        ("korquad", "korquad"),
        ("minilm", "korquad"),
        ("samples-mrc-en", "samples-mrc"),
        ("stsb", "squad"),
        ("squad", "x.json"),
    ],
)
def test_no_overlap(trained: str, evaluated: str) -> None:
    assert data.retrieval_overlap([trained], evaluated) is None


def test_loading_is_torch_free() -> None:
    code = "import sys, data; data.load_retrieval('samples-mrc'); sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], cwd=Path(data.__file__).parents[1], check=True)
