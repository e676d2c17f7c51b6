"""Sets of BEIR layout as folder, gzip and zip; downloads; malformed files of both layouts."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_server import Server, serving, zipped

import data
from data.entries import Archive, File, Layout
from data.files import sha256_of
from data.sets_retrieval import RETRIEVAL_SETS

HEADER = "query-id\tcorpus-id\tscore"
PARTS = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data dir and an empty cache, which is returned."""
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.delenv("SBERT_ANY_HASH", raising=False)
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def lines(*items: object) -> str:
    return "".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items)


def files() -> dict[str, str]:
    """Three documents, four queries; q1 has graded documents, q3 only one that is not relevant."""
    return {
        "corpus.jsonl": lines(
            {"_id": "d1", "title": "Kelp", "text": " Kelp forests shelter otters. ", "metadata": {}},
            {"_id": "d2", "title": None, "text": "Otters eat urchins."},
            {"_id": 3, "title": "Only a title", "text": ""},
        ),
        "queries.jsonl": lines(*({"_id": f"q{n}", "text": f"Question {n}?"} for n in (4, 1, 2, 3))),
        "qrels/test.tsv": lines(HEADER, "q1\td2\t2", "q1\td1\t1", "q1\t3\t0", "q3\td1\t0", "q2\t3\t1"),
        "qrels/dev.tsv": lines(HEADER, "q4\td1\t1"),
    }


def folder(path: Path, packed: bool = False, **changed: str) -> Path:
    for name, text in files().items():
        place = path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        content = changed.get(name.split("/")[-1].split(".")[0], text).encode()
        if packed:
            place.with_name(place.name + ".gz").write_bytes(gzip.compress(content))
        else:
            place.write_bytes(content)
    return path


def test_folder(tmp_path: Path) -> None:
    path = folder(tmp_path / "sea")
    found = data.load_retrieval(str(path))
    assert found.passages == [
        data.Passage("d1", "Kelp forests shelter otters.", "Kelp"),
        data.Passage("d2", "Otters eat urchins."),
        data.Passage("3", "", "Only a title"),
    ]
    assert found.questions == [data.Question("q1", "Question 1?"), data.Question("q2", "Question 2?")]
    assert found.relevant == {"q1": {"d2": 2, "d1": 1}, "q2": {"3": 1}}
    assert (found.name, found.key, found.language, found.skipped) == ("sea", "sea-test", "unknown", 1)
    assert found.files == {f"{path}/{part}": sha256_of(path / part) for part in PARTS}
    dev = data.load_retrieval(f"{path}/", "dev")
    assert (dev.key, dev.relevant) == ("sea-dev", {"q4": {"d1": 1}})
    assert f"{path}/qrels/dev.tsv" in dev.files


@pytest.mark.parametrize("form", ["gz", "zip", "zip without a folder"])
def test_packed_forms_hold_the_same(tmp_path: Path, form: str) -> None:
    plain = data.load_retrieval(str(folder(tmp_path / "sea")))
    if form == "gz":
        path = folder(tmp_path / "packed", packed=True)
    else:
        path = tmp_path / "packed.zip"
        prefix = "" if "without" in form else "sea/"
        path.write_bytes(zipped({prefix + name: text.encode() for name, text in files().items()}))
    found = data.load_retrieval(str(path))
    assert found.key == "packed-test"
    assert (found.passages, found.questions, found.relevant) == (
        plain.passages,
        plain.questions,
        plain.relevant,
    )
    assert list(found.files) == [f"{path}/{part}" for part in PARTS]
    assert list(found.files.values()) == list(plain.files.values())  # of the unpacked bytes


