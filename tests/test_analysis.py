"""The analysis of run files: counts by hand, claims that turn with the numbers, files, and wrong input."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import data
from experiments.analysis import __main__ as analysis
from experiments.analysis import compare
from experiments.analysis.bootstrap import Bootstrap, Estimate
from experiments.analysis.claims import Claim, Grounds, groups_check, number, plain, said, verdict
from experiments.analysis.failures import around, likest, worst
from experiments.analysis.features import features, measure
from experiments.analysis.report import shared_table
from experiments.analysis.study import NOT_FOUND, Study, find_roles, load_study
from sbert.errors import RunError, UsageError
from sbert.retrieval import Ranking
from sbert.retrieval.trec import write_run

ARTICLES, PASSAGES, ASKED = 8, 4, 4  # articles, passages of each, questions of each passage: 128 questions


@pytest.fixture
def dataset(tmp_path: Path) -> data.RetrievalSet:
    """Passages of made-up words; each has two questions in its own words and two in words of no passage."""
    articles = []
    for a in range(ARTICLES):
        paragraphs = []
        for p in range(PASSAGES):
            own = [f"w{a}x{p}x{i}" for i in range(6)]
            qas = [
                {
                    "id": f"q{a}-{p}-{i}",
                    "question": f"Which topic{a} has {own[i]}?"
                    if i < 2
                    else f"Why is other{i} topic{a} unlike?",
                    "answers": [{"text": own[4 if i % 2 else 0]}],
                }
                for i in range(ASKED)
            ]
            paragraphs.append({"context": f"topic{a} {' '.join(own)} {'more ' * p}.", "qas": qas})
        articles.append({"title": f"Article {a}", "paragraphs": paragraphs})
    path = tmp_path / "made.json"
    path.write_text(json.dumps({"data": articles}), encoding="utf8")
    return data.load_retrieval(str(path))


def write(
    folder: Path, dataset: data.RetrievalSet, name: str, ranks: Sequence[int | None], depth: int = 20
) -> Path:
    """A run that has the right passage of each question at the rank given (None: nowhere)."""
    position = {passage.id: i for i, passage in enumerate(dataset.passages)}
    ranking = Ranking([], [])
    for question, rank in zip(dataset.questions, ranks, strict=True):
        right = position[next(iter(dataset.relevant[question.id]))]
        row = [i for i in range(len(position)) if i != right]
        if rank is not None:
            row.insert(rank - 1, right)
        ranking.ids.append(row[:depth])
        ranking.scores.append(-np.arange(depth, dtype=float))
    path = folder / f"{name}.run"
    write_run(path, [q.id for q in dataset.questions], list(position), ranking, name)
    return path


@pytest.fixture
def runs(tmp_path: Path, dataset: data.RetrievalSet) -> dict[str, Path]:
    """bm25 has what is asked in the passage's words, dense half of all; hybrid and rerank have more."""
    count = len(dataset.questions)
    ranks: dict[str, list[int | None]] = {
        "bm25": [1 if i % 4 < 2 else (None if i % 8 == 2 else 12) for i in range(count)],
        "dense": [(3, 2, 1, 7)[i % 4] if i % 16 else 1 for i in range(count)],
        "hybrid": [(1, 1, 1, 4)[i % 4] for i in range(count)],
        "rerank": [(1, 2, 1, 1)[i % 4] for i in range(count)],
    }
    return {name: write(tmp_path, dataset, name, row) for name, row in ranks.items()}


def study_of(dataset: data.RetrievalSet, runs: dict[str, Path], **roles: str) -> Study:
    return load_study(dataset, runs, roles, [])


def claims_of(study: Study) -> dict[str, Claim]:
    facts = measure(study.dataset)
    bootstrap = Bootstrap(len(study), study.article(), resamples=400)
    grounds = Grounds(study, bootstrap, facts, {feature.name: feature for feature in features(facts)})
    return {claim.name: claim for claim in analysis.all_claims(grounds)}


