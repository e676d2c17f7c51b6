"""Argument facets: the reader on made-up rows, folds worked out by hand, and whole protocols with a tiny model."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import pytest
from data_files import load

import data
import train
from data.examples import DataError, Example
from data.sets_paper import AFS_TOPICS
from experiments import afs
from sbert.errors import RunError

HEADER = ("regression_label", "datasetId_1", "datasetId_2", "sentence_1", "sentence_2")
SUBJECTS = {"gun-control": "gun", "gay-marriage": "wedding", "death-penalty": "court"}
ROWS = 8  # of each topic


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))


def table(*rows: tuple[object, ...], header: tuple[str, ...] = HEADER) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([header, *rows])
    return out.getvalue()


def write(folder: Path, topic: str, content: str | bytes) -> Path:
    path = folder / "afs" / f"ArgPairs_{AFS_TOPICS[topic]}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf8") if isinstance(content, str) else content)
    return path


def pairs_of(topic: str) -> list[tuple[object, ...]]:
    word = SUBJECTS[topic]
    return [
        (i * 5 / (ROWS - 1), 1, 2, f"A {word} is number {i}.", f"The {word} of {i * i} people.")
        for i in range(ROWS)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for topic in AFS_TOPICS:
        write(tmp_path / "data", topic, table(*pairs_of(topic)))
    return tmp_path / "data"


# ---------------------------------------------------------------- reader


def test_scores_quotes_and_rows_without_a_label(tmp_path: Path) -> None:
    rows = [
        (5, 1, 1, 'He said "guns, yes".', "one\r\ntwo"),
        ("", 1, 1, "a", "b"),
        ("1.25", 1, 1, " 총 ", "c"),
    ]
    write(tmp_path, "gun-control", table(*rows))
    loaded = load("afs-gun-control", tmp_path)
    assert loaded.examples == [
        Example(('He said "guns, yes".', "one\r\ntwo"), 1.0),
        Example(("총", "c"), 0.25),
    ]
    assert (loaded.task, loaded.split, loaded.key, loaded.skipped) == ("sts", "all", "afs-gun-control", 1)


def test_a_line_that_is_not_utf8_is_windows_1252(tmp_path: Path) -> None:
    lines = [",".join(HEADER).encode(), b"1,1,1,it\x92s law,caf\xe9\x81", "2,1,1,it’s law,café".encode()]
    write(tmp_path, "death-penalty", b"\n".join(lines))
    texts = [example.texts for example in load("afs-death-penalty", tmp_path).examples]
    assert texts == [("it’s law", "café\ufffd"), ("it’s law", "café")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (table((6, 1, 1, "a", "b")), ":2: score '6' is outside 0..5"),
        (table((1, 1, 1, "a", "b"), ("high", 1, 1, "a", "b")), ":3: score 'high' is not a number in 0..5"),
        (table((1, 1, 1, "a", " ")), ":2: empty sentence"),
        (table((1, 1, 1, "a")), ":2: 4 column(s), need 5"),
        (
            table((1, 1, 1, "a", "b"), header=("label", *HEADER[1:])),
            ":1: no column regression_label in the header label,",
        ),
    ],
)
def test_malformed_rows_are_named_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, "gay-marriage", text)
    with pytest.raises(DataError) as caught:
        load("afs-gay-marriage", tmp_path)
    assert str(caught.value).startswith(f"{path}{said}")


def test_all_topics_together_and_where_to_get_them(corpus: Path, tmp_path: Path) -> None:
    assert len(load("afs", corpus)) == 3 * ROWS and len(load("afs", corpus).files) == 3
    with pytest.raises(DataError, match=r"https://nlds.soe.ucsc.edu/node/44"):
        load("afs", tmp_path)
    warning = data.overlap_warning(["afs-gun-control-all"], "afs")
    assert warning is not None and "ArgPairs_GC.csv" in warning


# ---------------------------------------------------------------- folds


def examples(count: int, topic: str = "x") -> list[Example]:
    return [Example((f"{topic} {i}", f"{i} {topic}"), i / count) for i in range(count)]


@pytest.mark.parametrize("count", [10, 23, 100])
def test_each_pair_is_tested_once_and_never_trained_on_then(count: int) -> None:
    pairs = examples(count)
    folds = afs.cross_validation(pairs)
    assert [fold.name for fold in folds] == [str(number) for number in range(1, 11)]
    assert Counter(pair for fold in folds for pair in fold.test) == Counter(pairs)
    for fold in folds:
        assert not set(fold.test) & set(fold.train)
        assert Counter(fold.test + fold.train) == Counter(pairs)
        assert len(fold.test) in (count // 10, -(-count // 10))
    assert afs.cross_validation(pairs) == folds  # the same on every run
    assert folds[0].test != pairs[: len(folds[0].test)]  # drawn, not cut


def test_too_few_pairs() -> None:
    with pytest.raises(RunError, match="9 pairs are too few for 10 folds"):
        afs.cross_validation(examples(9))


def test_no_topic_is_trained_on_and_tested() -> None:
    topics = {"a": examples(3, "a"), "b": examples(4, "b"), "c": examples(5, "c")}
    folds = afs.cross_topic(topics)
    assert [(fold.name, len(fold.train), len(fold.test)) for fold in folds] == [
        ("a", 9, 3),
        ("b", 8, 4),
        ("c", 7, 5),
    ]
    for fold in folds:
        assert fold.test == topics[fold.name]
        assert {text.split()[0] for pair in fold.train for text in pair.texts[:1]} == set(topics) - {
            fold.name
        }


# ---------------------------------------------------------------- the command


def words(corpus: Path, run: Path, model: Path, *more: str) -> list[str]:
    flags = ["--data-dir", str(corpus), "--model", str(model), "--output-dir", str(run)]
    small = [
        "--max-updates",
        "2",
        "--batch-size",
        "4",
        "--precision",
        "fp32",
        "--device",
        "cpu",
        "--threads",
        "1",
    ]
    return [*flags, *small, "--seed", "3", *more]


@pytest.mark.parametrize("arch", ["bi", "cross"])
def test_cross_topic_with_a_tiny_model(
    corpus: Path, tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str], arch: str
) -> None:
    run = tmp_path / "run"
    argv = words(corpus, run, tiny_model_dir, "--protocol", "cross-topic", "--arch", arch)
    assert afs.main(argv) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    suffix = "_cosine" if arch == "bi" else ""
    for name in ("pearson", "spearman"):
        each = []
        for topic in AFS_TOPICS:
            fold = json.loads((run / f"fold-{topic}" / "run" / "metrics.json").read_text())
            assert metrics[f"fold-{topic}/{name}"] == fold[f"test/{name}{suffix}"]
            each.append(fold[f"test/{name}{suffix}"])
        assert metrics[f"afs/{name}"] == pytest.approx(sum(each) / 3)
    assert metrics["afs/pairs"] == 3 * ROWS
    tested = [json.loads(line) for line in (run / "fold-gun-control" / "test.jsonl").read_text().splitlines()]
    assert [row["sentence1"] for row in tested] == [row[3] for row in pairs_of("gun-control")]
    assert tested[-1]["score"] == 1.0
    assert "gun" not in (run / "fold-gun-control" / "train.jsonl").read_text()
    config = json.loads((run / "config.json").read_text())
    assert (
        config["argv"] == argv
        and config["flags"]["arch"] == arch
        and config["flags"]["protocol"] == "cross-topic"
    )
    assert len(config["data"]) == 3 and config["precision"] == "fp32"
    trained = json.loads((run / "fold-gun-control" / "run" / "config.json").read_text())
    assert trained["flags"]["seed"] == 3 and trained["flags"]["select_on"] == "last"
    assert afs.main(argv) == 2  # finished
    assert "already holds a run" in capsys.readouterr().err


def test_a_stopped_run_goes_on_and_repeats_no_fold(
    corpus: Path,
    tmp_path: Path,
    tiny_model_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    argv = words(corpus, run, tiny_model_dir, "--protocol", "cross-topic")
    genuine, asked = train.main, []

    def main(given: list[str]) -> int:
        asked.append(given)
        if len(asked) == 2:  # killed after its config was written, before a checkpoint
            assert genuine(given) == 0
            (run / "fold-gay-marriage" / "run" / "metrics.json").unlink()
            return 130
        return genuine(given)

    monkeypatch.setattr(train, "main", main)
    assert afs.main(argv) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "afs: stopped; the same command goes on with this fold"
    assert afs.main([*argv, "--lr", "1e-3"]) == 2
    assert "holds folds of another run: its train was" in capsys.readouterr().err
    assert afs.main(argv) == 0
    assert [given[0] for given in asked] == ["--train-data", "--train-data", "--resume", "--train-data"]
    assert json.loads((run / "metrics.json").read_text())["afs/pairs"] == 3 * ROWS


def test_cross_validation_end_to_end(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten folds of numbers made up here: the plumbing and the mean, without ten trainings."""
    correlations = iter(range(10))

    def main(given: list[str]) -> int:
        run = Path(given[given.index("--output-dir") + 1])
        run.mkdir()
        (run / "config.json").write_text('{"device": "cpu", "precision": "fp32"}')
        k = next(correlations)
        (run / "metrics.json").write_text(
            json.dumps({"test/pearson_cosine": k / 10, "test/spearman_cosine": k / 20})
        )
        return 0

    monkeypatch.setattr(train, "main", main)
    run = tmp_path / "run"
    argv = ["--data-dir", str(corpus), "--protocol", "cv", "--output-dir", str(run)]
    assert afs.main(argv) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["afs/pearson"] == pytest.approx(0.45) and metrics["afs/spearman"] == pytest.approx(0.225)
    assert metrics["fold-10/pearson"] == 0.9 and metrics["afs/pairs"] == 3 * ROWS
    tested = Counter(
        line
        for number in range(1, 11)
        for line in (run / f"fold-{number}" / "test.jsonl").read_text().splitlines()
    )
    assert len(tested) == 3 * ROWS and set(tested.values()) == {1}


