"""A user's own ranking and margin files: what each layout becomes, and the one line of every malformed row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from data_files import jsonl, row, write

import data
from data.examples import DataError, Example


def read(folder: Path, *items: dict[str, Any]) -> data.DataSet:
    return data.load(str(write(folder, "x.jsonl", jsonl(*items), end="")))


def contrasted(positive: object, negative: object, **more: object) -> dict[str, Any]:
    return {"query": "q", "positive": positive, "negative": negative, **more}


def retrieved(positive: object, documents: object, **more: object) -> dict[str, Any]:
    return {"query": "q", "positive": positive, "documents": documents, **more}


def graded(documents: object, scores: object, **more: object) -> dict[str, Any]:
    return {"query": "q", "documents": documents, "scores": scores, **more}


def margin(value: object) -> dict[str, Any]:
    return {"anchor": "a", "positive": "p", "negative": "n", "margin": value}


# ---------------------------------------------------------------- layouts


def test_positives_then_negatives(tmp_path: Path) -> None:
    loaded = read(tmp_path, contrasted(" p ", "n"), contrasted(["p1", "p2"], ["n1", "n2", "n3"], id=7))
    assert (loaded.task, loaded.name, loaded.split, loaded.skipped) == ("ranking", "x", "all", 0)
    assert loaded.examples == [
        Example(("q", "p", "n"), (1.0, 0.0)),
        Example(("q", "p1", "p2", "n1", "n2", "n3"), (1.0, 1.0, 0.0, 0.0, 0.0)),
    ]
    assert loaded.examples[0].retrieved is None


def test_retrieved_documents_keep_their_order_and_missed_positives_follow(tmp_path: Path) -> None:
    loaded = read(
        tmp_path,
        retrieved("b", ["a", "b", "c"]),
        retrieved(["z", "b", "y"], ["a", "b"]),
        retrieved("z", ["a"]),
    )
    assert loaded.task == "ranking"
    assert loaded.examples == [
        Example(("q", "a", "b", "c"), (0.0, 1.0, 0.0), 3),
        Example(("q", "a", "b", "z", "y"), (0.0, 1.0, 1.0, 1.0), 2),
        Example(("q", "a", "z"), (0.0, 1.0), 1),
    ]


def test_texts_are_compared_without_blanks_around_them(tmp_path: Path) -> None:
    loaded = read(tmp_path, retrieved([" b"], ["a", "b\n"]))
    assert loaded.examples == [Example(("q", "a", "b"), (0.0, 1.0), 2)]


def test_a_positive_named_twice_counts_once(tmp_path: Path) -> None:
    assert read(tmp_path, contrasted(["p", "o", "p "], ["n"])).examples == [
        Example(("q", "p", "o", "n"), (1.0, 1.0, 0.0))
    ]
    assert read(tmp_path, retrieved(["z", "z"], ["a"])).examples == [Example(("q", "a", "z"), (0.0, 1.0), 1)]


def test_documents_and_negatives_listed_twice_stay(tmp_path: Path) -> None:
    assert read(tmp_path, contrasted("p", ["n", "n"])).examples[0].label == (1.0, 0.0, 0.0)
    assert read(tmp_path, retrieved("b", ["b", "a", "b"])).examples == [
        Example(("q", "b", "a", "b"), (1.0, 0.0, 1.0), 3)
    ]
    assert read(tmp_path, graded(["a", "a"], [1, 0])).examples == [Example(("q", "a", "a"), (1.0, 0.0))]


def test_graded_documents(tmp_path: Path) -> None:
    loaded = read(tmp_path, graded(["a", "b", "c"], [2, 0, 0.5]), graded(["only"], ["3"]))
    assert loaded.task == "ranking"
    assert loaded.examples == [Example(("q", "a", "b", "c"), (2.0, 0.0, 0.5)), Example(("q", "only"), (3.0,))]
    label = loaded.examples[0].label
    assert isinstance(label, tuple)
    assert all(type(relevance) is float for relevance in label)


def test_margins(tmp_path: Path) -> None:
    loaded = read(tmp_path, margin(3), margin(-0.5), margin("1e-2"))
    assert loaded.task == "margin"
    assert loaded.examples == [Example(("a", "p", "n"), value) for value in (3.0, -0.5, 0.01)]
    assert type(loaded.examples[0].label) is float


@pytest.mark.parametrize("name, separator", [("x.tsv", "\t"), ("x.csv", ","), ("x.tsv.gz", "\t")])
def test_margins_in_a_table(tmp_path: Path, name: str, separator: str) -> None:
    text = separator.join(("margin", "anchor", "positive", "negative")) + "\n"
    text += separator.join(("-2.5", "a", "p", "n")) + "\n"
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    loaded = data.load(str(tmp_path / name))
    assert loaded.task == "margin"
    assert loaded.examples == [Example(("a", "p", "n"), -2.5)]


def test_a_triplet_needs_no_margin(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"anchor": "a", "positive": "p", "negative": "n", "id": 1})
    assert (loaded.task, loaded.examples) == ("triplet", [Example(("a", "p", "n"), None)])


# ---------------------------------------------------------------- malformed rows

MALFORMED = [
    (contrasted("p", "n"), contrasted([], "n"), r"positive \[\] is empty; need at least one text"),
    (contrasted("p", "n"), contrasted("p", []), r"negative \[\] is empty; need at least one text"),
    (contrasted("p", "n"), contrasted("", "n"), r"positive\[0\]: empty sentence"),
    (contrasted("p", "n"), contrasted("p", ["n", "m", " "]), r"negative\[2\]: empty sentence"),
    (contrasted("p", "n"), contrasted(["p", 5], "n"), r"positive\[1\]: sentence 5 is not a text"),
    (contrasted("p", "n"), contrasted(5, "n"), r"positive 5 is not a text or a list of texts"),
    (contrasted("p", "n"), contrasted(None, "n"), r"positive None is not a text or a list"),
    (contrasted("p", "n"), contrasted({"t": "p"}, "n"), r"positive \{'t': 'p'\} is not a text or"),
    (contrasted("p", "n"), contrasted("p", True), r"negative True is not a text or a list"),
    (contrasted("p", "n"), contrasted(["p", "o"], ["n", "o "]), r"negative 'o' is also a positive; need it"),
    (contrasted("p", "n"), {"query": "q", "positive": "p"}, r"no field negative"),
    (contrasted("p", "n"), {"query": "q", "negative": "n"}, r"no field positive"),
    (contrasted("p", "n"), {"positive": "p", "negative": "n"}, r"no field query"),
    (contrasted("p", "n"), contrasted("p", "n", query=""), r"empty sentence"),
    (contrasted("p", "n"), contrasted("p", "n", query=["q"]), r"sentence \['q'\] is not a text"),
    (
        contrasted("p", "n"),
        contrasted("p", "n", scores=[1, 0]),
        r"field scores is of another layout than the file's: query, positive, negative",
    ),
    (contrasted("p", "n"), retrieved("p", ["p"], negative="n"), r"field documents is of another layout"),
    (contrasted("p", "n"), retrieved("p", ["p"]), r"field documents is of another layout"),
    (retrieved("p", ["p"]), retrieved("p", []), r"documents \[\] is empty; need at least one text"),
    (retrieved("p", ["p"]), retrieved("p", "p"), r"documents 'p' is not a list of texts"),
    (retrieved("p", ["p"]), retrieved("p", {"p": 1}), r"documents \{'p': 1\} is not a list of texts"),
    (retrieved("p", ["p"]), retrieved("p", ["a", ""]), r"documents\[1\]: empty sentence"),
    (retrieved("p", ["p"]), retrieved("p", ["a", ["b"]]), r"documents\[1\]: sentence \['b'\] is not a text"),
    (
        retrieved("p", ["p"]),
        retrieved("p", ["\ud800"]),
        r"documents\[0\]: sentence '\\ud800' does not encode",
    ),
    (retrieved("p", ["p"]), retrieved([], ["a"]), r"positive \[\] is empty; need at least one text"),
    (retrieved("p", ["p"]), {"query": "q", "documents": ["a"]}, r"no field positive"),
    (
        retrieved("p", ["p"]),
        retrieved("p", ["p"], negative="n", scores=[1]),
        r"field negative, scores is of another layout than the file's: query, positive, documents",
    ),
    (graded(["a"], [1]), graded(["a", "b"], [1]), r"1 scores \[1\] for 2 documents; need as many"),
    (graded(["a"], [1]), graded(["a"], [1, 0]), r"2 scores \[1, 0\] for 1 documents; need as many"),
    (graded(["a"], [1]), graded([], []), r"documents \[\] is empty"),
    (graded(["a"], [1]), graded("a", [1]), r"documents 'a' is not a list of texts"),
    (graded(["a"], [1]), graded(["a"], 1), r"scores 1 is not a list of numbers, one for each document"),
    (graded(["a"], [1]), graded(["a"], "1"), r"scores '1' is not a list of numbers"),
    (graded(["a"], [1]), graded(["a", "b"], [1, -0.5]), r"scores\[1\] -0.5 is not a finite number >= 0"),
    (graded(["a"], [1]), graded(["a"], [float("nan")]), r"scores\[0\] nan is not a finite number >= 0"),
    (graded(["a"], [1]), graded(["a"], [float("inf")]), r"scores\[0\] inf is not a finite number >= 0"),
    (graded(["a"], [1]), graded(["a"], [10**400]), r"scores\[0\] 10{76}\.\.\. is not a finite number >= 0"),
    (graded(["a"], [1]), graded(["a"], [True]), r"scores\[0\] True is not a finite number >= 0"),
    (graded(["a"], [1]), graded(["a"], [None]), r"scores\[0\] None is not a finite number >= 0"),
    (graded(["a"], [1]), graded(["a"], ["high"]), r"scores\[0\] 'high' is not a finite number >= 0"),
    (graded(["a"], [1]), graded(["a"], [[1]]), r"scores\[0\] \[1\] is not a finite number >= 0"),
    (
        graded(["a"], [1]),
        graded(["a", "b"], [0, 0.0]),
        r"scores \[0, 0.0\]: no document is relevant; need at",
    ),
    (graded(["a"], [1]), {"query": "q", "documents": ["a"]}, r"no field scores"),
    (
        graded(["a"], [1]),
        graded(["a"], [1], positive="a"),
        r"field positive is of another layout than the file's: query, documents, scores",
    ),
    (margin(1), margin("wide"), r"margin 'wide' is not a finite number"),
    (margin(1), margin(float("-inf")), r"margin -inf is not a finite number"),
    (margin(1), margin("nan"), r"margin 'nan' is not a finite number"),
    (margin(1), margin(-(10**400)), r"margin -10{75}\.\.\. is not a finite number"),
    (margin(1), margin(False), r"margin False is not a finite number"),
    (margin(1), margin(None), r"margin None is not a finite number"),
    (margin(1), margin([1]), r"margin \[1\] is not a finite number"),
    (margin(1), {"anchor": "a", "positive": "p", "negative": "n"}, r"no field margin"),
    (margin(1), margin(1) | {"positive": ["p"]}, r"sentence \['p'\] is not a text"),
    (
        {"anchor": "a", "positive": "p", "negative": "n"},
        margin(1),
        r"field margin is of another layout than the file's: anchor, positive, negative",
    ),
]


@pytest.mark.parametrize(("good", "bad", "message"), MALFORMED, ids=[str(i) for i in range(len(MALFORMED))])
def test_malformed_row(tmp_path: Path, good: dict[str, Any], bad: dict[str, Any], message: str) -> None:
    """The good row decides the layout; the bad one stands on line 2."""
    path = write(tmp_path, "x.jsonl", json.dumps(good), json.dumps(bad))
    with pytest.raises(data.DataError, match=rf"x\.jsonl:2: {message}") as caught:
        data.load(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (
            retrieved("p", ["p"], negative="n"),
            r"more than one task in the columns query, positive, documents, neg",
        ),
        (
            graded(["a"], [1], positive="a"),
            r"more than one task in the columns query, documents, scores, posit",
        ),
        (graded(["a"], [1], sentence1="a", sentence2="b", score=1), r"more than one task in the columns"),
        (
            {"query": "q", "documents": ["a"]},
            r"no known task in the columns query, documents; need exactly one",
        ),
    ],
)
def test_first_row_of_no_one_layout(tmp_path: Path, first: dict[str, Any], message: str) -> None:
    with pytest.raises(data.DataError, match=rf"x\.jsonl:1: {message}") as caught:
        read(tmp_path, first)
    for layout in (
        "sentence1, sentence2, score",
        "sentence1, sentence2, label (or gold_label)",
        "anchor, positive, negative",
        "anchor, positive, negative, margin",
        "query, positive, negative",
        "query, positive, documents",
        "query, documents, scores",
    ):
        assert layout in str(caught.value).split("exactly one of: ")[1].split(" | ")


def test_a_table_of_rankings_is_told_of_jsonl(tmp_path: Path) -> None:
    path = write(tmp_path, "x.tsv", row("query", "positive", "negative"), row("q", "p", "n"))
    with pytest.raises(
        data.DataError, match=r"x\.tsv:2: no known task .* \| in \.jsonl query, positive, neg"
    ):
        data.load(str(path))


def test_parts_of_passages(tmp_path: Path) -> None:
    row = {
        "query": "q",
        "positive": ["a"],
        "negative": ["b", "c"],
        "passages": ["p1", "p2", "p3"],
        "relevant": ["p1", "p9"],
    }
    path = tmp_path / "mined.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf8")
    (example,) = data.load(str(path)).examples
    assert (example.passages, example.relevant) == (("p1", "p2", "p3"), ("p1", "p9"))
    path.write_text(json.dumps({**row, "passages": ["p1"]}) + "\n", encoding="utf8")
    with pytest.raises(DataError, match="1 passages for 3 texts; need one each, or none"):
        data.load(str(path))
    path.write_text(json.dumps({**row, "relevant": "p1"}) + "\n", encoding="utf8")
    with pytest.raises(DataError, match="relevant 'p1' is not a list of names"):
        data.load(str(path))