def test_counts_by_hand(dataset: data.RetrievalSet, runs: dict[str, Path]) -> None:
    """Of 128 questions bm25 has 64 at rank 1, 16 nowhere, 48 at 12; dense 8 + 32 at 1, 24 at 3, 32 at 2 and at 7."""
    study = study_of(dataset, runs)
    bm25, dense = study.systems["bm25"], study.systems["dense"]
    assert {int(rank): int((bm25.rank == rank).sum()) for rank in set(bm25.rank)} == {
        1: 64,
        12: 48,
        NOT_FOUND: 16,
    }
    every = np.ones(128, dtype=bool)
    metrics = compare.metrics_of(bm25, every, 32)
    assert metrics == {
        **{"R@1": 0.5, "R@5": 0.5, "R@10": 0.5, "R@20": 112 / 128},
        **{"R@100": None, "MRR@10": 0.5, "nDCG@10": 0.5},  # lists end at 20 of 32 passages
    }
    pair = compare.pairs(study, Bootstrap(128, resamples=10))[0]
    assert (pair.one, pair.other) == ("dense", "bm25")
    assert pair.found[1] == {"both": 8, "only one": 32, "only other": 56, "neither": 32}
    assert pair.found[10] == {"both": 64, "only one": 64, "only other": 0, "neither": 0}
    mrr = (40 + 24 / 3 + 32 / 2 + 32 / 7) / 128
    assert pair.gaps["MRR@10"].value == pytest.approx(mrr - 0.5)
    assert dense.depth == 20
    assert compare.recall_curve(dense, every, 3).tolist() == [40 / 128, 72 / 128, 96 / 128]


def test_buckets_and_transitions() -> None:
    ranks = np.array([1, 2, 5, 6, 10, 11, 20, 21, 100, 101, NOT_FOUND])
    assert compare.buckets(ranks).tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    before, after = np.array([1, 1, 3, 30, NOT_FOUND, 3]), np.array([1, 2, 1, 8, NOT_FOUND, 1])
    where = np.array([True, True, True, True, True, False])
    table = compare.transitions(before, after, where)
    assert table.sum() == 5 and [table[0, 0], table[0, 1], table[1, 0], table[4, 2], table[5, 5]] == [1] * 5
    assert compare.repairs(before, after, where, 1) == {
        "repaired": 1,
        "broken": 1,
        "kept": 1,
        "still missed": 2,
    }
    assert compare.repairs(before, after, where, 10) == {
        "repaired": 1,
        "broken": 0,
        "kept": 3,
        "still missed": 1,
    }


def test_fusion_and_reranking_by_hand(dataset: data.RetrievalSet, runs: dict[str, Path]) -> None:
    study = study_of(dataset, runs)
    rows = {row["group"]: (row["questions"], row["found"]) for row in compare.fusion_table(study, 1)}
    assert rows == {"both find it": (8, 8), "only bm25": (56, 56), "only dense": (32, 32), "neither": (32, 0)}
    found = claims_of(study)["rerank"]
    # 32 missed by hybrid, all at 4, and all repaired; 32 of its 96 broken; lists differ down to rank 4
    assert "Of the 32 questions without the right passage at rank 1 it repairs 32 (32 had" in found.text
    assert "among the first 4" in found.text and "of the 96 with it, it breaks 32" in found.text
    assert "keeps 8 of the 8 that both have" in claims_of(study)["fusion"].text


def test_claims_turn_when_the_runs_are_swapped(dataset: data.RetrievalSet, runs: dict[str, Path]) -> None:
    two = {name: runs[name] for name in ("bm25", "dense")}
    there = claims_of(study_of(dataset, two))
    back = claims_of(study_of(dataset, two, sparse="dense", dense="bm25"))
    assert {"gap", "overlap", "matched-overlap", "passage-words", "adds", "where-it-adds"} <= set(there)
    assert "fusion" not in there and "rerank" not in there
    for name in set(there) - {"right-article", "adds"}:
        assert there[name].effect.value == pytest.approx(-back[name].effect.value), name
        assert there[name].effect.sign == -back[name].effect.sign, name
    # both at rank 1: 8, only bm25: 56, only dense: 32, neither: 32
    adds = there["adds"].numbers
    assert adds["dense, missed - all"].value == 32 / 64 - 40 / 128
    assert adds["sparse, missed - all"].value == pytest.approx(56 / 88 - 64 / 128)
    assert back["adds"].numbers["dense, missed - all"].value == pytest.approx(56 / 88 - 64 / 128)
    assert "is easier for dense than all questions are, of which it has .3125: +.1875" in there["adds"].text
    # five of each hold all but the 32 that dense has at 7; the first ten of dense, the better alone, hold every one
    assert there["adds"].numbers["budget"].value == -32 / 128
    assert there["overlap"].effect.sign == -1 and there["where-it-adds"].effect.sign == -1
    assert "this moves the gap towards bm25" in there["overlap"].text
    assert "share less with their passage than the 56 that only bm25 has" in there["where-it-adds"].text
    assert "share more with their passage than the 32 that only dense has" in back["where-it-adds"].text


