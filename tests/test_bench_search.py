"""experiments.bench search: flags, the pool, and a tiny run from the command to the record."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import bench, bench_flags, bench_search
from experiments.bench_search_worker import Report, fill, in_turn, same_scores, spread
from sbert.errors import RunError
from sbert.retrieval.search import Ranking


def arguments(*words: str) -> Any:
    return bench_flags.build_parser().parse_args(words)


# ---------------------------------------------------------------- flags


def test_defaults_are_those_of_the_help() -> None:
    args = arguments("search")
    bench_flags.check(args)
    assert (args.data, args.passages, args.queries, args.rounds) == ("squad", 100_000, 10_000, 3)
    assert args.output == bench_flags.ROOT / "experiments/results/bench/search.json"


@pytest.mark.parametrize(
    "data, name",
    [("squad", "search.json"), ("korquad", "search-korquad.json"), ("a/my.json.gz", "search-my.json")],
)
def test_the_name_of_the_record(data: str, name: str) -> None:
    args = arguments("search", "--data", data)
    bench_flags.check(args)
    assert args.output.name == name


@pytest.mark.parametrize(
    "words, said",
    [
        (["search", "--passages", "0"], "whole number of at least 1"),
        (["search", "--data", "squid"], "squad"),
        (["search", "--data", "squad-all"], "no split 'all'"),
        (["search", "--updates", "5"], "--updates: not a flag of search"),
        (["search", "--peer-python", "python"], "--peer-python: not a flag of search"),
        (["search", "--task", "nli"], "--task: not a flag of search"),
        (["train", "--passages", "5"], "--passages: not a flag of train"),
        (["encode", "--data", "korquad"], "--data: not a flag of encode"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = bench.main(words)
    except SystemExit as exit_:
        code = int(str(exit_.code))
    error = capsys.readouterr().err
    assert code == 2 and said in error and error.count("\n") == 1


# ---------------------------------------------------------------- the pool


def test_passages_are_repeated_with_a_tenth_of_other_words() -> None:
    own = [" ".join(f"{letter}{i}" for i in range(30)) for letter in "abc"]
    texts = fill(own, 8, seed=1)
    assert texts[:3] == own and len(texts) == 8
    for i, text in enumerate(texts[3:], start=3):
        pairs = list(zip(text.split(), own[i % 3].split(), strict=True))
        assert 1 <= sum(new != old for new, old in pairs) <= 3
        assert {new for new, _ in pairs} <= {word for other in own for word in other.split()}
    assert fill(own, 8, seed=1) == texts != fill(own, 8, seed=2)
    assert fill(own, 3, seed=1) == own


def test_vectors_of_repeated_passages_are_near_and_as_long() -> None:
    own = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32)
    vectors = spread(own, 10, seed=1)
    assert vectors.shape == (10, 400) and vectors.dtype == np.float32
    assert (vectors[:3] == own).all()
    for i, row in enumerate(vectors[3:], start=3):
        length = np.linalg.norm(own[i % 3])
        assert np.linalg.norm(row) == pytest.approx(length, rel=1e-5)
        assert row @ own[i % 3] / length**2 == pytest.approx(1 / np.sqrt(1 + 0.3**2), abs=0.02)
    assert not np.allclose(vectors[3], vectors[6])


# ---------------------------------------------------------------- what is measured


def test_sides_take_turns() -> None:
    order: list[str] = []
    spent = in_turn(2, lambda: order.append("a"), lambda: order.append("b"))
    assert order == ["a", "b", "a", "b"]
    assert [len(side) for side in spent] == [2, 2] and min(map(min, spent)) > 0


def test_the_ratio_is_above_1_where_ours_is_faster() -> None:
    report = Report(2)
    report.compare("ours", "theirs", [[1.0, 2.0], [3.0, 4.0]])
    assert report.ratios[0]["ratio"] == {
        "median": 2.5,
        "min": 2.0,
        "max": 3.0,
        "spread": 0.4,
        "rounds": [3, 2],
    }


def test_other_scores_are_other_work() -> None:
    ours = Ranking([[4, 2], []], [np.array([2.0, 1.0]), np.empty(0)])
    same_scores(ours, np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    with pytest.raises(RunError, match="question 0 differently"):
        same_scores(ours, np.array([[2.0, 1.1, 0.0], [0.0, 0.0, 0.0]]))


def test_a_tiny_run(tmp_path: Path, tiny_model_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "search.json"
    words = ["search", "--data", "samples-mrc-en", "--passages", "130", "--queries", "12", "--rounds", "2"]
    words += ["--threads", "1", "--model", str(tiny_model_dir), "--output", str(output)]
    assert bench.main(words) == 0
    shown = capfd.readouterr().out
    text = output.read_text(encoding="utf8")
    record = json.loads(text)
    assert {"command", "date", "commit", "processor", "threads", "settings", "versions", "device"} <= set(
        record
    )
    assert str(tmp_path) not in text and str(tiny_model_dir.parent) not in text
    assert record["pool"]["passages"] == 130 > record["pool"]["own"] and record["pool"]["width"] == 32
    stages = {row["stage"]: row for row in record["stages"]}
    names = {"question encoding", "bm25", "bm25s directly", "exact search"}
    compared = [("bm25", "bm25s directly")]
    if importlib.util.find_spec("faiss") is not None:
        names |= {"faiss flat", "faiss hnsw"}  # ivfpq has too few passages to train on
        compared += [("exact search", "faiss flat directly")]
        assert "faiss ivfpq: 130 passages are too few" in shown
        flat = next(row for row in record["indexes"] if row["index"] == "faiss flat")
        assert flat["recall@10"] == flat["recall@100"] == 1.0 and flat["bytes"] > 130 * 32 * 4
    assert set(stages) == names
    assert [(row["ours"], row["peer"]) for row in record["ratios"]] == compared
    for row in record["stages"]:
        assert row["one_ms"]["count"] == 12 and 0 < row["one_ms"]["min"] <= row["one_ms"]["median"]
        assert row["batch_ms"]["count"] == (1 if row["stage"] == "question encoding" else 2)
    assert all(len(row["ratio"]["rounds"]) == 2 for row in record["ratios"])
    assert "times as fast" in shown and "recall@100" in shown and "130 passages" in shown


def test_a_worker_that_fails_says_why(
    tmp_path: Path, tiny_model_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    output = tmp_path / "search.json"
    words = ["search", "--data", str(bad), "--model", str(tiny_model_dir), "--output", str(output)]
    assert bench.main(words) == 1
    error = capfd.readouterr().err
    assert "bad.json" in error and "bench_search_worker ended with 1" in error and error.count("\n") == 2
    assert not output.exists()


def test_the_tables_without_faiss() -> None:
    one = {"median": 1.0, "min": 0.5, "max": 2.0}
    found = {
        "stages": [{"stage": "exact search", "one_ms": one, "batch_ms": one}, {"stage": "x", "one_ms": one}],
        "indexes": [{"index": "bm25", "build_s": 3.0, "bytes": 2_500_000}],
        "ratios": [{"ours": "a", "peer": "b", "ratio": one}],
        "notes": ["FAISS: not run here (pip install faiss-cpu)"],
    }
    shown = bench_search.search_tables(found).split("\n")
    assert shown[2].split() == ["exact", "search", "1.000", "0.500", "2.000", "1.000", "0.500", "2.000"]
    assert shown[3].split() == ["x", "1.000", "0.500", "2.000", "-", "-", "-"]
    assert ["bm25", "3.0", "2.5", "-", "-", "-"] in [line.split() for line in shown]
    assert shown[-1].startswith("FAISS: not run here")