def test_flags_of_train_py_reach_it_word_by_word() -> None:
    given = afs.given_flags(
        [
            "--protocol",
            "cv",
            "--output-dir",
            "r",
            "--lr",
            "1e-5",
            "--num-layers",
            "4",
            "--arch",
            "cross",
            "--data-dir",
            "d",
        ]
    )
    assert afs.train_words(given, Path("f")) == [
        *("--train-data", "f/train.jsonl", "--dev-data", "--select-on", "last"),
        *("--eval-data", "f/test.jsonl", "--output-dir", "f/run"),
        *("--lr", "1e-05", "--num-layers", "4", "--arch", "cross"),
    ]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--protocol", "cv", "--train-data", "stsb"], "--train-data is decided by --protocol"),
        (["--protocol", "cv", "--select-on", "last"], "--select-on is decided by --protocol"),
        (["--protocol", "cv", "--lr", "-1"], "--lr -1.0: must be above 0"),
        (["--protocol", "cv", "--arch", "cross", "--pooling", "cls"], "--pooling is for --arch bi"),
        (["--protocol", "loo"], "invalid choice: 'loo'"),
        ([], "--protocol"),
        (["--protocol", "cv", "--epoch", "3"], "--epoch"),
    ],
)
def test_wrong_flags_end_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], says: str
) -> None:
    try:
        code: object = afs.main(["--output-dir", str(tmp_path / "run"), *more])
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and says in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_missing_data_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    argv = ["--output-dir", str(tmp_path / "run"), "--protocol", "cv", "--data-dir", str(tmp_path / "data")]
    assert afs.main(argv) == 1
    err = capsys.readouterr().err
    assert err.startswith("afs: error: ") and "ArgPairs_GC.csv" in err and not (tmp_path / "run").exists()


def test_flags_that_pairs_with_scores_cannot_have_are_told_as_usage(
    corpus: Path, tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = words(
        corpus, tmp_path / "run", tiny_model_dir, "--protocol", "cross-topic", "--objective", "triplet"
    )
    assert afs.main(argv) == 2
    assert "train.py does not take these flags for pairs with scores" in capsys.readouterr().err
