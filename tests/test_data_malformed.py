"""Every kind of malformed row or damaged file is one line naming file, line and value; a user's own files."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from data_files import jsonl, load, nli_item, row, stsb_row, write, write_sick

import data
from data.examples import Example
from data.files import sha256_of


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data dir, an empty cache, and made-up files accepted in place of the published ones."""
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SBERT_ANY_HASH", "1")


KORSTS = ("korsts-dev", "korsts/sts-dev.tsv", row("score", "sentence1", "sentence2"), row(5, "a", "b"))
KORNLI = (
    "kornli-dev",
    "kornli/xnli.dev.ko.tsv",
    row("sentence1", "sentence2", "gold_label"),
    row("a", "b", "neutral"),
)
STSB = ("stsb", "stsb/sts-test.csv", stsb_row(1, "a", "b"), stsb_row(1, "a", "b"))


@pytest.mark.parametrize(
    ("layout", "bad", "message"),
    [
        (KORSTS, row(3, "only one"), r"sts-dev.tsv:3: 2 column\(s\), need 3"),
        (KORSTS, row("high", "a", "b"), r"sts-dev.tsv:3: score 'high' is not a number in 0..5"),
        (KORSTS, row("", "a", "b"), r"sts-dev.tsv:3: score '' is not a number in 0..5"),
        (KORSTS, row("nan", "a", "b"), r"sts-dev.tsv:3: score 'nan' is outside 0..5"),
        (KORSTS, row("inf", "a", "b"), r"sts-dev.tsv:3: score 'inf' is outside 0..5"),
        (KORSTS, row("5.01", "a", "b"), r"sts-dev.tsv:3: score '5.01' is outside 0..5"),
        (KORSTS, row("-0.1", "a", "b"), r"sts-dev.tsv:3: score '-0.1' is outside 0..5"),
        (KORSTS, row(3, "a", "  "), r"sts-dev.tsv:3: empty sentence"),
        (KORSTS, "\n" + row(3, "a", "b"), r"sts-dev.tsv:3: 1 column\(s\)"),
        (
            KORNLI,
            row("a", "b", "maybe"),
            r"label 'maybe' is not one of contradiction, entailment, neutral, -",
        ),
        (KORNLI, row("", "b", "neutral"), r"xnli.dev.ko.tsv:3: empty sentence"),
        (
            STSB,
            row("main", "MSRvid", "2012test", "1", "5", "only one"),
            r"sts-test.csv:3: 6 column\(s\), need 7",
        ),
        (STSB, stsb_row("", "a", "b"), r"sts-test.csv:3: score ''"),
    ],
)
def test_malformed_row_names_file_line_and_value(
    tmp_path: Path, layout: tuple[str, str, str, str], bad: str, message: str
) -> None:
    name, file, first, good = layout
    write(tmp_path, file, first, good, bad)
    with pytest.raises(data.DataError, match=message) as caught:
        load(name, tmp_path)
    assert "\n" not in str(caught.value)


def test_sick_score_below_one(tmp_path: Path) -> None:
    write_sick(tmp_path)
    header = row("pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment")
    write(tmp_path, "sick/SICK_trial.txt", header, row(1, "a", "b", "0.5", "NEUTRAL"))
    with pytest.raises(data.DataError, match=r"SICK_trial.txt:2: score '0.5' is outside 1..5"):
        load("sickr-dev", tmp_path)


def test_missing_header_column(tmp_path: Path) -> None:
    write(tmp_path, "korsts/sts-dev.tsv", row("sentence1", "sentence2"), row("a", "b"))
    with pytest.raises(
        data.DataError, match=r"sts-dev.tsv:1: no column score in the header sentence1, sentence2"
    ):
        load("korsts-dev", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\n", b"score\tsentence1\tsentence2\n"])
def test_empty_set(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "korsts/sts-dev.tsv").write_bytes(content)
    with pytest.raises(data.DataError, match="korsts-dev: no examples"):
        load("korsts-dev", tmp_path)


def test_bad_utf8_names_the_line(tmp_path: Path) -> None:
    write(tmp_path, "korsts/sts-dev.tsv").write_bytes(b"score\tsentence1\tsentence2\n1\ta\tb\n1\t\xff\tb\n")
    with pytest.raises(data.DataError, match=r"sts-dev.tsv:3: not UTF-8 \(byte 0xff\)"):
        load("korsts-dev", tmp_path)
    write(tmp_path, "klue/klue-sts-v1.1_dev.json").write_bytes(b"[\n\xff]")
    with pytest.raises(data.DataError, match=r"klue-sts-v1.1_dev.json:2: not UTF-8"):
        load("klue-sts", tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-9], lambda b: b[:12] + b"\xff\xff" + b[14:], lambda b: b"not gzip"]
)
def test_damaged_gzip(tmp_path: Path, damage) -> None:
    packed = gzip.compress(jsonl(*[nli_item("neutral", str(n)) for n in range(50)]).encode())
    (tmp_path / "nli-en").mkdir()
    (tmp_path / "nli-en/dev.jsonl.gz").write_bytes(damage(packed))
    with pytest.raises(data.DataError, match=r"dev.jsonl.gz: not a whole gzip file") as caught:
        load("nli-en-dev", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[\n{]", r"dev.json:2: not JSON"),
        ("{}", r"dev.json: not a JSON list"),
        ("[3]", r"dev.json:item 1: 3 is not a JSON object"),
        ('[{"sentence1": "a", "sentence2": "b"}]', r"dev.json:item 1: no field labels.label"),
        (
            '[{"sentence1": "a", "sentence2": "b", "labels": {"label": 6}}]',
            r"item 1: score 6 is outside 0..5",
        ),
        (
            '[{"sentence1": "a", "sentence2": "b", "labels": {"label": true}}]',
            r"item 1: score True is not a number",
        ),
        (
            '[{"sentence1": "a", "sentence2": null, "labels": {"label": 1}}]',
            r"item 1: sentence None is not a text",
        ),
    ],
)
def test_malformed_json_list(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "klue/klue-sts-v1.1_dev.json", text)
    with pytest.raises(data.DataError, match=message):
        load("klue-sts", tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"dev.jsonl:2: not JSON"),
        ("[1]", r"dev.jsonl:2: \[1\] is not a JSON object"),
        ("{}", r"dev.jsonl:2: no field"),
    ],
)
def test_malformed_json_lines(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path, "nli-en/dev.jsonl", json.dumps(nli_item("neutral")), line)
    with pytest.raises(data.DataError, match=message):
        load("nli-en-dev", tmp_path)