def test_no_difference_is_said(dataset: data.RetrievalSet, runs: dict[str, Path], tmp_path: Path) -> None:
    """Two runs of equal quality: nothing is claimed of their gap; a better and a worse one: the right words."""
    rng = np.random.default_rng(0)
    one, other = ([int(x) for x in rng.permutation([1, 2] * 64)] for _ in range(2))
    equal = {
        name: write(tmp_path, dataset, f"even-{name}", x) for name, x in (("bm25", one), ("dense", other))
    }
    text = claims_of(study_of(dataset, equal))["gap"].text
    assert text.startswith("dense cannot be told from bm25: MRR@10 .7500 against .7500, +.0000")
    better = {"bm25": runs["bm25"], "dense": write(tmp_path, dataset, "best", [1] * 128)}
    assert claims_of(study_of(dataset, better))["gap"].text.startswith("dense is above bm25")
    assert claims_of(study_of(dataset, better, sparse="dense", dense="bm25"))["gap"].text.startswith(
        "bm25 is below dense: MRR@10 .5000 against 1.0000"
    )


def test_words_for_numbers() -> None:
    estimate = Estimate(-0.05, (-0.1, 0.0123), (-0.2, -0.01), 9)
    assert said(estimate) == "-.0500 [-.1000, +.0123; articles -.2000, -.0100]"
    assert [number(1.5), number(0.0), plain(1.0), plain(0.25)] == ["+1.5000", "+.0000", "1.0000", ".2500"]
    up, down, none = (Estimate(0.0, interval, None, 9) for interval in ((1, 2), (-2, -1), (-1, 1)))
    assert (
        verdict(up, up) == "it holds"
        and "fades" in verdict(up, none)
        and verdict(up, down) == "it turns round"
    )
    nothing = Estimate(float("nan"), (float("nan"), float("nan")), None, 0)
    assert said(nothing) == "not known" and verdict(up, nothing) == "no group holds questions of both kinds"
    assert verdict(none, none) == "no difference here either" and verdict(none, up) == "here there is one"


def test_roles_by_name() -> None:
    roles = find_roles(["bm25", "dense", "hybrid", "hybrid+rerank"], {})
    assert (roles.sparse, roles.dense, roles.fused, roles.reranked) == (
        "bm25",
        "dense",
        "hybrid",
        "hybrid+rerank",
    )
    assert roles.first_stage == "hybrid"
    roles = find_roles(["bm25", "minilm", "bm25+rerank"], {"first_stage": "bm25"})
    assert (roles.dense, roles.fused, roles.first_stage) == ("minilm", None, "bm25")
    assert find_roles(["a", "b", "dense"], {"sparse": "a", "dense": "b"}).dense == "b"
    for names, given, message in (
        (["a", "dense"], {}, "--sparse NAME; there are a, dense"),
        (["bm25", "dense"], {"fused": "x"}, "--fused x: no such run"),
        (["bm25", "dense"], {"sparse": "dense", "dense": "dense"}, "are the same run"),
    ):
        with pytest.raises(UsageError, match=message):
            find_roles(names, given)


def test_failures_show_the_worst_first(dataset: data.RetrievalSet, runs: dict[str, Path]) -> None:
    study = study_of(dataset, runs)
    shown = worst(study, measure(dataset), "bm25", "dense", 3)
    assert [row.question_id for row in shown] == [
        "q0-0-2",
        "q1-0-2",
        "q2-0-2",
    ]  # not found at all; one an article
    assert shown[0].ranks == {"bm25": None, "dense": 1, "hybrid": 1, "rerank": 1}
    assert shown[0].right.startswith("topic0 **w0x0x0**") and shown[0].first_title == "Article 0"
    text = " ".join(f"a{i}" for i in range(40))
    assert around(text, "a20").startswith("... a8 ") and around(text, "a20").endswith(" a32 ...")
    assert " **a20** " in around(text, "a20") and around("xyz", "y") == "x**y**z"
    facts = measure(dataset)
    facts.idf.update({"a30": 2.0, "a2": 1.0})
    assert likest(text, {"a30", "a2"}, facts).startswith("... a7 ") and likest("b c", {"a"}, facts) == "b c"


