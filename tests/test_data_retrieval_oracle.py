"""Published sizes of the sets for retrieval, and the splits that rest on them, on the real files (SBERT_DATA)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import data
from data.sets_retrieval import RETRIEVAL_SETS

REAL = os.environ.get("SBERT_DATA")
pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(not REAL, reason="SBERT_DATA is not set: no real data to count"),
]


def load(name: str) -> data.RetrievalSet:
    return data.load_retrieval(name, data_dir=REAL, download=False)


@pytest.mark.parametrize(
    ("name", "articles", "passages", "questions"),
    [
        ("korquad-train", 90, 961, 3530),
        ("korquad-dev", 10, 961, 681),
        ("korquad-test", 40, 961, 1563),
        ("squad-train", 40, 2429, 10890),
        ("squad-dev", 4, 2429, 987),
        ("squad-test", 48, 2067, 10570),
        ("tydiqa-ko-train", 0, 1269, 1625),
        ("tydiqa-ko-dev", 0, 228, 276),
        ("nfcorpus-train", 0, 3633, 2590),
        ("nfcorpus-dev", 0, 3633, 324),
        ("nfcorpus-test", 0, 3633, 323),
        ("scifact-test", 0, 5183, 300),
    ],
)
def test_sizes(name: str, articles: int, passages: int, questions: int) -> None:
    found = load(name)
    assert (len(found.articles), len(found.passages), len(found.questions)) == (articles, passages, questions)
    entry = RETRIEVAL_SETS[found.name]
    assert (entry.rows[found.split], entry.passages[found.split]) == (questions, passages)
    ids = {passage.id for passage in found.passages}
    assert len(ids) == passages and len({question.id for question in found.questions}) == questions
    assert list(found.relevant) == [question.id for question in found.questions]
    assert all(
        grades and set(grades) <= ids and min(grades.values()) > 0 for grades in found.relevant.values()
    )
    assert found.skipped == 0


def test_korquad_splits_make_up_the_whole() -> None:
    splits = [load(f"korquad-{split}") for split in ("train", "dev", "test")]
    assert len({title for found in splits for title in found.articles}) == 140
    assert len({question.id for found in splits for question in found.questions}) == 5774
    homes = [{home for grades in found.relevant.values() for home in grades} for found in splits]
    # no passage answers questions of two splits; one of the 961 has no question
    assert sum(map(len, homes)) == len(set.union(*homes)) == 960


def test_squad_train_articles() -> None:
    train, dev = load("squad-train"), load("squad-dev")
    assert len({*train.articles, *dev.articles}) == 44
    assert len(train.questions) + len(dev.questions) == 11877
    pool = {passage.text for passage in train.passages}
    assert not pool & {passage.text for passage in load("squad").passages}


def test_graded_relevance_of_nfcorpus() -> None:
    grades = [grade for found in load("nfcorpus").relevant.values() for grade in found.values()]
    assert (grades.count(1), grades.count(2), len(grades)) == (11758, 576, 12334)


def test_answers_stand_in_their_passage() -> None:
    for name in ("korquad-test", "squad-test"):
        found = load(name)
        text = {passage.id: passage.text for passage in found.passages}
        for question in found.questions:
            (home,) = found.relevant[question.id]
            assert question.answers and all(answer in text[home] for answer in question.answers)


def test_stated_overlap_of_tydiqa() -> None:
    train, dev = load("tydiqa-ko-train"), load("tydiqa-ko-dev")
    shared = {passage.id for passage in train.passages} & {passage.id for passage in dev.passages}
    about = sum(not shared.isdisjoint(grades) for grades in dev.relevant.values())
    both = {question.text for question in train.questions} & {question.text for question in dev.questions}
    assert RETRIEVAL_SETS["tydiqa-ko"].overlaps[0].text.startswith(f"{about} of the 276 questions")
    assert f"{len(both)} stand in both" in RETRIEVAL_SETS["tydiqa-ko"].overlaps[0].text


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("korquad", "13c7851b1b3432fef9a0580bc92c0ad4b962ff783bfe346918dc9060b9c1b940"),
        ("squad", "51dc20af0bb22062f2c590e699120cab2e991afa949e0ce4acadf7d7c712680e"),
    ],
)
def test_splits_are_frozen(tmp_path: Path, name: str, sha256: str) -> None:
    """Every figure on these sets rests on these ids; the file of ids is the same bytes every time."""
    splits = [load(f"{name}-{split}") for split in ("train", "dev", "test")]
    assert data.write_split(tmp_path / "ids.json", *splits) == sha256