DIGITS = "9" * 5000  # more than Python converts
SCORED = '"sentence1": "a", "sentence2": "b", "score": '


@pytest.mark.parametrize(
    ("good", "bad", "message"),
    [
        (
            SCORED + "1",
            r'"sentence1": "caf\ud800", "sentence2": "b", "score": 1',
            r"sentence 'caf\\ud800' does not encode as UTF-8 \(lone surrogate '\\ud800'\)",
        ),
        (
            '"sentence1": "a", "sentence2": "b", "label": 1',
            r'"sentence1": "a", "sentence2": "\udc00", "label": 1',
            r"sentence '\\udc00' does not encode as UTF-8",
        ),
        (
            '"anchor": "a", "positive": "b", "negative": "c"',
            r'"anchor": "a", "positive": "b", "negative": "\udfff\ud800"',
            r"sentence '\\udfff\\ud800' does not encode",
        ),
        (SCORED + "1", SCORED + DIGITS[:400], r"score 9{77}\.\.\. is outside 0\.\.1; scale your scores"),
        (SCORED + "1", SCORED + "-" + DIGITS[:400], r"score -9{76}\.\.\. is outside 0\.\.1"),
        (SCORED + "1", SCORED + DIGITS, r"JSON with an integer of more than 4,300 digits"),
        (SCORED + "1", SCORED + "[" * 100_000, r"JSON that is nested too deeply"),
        (SCORED + "1", SCORED + "[" * 100_000 + "]" * 100_000, r"JSON that is nested too deeply"),
    ],
    ids=[
        "surrogate of a score",
        "surrogate of a label",
        "surrogates of a triplet",
        "400 digits",
        "-400 digits",
        "5000 digits",
        "nested, open",
        "nested, closed",
    ],
)
def test_json_that_python_cannot_hold(tmp_path: Path, good: str, bad: str, message: str) -> None:
    """JSON that has no text, no float, no integer or no stack to go to."""
    path = write(tmp_path, "x.jsonl", f"{{{good}}}", f"{{{bad}}}")
    with pytest.raises(data.DataError, match=rf"x\.jsonl:2: {message}") as caught:
        data.load(str(path))
    assert "\n" not in str(caught.value)


def test_error_about_a_surrogate_can_be_printed(tmp_path: Path) -> None:
    path = write(tmp_path, "x.jsonl", r'{"\ud800": 1}')
    with pytest.raises(
        data.DataError, match=r"x\.jsonl:1: no known task in the columns \\ud800; need"
    ) as caught:
        data.load(str(path))
    str(caught.value).encode("utf-8")


def test_surrogate_pair_is_a_character(tmp_path: Path) -> None:
    path = write(tmp_path, "x.jsonl", r'{"sentence1": "\ud83d\ude00", "sentence2": "b", "score": 1}')
    assert data.load(str(path)).examples == [Example(("\U0001f600", "b"), 1.0)]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (DIGITS[:400], r"dev.json:item 1: score 9{77}\.\.\. is outside 0..5"),
        (DIGITS, r"dev.json: JSON with an integer of more than 4,300 digits"),
        ("[" * 100_000, r"dev.json: JSON that is nested too deeply"),
    ],
    ids=["400 digits", "5000 digits", "nested"],
)
def test_json_list_that_python_cannot_hold(tmp_path: Path, label: str, message: str) -> None:
    text = f'[{{"sentence1": "a", "sentence2": "b", "labels": {{"label": {label}}}}}]'
    write(tmp_path, "klue/klue-sts-v1.1_dev.json", text)
    with pytest.raises(data.DataError, match=message):
        load("klue-sts", tmp_path)


