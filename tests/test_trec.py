"""TREC run files: written and read back, and what is wrong with one said in a line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from sbert.errors import RunError
from sbert.retrieval.search import Ranking
from sbert.retrieval.trec import read_run, to_ranking, write_run

QUESTIONS, PASSAGES = ["q1", "q2", "질문3"], ["a", "b", "c"]


def ranking() -> Ranking:
    near = np.nextafter(np.float32(0.1), np.float32(1))
    return Ranking(
        [[2, 0], [], [1, 0, 2]], [np.array([2.5, -1.0]), np.empty(0), np.array([near, 0.1, 0.1], np.float32)]
    )


def test_the_file_as_trec_eval_reads_it(tmp_path: Path) -> None:
    write_run(tmp_path / "x.run", QUESTIONS, PASSAGES, ranking().cut(2), "bm25")
    lines = (tmp_path / "x.run").read_text(encoding="utf8").splitlines()
    assert lines[:2] == ["q1 Q0 c 1 2.5 bm25", "q1 Q0 a 2 -1.0 bm25"]
    assert [line.split()[:4] for line in lines[2:]] == [["질문3", "Q0", "b", "1"], ["질문3", "Q0", "a", "2"]]


@pytest.mark.parametrize("packed", [False, True])
def test_there_and_back(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "x.run"
    write_run(path, QUESTIONS, PASSAGES, ranking(), "t")
    if packed:
        path = tmp_path / "x.run.gz"
        path.write_bytes(gzip.compress((tmp_path / "x.run").read_bytes()))
    run = read_run(path)
    assert list(run) == ["q1", "질문3"] and run["q1"] == [("c", 2.5), ("a", -1.0)]
    back = to_ranking(run, QUESTIONS, PASSAGES)
    assert back.ids == ranking().ids  # neighbours in fp32 and a tie keep their order
    for there, here in zip(back.scores, ranking().scores, strict=True):
        assert (there == here.astype(np.float64)).all()


def test_sorted_by_score_then_rank_wherever_the_lines_stand(tmp_path: Path) -> None:
    path = tmp_path / "x.run"
    path.write_text(
        "q1 Q0 c 3 1 t\nq2 Q0 a 1 7 t\n\nq1\tQ0 b 2 1.0 t\r\nq1 Q0 a 9 1e1 t", encoding="utf-8-sig"
    )
    run = read_run(path)
    assert run == {"q1": [("a", 10.0), ("b", 1.0), ("c", 1.0)], "q2": [("a", 7.0)]}
    assert to_ranking(run, ["q2", "other"], PASSAGES).ids == [[0], []]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 a 1 2.0", "x.run:2: 5 columns, expected 6"),
        ("q1 Q0 a b 1 2.0 t", "x.run:2: 7 columns"),
        ("q1 Q0 a first 2.0 t", "x.run:2: rank 'first' is not a whole number"),
        ("q1 Q0 a 1 high t", "x.run:2: score 'high'"),
        ("q1 Q0 a 1 nan t", "x.run:2: score 'nan'"),
        ("q1 Q0 z 2 1.0 t", "x.run:2: question q1 has passage z already"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "x.run"
    path.write_text(f"q1 Q0 z 1 3 t\n{line}\n", encoding="utf8")
    with pytest.raises(RunError, match=message):
        read_run(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none\.run: cannot be read: No such file"):
        read_run(tmp_path / "none.run")
    (tmp_path / "x.run.gz").write_bytes(b"plain")
    (tmp_path / "cut.run.gz").write_bytes(gzip.compress(b"q1 Q0 a 1 1.0 t\n" * 9)[:-9])
    (tmp_path / "latin.run").write_bytes("q\xe9 Q0 a 1 1 t".encode("latin-1"))
    for name, message in (("x.run.gz", "gzip"), ("cut.run.gz", "cannot be read"), ("latin.run", "not UTF-8")):
        with pytest.raises(RunError, match=message):
            read_run(tmp_path / name)


def test_an_unknown_passage_is_named() -> None:
    with pytest.raises(RunError, match="question q1: passage z is not one of the 3"):
        to_ranking({"q1": [("a", 2.0), ("z", 1.0)]}, ["q1"], PASSAGES)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "x.run"
    one = Ranking([[0, 1]], [np.array([2.0, 1.0])])
    for questions, passages, tag in (
        (["q 1"], PASSAGES, "t"),
        (["q"], ["", "b"], "t"),
        (["q"], PASSAGES, "a b"),
    ):
        with pytest.raises(RunError, match="holds blanks"):
            write_run(path, questions, passages, one, tag)
    with pytest.raises(ValueError, match="2 question ids for the rankings of 1"):
        write_run(path, ["q", "r"], PASSAGES, one, "t")
    for scores in ([1.0, 2.0], [np.inf, 1.0], [1.0]):
        with pytest.raises(ValueError, match="question q: 2 passages need as many finite, falling scores"):
            write_run(path, ["q"], PASSAGES, Ranking([[0, 1]], [np.array(scores)]), "t")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_run(tmp_path / "file" / "x.run", ["q"], PASSAGES, one, "t")
    assert not path.exists()