def command(runs: dict[str, Path], folder: Path, *more: str) -> list[str]:
    named = [f"{name}={path}" for name, path in runs.items()]
    return ["--data", str(folder / "made.json"), "--runs", *named, "--resamples", "200", *more]


def test_the_report(
    dataset: data.RetrievalSet, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert analysis.main(command(runs, tmp_path, "--output", str(out))) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("run ") and "1. dense cannot be told from bm25" in printed
    text = (out / "report.md").read_text(encoding="utf8")
    blocks = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    assert len(blocks) >= 7
    for block in blocks:  # every row of a table has as many cells as its header
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in block.strip().split("\n")}) == 1
    for picture in re.findall(r"!\[.*\]\((.*)\)", text):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    found = json.loads((out / "analysis.json").read_text(encoding="utf8"))
    names = [claim["name"] for claim in found["claims"]]
    assert names == re.findall(r"\(`--claim (.*)`\)", text)
    assert found["runs"]["bm25"]["sha256"] and found["data"]["files"] and found["bootstrap"]["seed"] == 0
    assert np.array(found["reranking"]["transitions"]).sum() == 128
    rows = list(csv.DictReader((out / "questions.csv").open(encoding="utf8")))
    assert len(rows) == 128 and [rows[2]["rank bm25"], rows[2]["rank dense"]] == ["", "1"]
    assert "rerank and hybrid" in (out / "splits.md").read_text(encoding="utf8")
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert analysis.main(command(runs, tmp_path, "--output", str(out))) == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    capsys.readouterr()
    assert analysis.main(command(runs, tmp_path, "--claim", "adds")) == 0
    alone = capsys.readouterr().out
    assert alone.split("\n")[0] in text and "Counter-check: the other way round +" in alone