def test_windows_line_ends_and_a_missing_last_one(tmp_path: Path) -> None:
    path = folder(tmp_path / "sea", test=f"{HEADER}\r\nq1\td1\t1\r\nq2\td2\t1")
    assert data.load_retrieval(str(path)).relevant == {"q1": {"d1": 1}, "q2": {"d2": 1}}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "sea")
    with pytest.raises(
        data.DataError, match=r"sea: no qrels/train.tsv or .*; it holds corpus.jsonl, qrels/dev.tsv"
    ):
        data.load_retrieval(str(path), "train")
    with pytest.raises(data.DataError, match="has no split 'all'; allowed here: test, dev, train"):
        data.load_retrieval(str(path), "all")
    with pytest.raises(data.DataError, match=r"gone.zip: cannot be read \(No such file"):
        data.load_retrieval(str(tmp_path / "gone.zip"))
    with pytest.raises(data.DataError, match=r"gone.json: cannot be read \(No such file"):
        data.load_retrieval(str(tmp_path / "gone.json"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(data.DataError, match=r"empty: no corpus.jsonl .* holds nothing"):
        data.load_retrieval(str(tmp_path / "empty"))
    (tmp_path / "x.zip").write_bytes(zipped({"sea/corpus.jsonl": b"{}"}))
    with pytest.raises(data.DataError, match=r"x.zip: no member\(s\) called queries.jsonl"):
        data.load_retrieval(str(tmp_path / "x.zip"))
    (tmp_path / "y.zip").write_bytes(b"<html>")
    with pytest.raises(
        data.DataError, match=r"y.zip: not a whole zip or tar.gz archive \(File is not a zip file\)"
    ):
        data.load_retrieval(str(tmp_path / "y.zip"))


@pytest.mark.parametrize(
    ("part", "text", "message"),
    [
        ("corpus", '{"_id": "d1", "text": "a"}\n{', r"corpus.jsonl:2: not JSON"),
        ("corpus", "[]", r"corpus.jsonl:1: \[\] is not a JSON object"),
        ("corpus", '{"text": "a"}', r"corpus.jsonl:1: no field _id"),
        ("corpus", '{"_id": "d1"}', r"corpus.jsonl:1: no field text"),
        (
            "corpus",
            '{"_id": "d 1", "text": "a"}',
            r"corpus.jsonl:1: _id: id 'd 1' is not a word without blanks",
        ),
        ("corpus", '{"_id": "", "text": "a"}', r"corpus.jsonl:1: _id: id '' is not a word"),
        ("corpus", '{"_id": true, "text": "a"}', r"corpus.jsonl:1: _id: id True is not a word"),
        ("corpus", '{"_id": "d1", "text": 5}', r"corpus.jsonl:1: text: sentence 5 is not a text"),
        (
            "corpus",
            '{"_id": "d1", "text": "a", "title": []}',
            r"corpus.jsonl:1: title: sentence \[\] is not",
        ),
        (
            "corpus",
            '{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}',
            r"corpus.jsonl:2: _id 'd1' stands in an earlier line",
        ),
        ("queries", '{"_id": "q1", "text": " "}', r"queries.jsonl:1: text: empty sentence"),
        (
            "queries",
            '{"_id": "q1", "text": "a"}\n{"_id": "q1", "text": "a"}',
            r"queries.jsonl:2: _id 'q1' stands",
        ),
        ("test", "q1\td1\t1", r"test.tsv:1: no column query-id, corpus-id, score in the header q1, d1, 1"),
        ("test", f"{HEADER}\nq1\td1", r"test.tsv:2: 2 column\(s\), need 3"),
        ("test", f"{HEADER}\nq9\td1\t1", r"test.tsv:2: query-id 'q9' is in no row of the query file"),
        ("test", f"{HEADER}\nq1\td9\t1", r"test.tsv:2: corpus-id 'd9' is in no row of the corpus file"),
        ("test", f"{HEADER}\nq1\td1\thigh", r"test.tsv:2: score 'high' is not a whole number"),
        ("test", f"{HEADER}\nq1\td1\t0.5", r"test.tsv:2: score '0.5' is not a whole number"),
        (
            "test",
            f"{HEADER}\nq1\td1\t1\nq1\td1\t2",
            r"test.tsv:3: query 'q1' and document 'd1' are judged twice",
        ),
        ("test", HEADER, r"sea: no questions for the split test"),
        ("test", f"{HEADER}\nq1\td1\t-1", r"sea: no questions for the split test"),
    ],
)
def test_malformed_beir(tmp_path: Path, part: str, text: str, message: str) -> None:
    path = folder(tmp_path / "sea", **{part: text})
    with pytest.raises(data.DataError, match=message) as caught:
        data.load_retrieval(str(path))
    assert "\n" not in str(caught.value)


def test_whole_numbers_written_as_decimals(tmp_path: Path) -> None:
    path = folder(tmp_path / "sea", test=f"{HEADER}\nq1\td1\t2.0\nq1\td2\t0.0\n")
    assert data.load_retrieval(str(path)).relevant == {"q1": {"d1": 2}}


QAS = '{"id": "1", "question": "why?", "answers": [{"text": "so"}]}'


def paragraph(qas: str) -> str:
    return '{"data": [{"paragraphs": [{"context": "c", "qas": [' + qas + "]}]}]}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n]", r"x.json:2: not JSON"),
        ("[]", r"x.json: \[\] is not a JSON object with the field data"),
        ("{}", r"x.json: no field data"),
        ('{"data": 3}', r"x.json:data: 3 is not a list"),
        ('{"data": [3]}', r"x.json:data\[0\]: 3 is not a JSON object"),
        ('{"data": [{}]}', r"x.json:data\[0\]: no field paragraphs"),
        ('{"data": [{"title": 3, "paragraphs": []}]}', r"x.json:data\[0\].title: sentence 3 is not a text"),
        ('{"data": [{"paragraphs": [{}]}]}', r"x.json:data\[0\].paragraphs\[0\]: no field context"),
        (
            '{"data": [{"paragraphs": [{"context": " "}]}]}',
            r"x.json:data\[0\].paragraphs\[0\].context: empty sentence",
        ),
        (
            '{"data": [{"paragraphs": [{"context": "c", "qas": {}}]}]}',
            r"x.json:data\[0\].paragraphs\[0\].qas: {} is not a list",
        ),
        (paragraph("7"), r"qas\[0\]: 7 is not a JSON object"),
        (paragraph('{"question": "why?"}'), r"x.json:data\[0\].paragraphs\[0\].qas\[0\]: no field id"),
        (paragraph('{"id": [1], "question": "why?"}'), r"qas\[0\].id: id \[1\] is not a word without blanks"),
        (paragraph('{"guid": "a b"}'), r"qas\[0\].guid: id 'a b' is not a word without blanks"),
        (paragraph('{"id": 1}'), r"qas\[0\]: no field question"),
        (paragraph('{"id": 1, "question": ""}'), r"qas\[0\].question: empty sentence"),
        (paragraph('{"id": 1, "question": "q", "answers": {}}'), r"qas\[0\].answers: {} is not a list"),
        (paragraph('{"id": 1, "question": "q", "answers": [{}]}'), r"qas\[0\].answers\[0\]: no field text"),
        (
            paragraph('{"id": 1, "question": "q", "is_impossible": 1}'),
            r"qas\[0\].is_impossible: 1 is not true or false",
        ),
        (
            paragraph(f"{QAS}, {QAS}"),
            r"qas\[1\].id: id '1' is that of .*x.json:data\[0\].paragraphs\[0\].qas\[0\] already",
        ),
        (paragraph(""), r"x.json: no questions for the split all"),
        (paragraph('{"id": 1, "question": "caf\\ud800"}'), r"qas\[0\].question: .*does not encode as UTF-8"),
    ],
)
def test_malformed_squad(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(data.DataError, match=message) as caught:
        data.load_retrieval(str(path))
    assert "\n" not in str(caught.value)


def test_own_squad_file_has_one_split(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(paragraph(QAS), encoding="utf-8")
    with pytest.raises(data.DataError, match=r"x.json has no split 'test'; allowed here: all"):
        data.load_retrieval(str(tmp_path / "x.json"), "test")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        yield running


def register(monkeypatch: pytest.MonkeyPatch, archive: Archive) -> None:
    """nfcorpus as a small zip of ours, whose members' hashes are not known."""
    names = (*PARTS[:2], "qrels/{}.tsv")
    splits = {
        split: tuple(
            File(
                f"beir/nfcorpus/{name.format(split)}",
                archive=archive,
                member=f"nfcorpus/{name.format(split)}",
            )
            for name in names
        )
        for split in ("dev", "test")
    }
    entry = RETRIEVAL_SETS["nfcorpus"]
    kept = {slot: getattr(entry, slot) for slot in type(entry).__slots__}
    changed = kept | {"layouts": (Layout("beir", splits),), "rows": {}, "passages": {}}
    monkeypatch.setitem(RETRIEVAL_SETS, "nfcorpus", type(entry)(**changed))


def test_zip_is_downloaded_once_and_verified(
    server: Server, offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = zipped({f"nfcorpus/{name}": text.encode() for name, text in files().items()})
    server.files["n.zip"] = content
    sha256 = hashlib.sha256(content).hexdigest()
    register(monkeypatch, Archive("beir/nfcorpus.zip", (server.url("n.zip"),), "0" * 64))
    with pytest.raises(data.DataError, match=rf"n.zip: sha256 is {sha256}, expected 0{{64}}"):
        data.load_retrieval("nfcorpus")
    assert not (offline / "beir/nfcorpus.zip").exists()
    register(monkeypatch, Archive("beir/nfcorpus.zip", (server.url("n.zip"),), sha256))
    found = data.load_retrieval("nfcorpus")
    assert (found.key, len(found.passages), len(found.questions)) == ("nfcorpus-test", 3, 2)
    assert (
        found.files["beir/nfcorpus/qrels/test.tsv"]
        == hashlib.sha256(files()["qrels/test.tsv"].encode()).hexdigest()
    )
    assert len(data.load_retrieval("nfcorpus-dev", download=False).questions) == 1
    assert len(server.requests) == 2
    assert not list(offline.glob("beir/*.sha256"))  # nothing to remember: it was known


def test_scifact_zip_does_not_pass_for_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder has known hashes, the zip has other bytes; both are read, each under its own name."""
    folder(tmp_path / "a/beir/scifact")
    with pytest.raises(data.DataError, match=r"scifact/corpus.jsonl: sha256 is .* expected eb2a6556"):
        data.load_retrieval("scifact", data_dir=tmp_path / "a")
    (tmp_path / "b/beir").mkdir(parents=True)
    content = {f"scifact/{name}": text.encode() for name, text in files().items()}
    (tmp_path / "b/beir/scifact.zip").write_bytes(zipped(content))
    found = data.load_retrieval("scifact", data_dir=tmp_path / "b", download=False)
    assert list(found.files) == [f"beir/scifact.zip/{part}" for part in PARTS]