def test_own_tsv_scores_must_already_be_scaled(tmp_path: Path) -> None:
    path = write(
        tmp_path, "mine.tsv", row("id", "sentence1", "sentence2", "score"), row(7, '"a', "b", "0.25")
    )
    loaded = data.load(str(path))
    assert loaded.examples == [Example(('"a', "b"), 0.25)]
    assert (loaded.name, loaded.split, loaded.key, loaded.task) == ("mine", "all", "mine", "sts")
    write(tmp_path, "mine.tsv", row("sentence1", "sentence2", "score"), row("a", "b", "4.5"))
    with pytest.raises(
        data.DataError, match=r"mine.tsv:2: score '4.5' is outside 0..1; scale your scores to 0..1"
    ):
        data.load(str(path))


def test_own_csv_quoting(tmp_path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows(
        [["sentence1", "sentence2", "label"], ['say "hi", then\ngo', "b", "entailment"], ["a", "b", "2"]]
    )
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(("\ufeff" + text.getvalue()).encode()))
    loaded = data.load(str(tmp_path / "mine.csv.gz"))
    assert loaded.examples == [Example(('say "hi", then\ngo', "b"), 1), Example(("a", "b"), 2)]
    assert (loaded.key, loaded.task) == ("mine", "nli")


def test_own_jsonl_triplets_and_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", json.dumps({"anchor": "a", "positive": "p", "negative": "n"}))
    assert data.load(str(path)).examples == [Example(("a", "p", "n"), None)]
    items = [{"sentence1": "a", "sentence2": "b", "gold_label": label} for label in (0, "neutral", "-")]
    loaded = data.load(str(write(tmp_path, "n.jsonl", jsonl(*items), end="")))
    assert [example.label for example in loaded.examples] == [0, 2]
    assert loaded.skipped == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "x.tsv",
            "a\tb\n1\t2\n",
            r"x.tsv:2: no known task in the columns a, b; need exactly one of: sentence1",
        ),
        ("x.tsv", "sentence1\tsentence2\tscore\tlabel\na\tb\t1\t1\n", r"x.tsv:2: more than one task"),
        (
            "x.tsv",
            "sentence1\tsentence2\tlabel\na\tb\t3\n",
            r"x.tsv:2: label '3' is not one of .*, 0, 1, 2, -",
        ),
        ("x.tsv", "sentence1\tsentence2\tscore\na\tb\n", r"x.tsv:2: 2 column\(s\), need 3"),
        ("x.csv", 'sentence1,sentence2,score\n"a,b,1\n', r"x.csv:\d: not CSV"),
        ("x.csv", "sentence1,sentence2,score\na,b,1,2\n", r"x.csv:2: 4 column\(s\), need 3"),
        (
            "x.jsonl",
            '{"anchor":"a","positive":"b","negative":"c"}\n{"anchor":"a"}\n',
            r"x.jsonl:2: no field positive",
        ),
        ("x.jsonl", '{"anchor":"a","positive":"b","negative":""}\n', r"x.jsonl:1: empty sentence"),
        ("x.jsonl", "", r"x.jsonl: no examples"),
        ("x.csv", "", r"x.csv: no examples"),
    ],
)
def test_malformed_own_file(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path, name, text, end="")
    with pytest.raises(data.DataError, match=message):
        data.load(str(path))


def test_own_files_named_alike_keep_both_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes are kept by the path as given: relative, absolute or from the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    header = row("sentence1", "sentence2", "score")
    paths = [write(tmp_path, f"{folder}/x.tsv", header, row("a", folder, 1)) for folder in "abc"]
    files: dict[str, str] = {}
    given = ("a/x.tsv", str(paths[1]), "~/c/x.tsv")
    for name in given:
        files |= data.load(name).files
    assert files == {name: sha256_of(path) for name, path in zip(given, paths, strict=True)}
    assert len(set(files.values())) == 3


def test_own_file_missing(tmp_path: Path) -> None:
    with pytest.raises(data.DataError, match=r"nothing.tsv: cannot be read \(No such file"):
        data.load(str(tmp_path / "nothing.tsv"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.tsv", "sentence1\tsentence2\tscore\tscore\na\tb\t1\t0\n", "x.tsv:1: column 'score' stands twice"),
        ("x.csv", "score,sentence1,sentence2,score\n1,a,b,0\n", "x.csv:1: column 'score' stands twice"),
        ("x.tsv", "sentence1\tsentence2\tscore\na\tb\t0_1\n", "x.tsv:2: score '0_1' is not a "),
    ],
)
def test_columns_and_numbers_that_can_be_read_in_two_ways(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf8")
    with pytest.raises(data.DataError, match=message):
        data.load(str(tmp_path / name), None)


def test_a_long_text_in_a_csv(tmp_path: Path) -> None:
    long = "word " * 40_000
    (tmp_path / "x.csv").write_text(f"sentence1,sentence2,score\n{long},b,0.5\n", encoding="utf8")
    (example,) = data.load(str(tmp_path / "x.csv"), None).examples
    assert example.texts[0] == long.strip()