def test_without_matplotlib(
    dataset: data.RetrievalSet, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    two = {name: runs[name] for name in ("bm25", "dense")}
    assert analysis.main(command(two, tmp_path, "--output", str(tmp_path / "out"))) == 0
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf8")
    assert "No pictures: matplotlib is not installed (`pip install matplotlib`)" in text and "](" not in text
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_run_of_a_sample(dataset: data.RetrievalSet, runs: dict[str, Path]) -> None:
    lines = runs["rerank"].read_text(encoding="utf8").splitlines(keepends=True)
    runs["rerank"].write_text("".join(lines[: 20 * 32]), encoding="utf8")  # the first 32 questions
    with pytest.raises(
        RunError, match=r"rerank\.run: no line for 96 of 128 questions, q2-0-0 the first; .*--partial"
    ):
        study_of(dataset, runs)
    study = load_study(dataset, runs, {}, ["rerank"])
    assert study.notes == ["rerank was made for 32 of the 128 questions and is compared on those."]
    shared = shared_table(study)
    assert shared.startswith("On the 32 questions that every run") and "| rerank | .7500 |" in shared
    assert study.both("rerank", "hybrid").sum() == 32 and study.both("bm25", "dense").all()
    assert "Of the 8 questions without" in claims_of(study)["rerank"].text
    with pytest.raises(UsageError, match="--partial x: no such run"):
        load_study(dataset, runs, {}, ["x"])
    with pytest.raises(UsageError, match="rerank is either --partial or --complete"):
        load_study(dataset, runs, {}, ["rerank"], ["rerank"])


def test_a_complete_run_that_found_little(dataset: data.RetrievalSet, runs: dict[str, Path]) -> None:
    """--complete: what it has no line for it missed, as the metrics of the whole set have it."""
    two = {name: runs[name] for name in ("bm25", "dense")}
    lines = two["bm25"].read_text(encoding="utf8").splitlines(keepends=True)
    two["bm25"].write_text("".join(lines[: 20 * 32]), encoding="utf8")
    study = load_study(dataset, two, {}, [], ["bm25"])
    assert study.systems["bm25"].covered.all() and (study.systems["bm25"].rank[32:] == NOT_FOUND).all()
    assert study.notes == ["bm25 has no line for 96 of 128 questions (q2-0-0 the first): counted as missed."]
    assert claims_of(study)["gap"].text.startswith("dense is above bm25")


def test_nothing_is_claimed_of_a_few_questions(
    dataset: data.RetrievalSet, runs: dict[str, Path], tmp_path: Path
) -> None:
    for path in runs.values():
        lines = path.read_text(encoding="utf8").splitlines(keepends=True)
        path.write_text("".join(lines[: len(lines) * 29 // 128]), encoding="utf8")
    assert not claims_of(study_of(dataset, runs))
    assert analysis.main(command(runs, tmp_path, "--output", str(tmp_path / "out"))) == 0
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf8")
    assert "None: nothing is said about fewer than 30 questions." in report


def test_groups_too_small_to_speak_of_are_said_to_be(
    dataset: data.RetrievalSet, runs: dict[str, Path]
) -> None:
    low, high = (Estimate(x, (x - 0.1, x + 0.1), None, 40) for x in (-0.2, 0.3))
    few = Estimate(0.9, (0.8, 1.0), None, 29)
    assert groups_check([low, few, high, high], "behind", "ahead") == (
        "-.2000 (40), too few (29), +.3000 (40), +.3000 (40); behind in 1 and ahead in 2 of 3, by the interval."
    )
    matched = claims_of(study_of(dataset, runs))["matched-overlap"]
    assert re.search(
        r"With \d bands of lexical overlap counted equally, whatever they hold \(0\.\d to", matched.text
    )
    assert "With other numbers of bands: 2 " in matched.check


def test_short_lists_and_many_answers_are_noted(dataset: data.RetrievalSet, runs: dict[str, Path]) -> None:
    lines = runs["bm25"].read_text(encoding="utf8").splitlines(keepends=True)
    runs["bm25"].write_text("".join(line for line in lines if int(line.split()[3]) <= 3), encoding="utf8")
    two = {name: runs[name] for name in ("bm25", "dense")}
    ids = [passage.id for passage in dataset.passages]
    relevant = {q: dict(grades) | dict.fromkeys(ids[:3], 1) for q, grades in dataset.relevant.items()}
    notes = study_of(dataclasses.replace(dataset, relevant=relevant), two).notes
    assert "the lists of bm25 end at rank 3: what stands below counts as missed." in notes
    assert any("half of the questions have 4 or more relevant passages" in note for note in notes)


def test_questions_without_lines(dataset: data.RetrievalSet, runs: dict[str, Path]) -> None:
    two = {name: runs[name] for name in ("bm25", "dense")}
    lines = two["bm25"].read_text(encoding="utf8").splitlines(keepends=True)
    two["bm25"].write_text("".join(lines[20:]), encoding="utf8")
    study = study_of(dataset, two)
    assert study.notes == ["bm25 has no line for 1 of 128 questions (q0-0-0 the first): counted as missed."]
    assert study.systems["bm25"].rank[0] == NOT_FOUND and study.systems["bm25"].covered.all()
    dense = two["dense"].read_text(encoding="utf8").splitlines(keepends=True)
    two["dense"].write_text("".join(dense[20:]), encoding="utf8")
    study = study_of(dataset, two)
    assert len(study) == 127 and study.notes == ["1 of the 128 questions are in no run and are left out."]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("zz Q0 a 1 1.0 t", r"bm25\.run: question zz is not one of the 128 of made"),
        ("q0-0-0 Q0 nope 1 1.0 t", r"bm25\.run: question q0-0-0: passage nope is not one of the 32"),
        ("q0-0-0 Q0 nope 1 1.0", r"bm25\.run:1: 5 columns"),
    ],
)
def test_wrong_lines(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    runs["bm25"].write_text(f"{line}\n" + runs["bm25"].read_text(encoding="utf8"), encoding="utf8")
    assert analysis.main(command(runs, tmp_path, "--claim", "gap")) == 1
    error = capsys.readouterr().err
    assert re.search(message, error) and error.count("\n") == 1


@pytest.mark.parametrize(
    "more",
    [
        ["--output", "x", "--claim", "gap"],
        ["--claim", "nothing"],
        ["--claim", "gap", "--resamples", "0"],
        ["--claim", "gap", "--sparse", "x"],
    ],
)
def test_wrong_flags(runs: dict[str, Path], tmp_path: Path, more: list[str]) -> None:
    try:
        assert analysis.main(command(runs, tmp_path, *more)) == 2
    except SystemExit as left:
        assert left.code == 2
