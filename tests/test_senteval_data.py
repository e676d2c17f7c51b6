"""The transfer tasks' files: their layouts, encodings and malformed rows, and what the registry says of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from data_files import row, write

import data
from data.examples import Example
from data.readers import READERS
from data.registry import SETS
from data.senteval import SENTEVAL_SETS, TASKS, load_parts, load_senteval

REAL = os.environ.get("SBERT_DATA")
HEADER = row("\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String")


@pytest.fixture(autouse=True)
def offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and made-up files accepted in place of the published ones."""
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    if request.node.get_closest_marker("oracle") is None:
        monkeypatch.setenv("SBERT_ANY_HASH", "1")


def load(task: str, split: str, folder: Path) -> data.DataSet:
    return load_senteval(task, split, data_dir=folder, download=False)


def test_label_then_sentence(tmp_path: Path) -> None:
    write(tmp_path, "senteval/stsa.binary.dev", "1 a café , good .", '0 " bad', end="\r\n")
    dev = load("sst2", "dev", tmp_path)
    assert dev.examples == [Example(("a café , good .",), 1), Example(('" bad',), 0)]
    assert (dev.name, dev.task, dev.key, dev.language) == (
        "senteval-sst2",
        "classification",
        "senteval-sst2-dev",
        "en",
    )
    assert list(dev.files) == ["senteval/stsa.binary.dev"]


@pytest.mark.parametrize(
    ("task", "split", "name"),
    [
        ("mr", "all", "rt-polarity.all"),
        ("subj", "all", "subj.all"),
        ("trec", "train", "TREC.train.all"),
    ],
)
def test_latin1(tmp_path: Path, task: str, split: str, name: str) -> None:
    """Byte 0xe9 is é; 0x85, a line end to Python's splitlines, stays inside its sentence."""
    write(tmp_path, f"senteval/{name}").write_bytes(b"0 clich\xe9s \n1 one\x85two\n")
    assert [e.texts[0] for e in load(task, split, tmp_path).examples] == ["clichés", "one\x85two"]


def test_six_classes_of_trec(tmp_path: Path) -> None:
    write(tmp_path, "senteval/TREC.test.all", *(f"{i} Which {i} ?" for i in range(6)))
    assert [e.label for e in load("trec", "test", tmp_path).examples] == list(range(6))


@pytest.mark.parametrize(("task", "name"), [("cr", "custrev.all"), ("mpqa", "mpqa.all")])
def test_texts_of_nothing_are_kept_where_the_publisher_has_them(tmp_path: Path, task: str, name: str) -> None:
    write(tmp_path, f"senteval/{name}", "0 bad", "1 ", "0  is shrinking")
    texts = [e.texts for e in load(task, "all", tmp_path).examples]
    assert texts == [("bad",), ("",), ("is shrinking",)]


def test_mrpc(tmp_path: Path) -> None:
    pairs = (row("1", "10", "11", ' "One , " he said', "Two"), row("0", "12", "13", "Three", "Four"))
    write(tmp_path, "senteval/mrpc/msr_paraphrase_test.txt", HEADER, *pairs, end="\r\n")
    assert load("mrpc", "test", tmp_path).examples == [
        Example(('"One , " he said', "Two"), 1),
        Example(("Three", "Four"), 0),
    ]
    write(tmp_path, "senteval/mrpc-tokenized/msr_paraphrase_train.txt", HEADER, *pairs)
    assert len(load("mrpc", "train", tmp_path)) == 2  # the copy that SentEval keeps


