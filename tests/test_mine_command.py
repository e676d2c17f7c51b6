"""python -m experiments.mine: what it writes on the embedded samples, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import data
from experiments import mine as command
from sbert.retrieval.sparse import BM25


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


def info_of(path: Path) -> dict[str, Any]:
    return json.loads(path.with_name(path.name + ".info.json").read_text(encoding="utf8"))


@pytest.fixture
def run(tiny_model_dir: Path, tmp_path: Path) -> Any:
    """run("--flag", ..., name="x.jsonl") -> the file written from samples-mrc-en, or the code where that is not 0."""

    def start(*argv: str, name: str = "mined.jsonl") -> Any:
        given = ["--data", "samples-mrc-en", "--model", str(tiny_model_dir), "--output", str(tmp_path / name)]
        return command.main([*given, *argv]) or tmp_path / name

    return start


def test_a_place_that_cannot_be_written_is_known_before_anything_is_read(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "load_set", None)
    (tmp_path / "file").touch()
    assert run(name="file/mined.jsonl") == 1
    (tmp_path / "folder.jsonl").mkdir()
    assert run(name="folder.jsonl") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"mine: error: --output {tmp_path}/file/mined.jsonl: cannot be written: ")
    assert second == f"mine: error: --output {tmp_path}/folder.jsonl: is a folder, a file is wanted"


def test_both_sources(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = run("--num-negatives", "3", "--relative-margin", "0.01")
    made, info = rows(out), info_of(out)
    dataset = data.load_retrieval("samples-mrc-en-train")
    questions = {question.text: question for question in dataset.questions}
    order = [list(questions).index(row["query"]) for row in made]
    assert order == sorted(order) and len(made) > 20
    dev = [p for p in dataset.passages if p.title not in dataset.articles]
    assert dev  # there is something to keep out
    own = [dataset.passages[i].text for i in dataset.split_passages]
    for row in made:
        assert len(row["positive"]) == 1 and row["passages"][0] in row["relevant"]
        assert len(row["passages"]) == 1 + len(row["negative"])
        assert 1 <= len(row["negative"]) <= 3
        answers = questions[row["query"]].answers
        assert any(answer in row["positive"][0] for answer in answers)
        for text in row["negative"]:
            assert text != row["positive"][0] and not any(answer in text for answer in answers)
            assert sum(text in passage for passage in own) == 1  # a window of one passage of the split
    loaded = data.load(str(out))
    assert (loaded.task, len(loaded)) == ("ranking", len(made))
    assert (info["rows"], info["left_out"]) == (len(made), 81 - len(made))
    assert info["negatives"] == sum(len(row["negative"]) for row in made)
    assert info["fewer_than_asked"] == sum(len(row["negative"]) < 3 for row in made)
    assert info["left"] + sum(info["removed"].values()) == info["candidates"]
    assert info["removed"]["relative_margin"] > 0 and info["removed"]["relevant"] > 0
    assert info["data"]["files"] == dataset.files and info["environment"]["torch"]
    assert f"{len(made)} of 81 questions written" in capsys.readouterr().out


def test_windows_are_of_the_models_length_less_the_reserve(run: Any, tiny_model_dir: Path) -> None:
    from sbert.encoder import load_tokenizer

    tokenizer = load_tokenizer(tiny_model_dir)
    longest = {}
    for flags in ((), ("--max-length", "48"), ("--max-length", "48", "--reserve", "16")):
        out = run("--source", "bm25", *flags)
        texts = [text for row in rows(out) for text in (*row["positive"], *row["negative"])]
        longest[flags] = max(map(len, tokenizer(texts)["input_ids"]))
        assert info_of(out)["windows"] > info_of(out)["passages"]
    assert 48 < longest[()] <= 64 and 32 < longest["--max-length", "48"] <= 48
    assert longest["--max-length", "48", "--reserve", "16"] <= 32


def test_bm25_alone_keeps_its_order_and_needs_no_vectors(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sbert.model import modelWithPooling

    with monkeypatch.context() as patch:
        patch.delattr(modelWithPooling, "encode")
        made = rows(run("--source", "bm25", "--num-negatives", "2", "--answers", "keep"))
    dataset = data.load_retrieval("samples-mrc-en-train")
    own = [dataset.passages[i] for i in dataset.split_passages]
    found = BM25([passage.text for passage in own]).search([q.text for q in dataset.questions], 10)
    expected = {}
    for question, ids in zip(dataset.questions, found.ids, strict=True):
        ids = [i for i in ids if own[i].id not in dataset.relevant[question.id]][:2]
        expected[question.text] = [own[i].text for i in ids]
    for row in made:
        pairs = zip(expected[row["query"]], row["negative"], strict=True)
        assert all(passage.startswith(text) for passage, text in pairs)


def test_margins_look_at_similarities_whatever_found_the_passage(run: Any) -> None:
    """BM25 scores are above 1, cosines are not: --max-score 1.01 may remove nothing."""
    out = run("--source", "bm25", "--max-score", "1.01", "--min-score", "-1.01")
    assert info_of(out)["removed"]["max_score"] == info_of(out)["removed"]["min_score"] == 0


def test_the_same_command_writes_the_same_bytes(run: Any) -> None:
    argv = ("--source", "bm25", "--sampling", "random")
    one, two = run(*argv, name="a.jsonl"), run(*argv, name="b.jsonl")
    other = run(*argv, "--seed", "1", name="c.jsonl")
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()


def test_the_whole_pool_where_it_is_asked_for(run: Any) -> None:
    out = run("--pool", "all", "--source", "bm25")
    assert info_of(out)["passages"] == len(data.load_retrieval("samples-mrc-en-train").passages) == 45


def test_korean_is_searched_by_bigrams(run: Any) -> None:
    out = run("--data", "samples-mrc-ko-dev", "--source", "bm25")
    assert info_of(out)["analyzer"] == "bigrams" and info_of(out)["data"]["set"] == "samples-mrc-ko-dev"
    assert info_of(run("--source", "bm25"))["analyzer"] == "words"
    assert info_of(run())["data"]["set"] == "samples-mrc-en-train"


def test_a_teacher(run: Any, tiny_model_dir: Path, tmp_path: Path) -> None:
    from tiny_models import tiny_cross

    tiny_cross(tiny_model_dir).save_pretrained(tmp_path / "teacher")
    argv = ["--source", "bm25", "--teacher", str(tmp_path / "teacher"), "--max-length", "32"]
    free = run(*argv, "--max-score", "2", name="free.jsonl")  # a sigmoid is never above 2
    held = run(*argv, "--relative-margin", "0.1", name="held.jsonl")
    assert info_of(free)["removed"]["max_score"] == 0 < info_of(held)["removed"]["relative_margin"]
    from sbert import CrossEncoder

    teacher = CrossEncoder.from_pretrained(tmp_path / "teacher")
    for row in rows(free)[:10]:  # the highest first
        scores = teacher.predict([(row["query"], text) for text in row["negative"]]).tolist()
        assert scores == pytest.approx(sorted(scores, reverse=True), abs=1e-6)
    for row in rows(held)[:10]:
        positive = float(teacher.predict((row["query"], row["positive"][0])))
        scores = teacher.predict([(row["query"], text) for text in row["negative"]])
        assert scores.max() <= 0.9 * positive + 1e-6


def test_rows_need_a_positive_and_a_negative_and_take_the_highest_grade() -> None:
    passages = [data.Passage(f"p{i}", f"text {i}" if i else "") for i in range(4)]
    questions = [data.Question(name, name) for name in "abc"]
    relevant = {"a": {"p0": 3, "p1": 1, "p2": 2}, "b": {"p0": 1}, "c": {"p1": 1}}
    dataset = data.RetrievalSet("small", "train", "en", passages, questions, relevant, {})
    texts = [dict(enumerate(["", "one", "two", "three"]))] * 3
    made = command.rows_of(dataset, texts, [[3], [1], []])
    (row,) = made
    assert (row["query"], row["positive"], row["negative"]) == ("a", ["two"], ["three"])
    assert (row["passages"], row["relevant"]) == (["p2", "p3"], ["p0", "p2", "p1"])


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--output", "x.json"], 2, "must end in .jsonl"),
        (["--num-negatives", "0"], 2, "--num-negatives 0: must be at least 1"),
        (["--range-max", "2"], 2, "--range-max 2 less --range-min 0 leaves fewer than"),
        (["--source", "bm25", "bm25"], 2, "--source bm25 bm25: names one twice"),
        (["--source", "dense", "--analyzer", "words"], 2, "--analyzer is of bm25"),
        (["--teacher", "x"], 2, "--teacher only scores: give a margin"),
        (["--max-length", "2"], 2, "--max-length must be at least 8"),
        (["--device", "tpu"], 2, "--device 'tpu': allowed are auto, cpu"),
        (["--data", "nosuch"], 2, "unknown data set 'nosuch'"),
        (["--data", "scifact", "--split", "dev"], 1, "has no split 'dev'"),
        (["--data", "nosuch.json"], 1, "nosuch.json: cannot be read"),
        (["--model", "nosuch/dir"], 1, "nosuch/dir"),
        (["--max-length", "1000"], 1, "--max-length 1000: this encoder has 64 positions"),
        (["--reserve", "60"], 1, "--reserve 60: leaves fewer than 8 of 64 tokens"),
        (["--max-score", "-2"], 1, "samples-mrc-en-train: no negative for any question"),
    ],
)
def test_one_line(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, words: str
) -> None:
    assert run(*argv) == code
    err = capsys.readouterr().err.strip()
    assert err.startswith("mine: error: ") and words in err and "\n" not in err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_source_stops_at_the_flags(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("--source", "elastic")
    assert stopped.value.code == 2 and "'bm25', 'dense'" in capsys.readouterr().err


def test_an_untrained_teacher_is_refused(
    run: Any, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--teacher", str(tiny_model_dir), "--max-score", "1") == 1
    assert "not a trained cross-encoder of one score a pair" in capsys.readouterr().err


def test_a_test_split_is_warned_about(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run("--source", "bm25", "--split", "test")
    assert "samples-mrc-en-test is a test split" in capsys.readouterr().err