@pytest.mark.parametrize(
    ("task", "split", "name", "bad", "message"),
    [
        ("mr", "all", "rt-polarity.all", "2 so so", r"rt-polarity.all:2: label '2' is not one of 0, 1$"),
        ("mr", "all", "rt-polarity.all", "good film", r"rt-polarity.all:2: label 'good' is not one of 0, 1$"),
        ("mr", "all", "rt-polarity.all", "1\tgood", r"rt-polarity.all:2: label '1\\tgood' is not one of"),
        ("mr", "all", "rt-polarity.all", "\n1 good", r"rt-polarity.all:2: label '' is not one of"),
        ("mr", "all", "rt-polarity.all", "1 ", r"rt-polarity.all:2: empty sentence"),
        ("cr", "all", "custrev.all", "1", r"custrev.all:2: '1': no blank and sentence after the label"),
        ("cr", "all", "custrev.all", "-1 x", r"custrev.all:2: label '-1' is not one of 0, 1"),
        (
            "trec",
            "test",
            "TREC.test.all",
            "6 Who ?",
            r"TREC.test.all:2: label '6' is not one of 0, 1, 2, 3, 4, 5",
        ),
        ("sst2", "test", "stsa.binary.test", "1 \ud800", r"stsa.binary.test:2: not UTF-8"),
    ],
)
def test_malformed_line(tmp_path: Path, task: str, split: str, name: str, bad: str, message: str) -> None:
    path = write(tmp_path, f"senteval/{name}")
    path.write_bytes(f"0 fine\n{bad}\n".encode("utf-8", "surrogatepass"))
    with pytest.raises(data.DataError, match=message) as caught:
        load(task, split, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("2", "1", "2", "a", "b"), r"train.txt:2: label '2' is not one of 0, 1"),
        (row("1", "1", "2", "a"), r"train.txt:2: 4 column\(s\), need 5"),
        (row("1", "1", "2", "a", " "), r"train.txt:2: empty sentence"),
    ],
)
def test_malformed_pair(tmp_path: Path, bad: str, message: str) -> None:
    write(tmp_path, "senteval/mrpc/msr_paraphrase_train.txt", HEADER, bad)
    with pytest.raises(data.DataError, match=message):
        load("mrpc", "train", tmp_path)


def test_another_copy_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SBERT_ANY_HASH")
    write(tmp_path, "senteval/custrev.all", "1 good")
    with pytest.raises(data.DataError, match=r"custrev.all: sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}"):
        load("cr", "all", tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        data.DataError, match=r"senteval-mr-all: no senteval/rt-polarity.all in .*github.*rt-polar"
    ):
        load("mr", "all", tmp_path)
    with pytest.raises(
        data.DataError, match="unknown transfer task 'sst': allowed are mr, cr, subj, mpqa, sst2"
    ):
        load_senteval("sst")
    with pytest.raises(data.DataError, match="senteval-trec has no split 'dev'; it has: train, test"):
        load_senteval("trec", "dev")


def test_entries() -> None:
    assert TASKS == ("mr", "cr", "subj", "mpqa", "sst2", "trec", "mrpc")  # the columns of the paper's Table 5
    assert not set(SENTEVAL_SETS) & set(SETS)
    for name, entry in SENTEVAL_SETS.items():
        assert (entry.name, entry.task) == (name, "classification")
        assert entry.eval_split in entry.splits and set(entry.rows) == set(entry.splits)
        for split in entry.splits:
            files = [file for layout in entry.layouts for file in layout.splits[split]]
            assert any(file.urls for file in files), f"{name}-{split} cannot be had"
            for file in files:
                assert file.sha256 and re.fullmatch("[0-9a-f]{64}", file.sha256)
                assert all(url.startswith("https://") for url in file.urls)
        assert all(layout.reader in READERS for layout in entry.layouts)


@pytest.mark.oracle
@pytest.mark.skipif(not REAL, reason="SBERT_DATA is not set: no real data to count")
def test_published_row_counts() -> None:
    counts = {"mr": [10662], "cr": [3775], "subj": [10000], "mpqa": [10606]}
    counts |= {"sst2": [6920, 872, 1821], "trec": [5452, 500], "mrpc": [4076, 1725]}
    for task in TASKS:
        parts = load_parts(task, data_dir=REAL, download=False)
        assert [len(part) for part in parts.values()] == counts[task]
        classes = {e.label for part in parts.values() for e in part.examples}
        assert classes == set(range(6 if task == "trec" else 2))
