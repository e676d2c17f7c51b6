"""Features of questions, each against numbers worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import data
from experiments.analysis.features import answer_position, features, measure, overlap_bands, question_type

TINY = {
    "data": [
        {
            "title": "Birds",
            "paragraphs": [
                {
                    "context": "The red kite nests in oak trees.",
                    "qas": [
                        {
                            "id": "q1",
                            "question": "Where does the red kite nest?",
                            "answers": [{"text": "oak trees"}],
                        },
                        {"id": "q2", "question": "What?", "answers": []},
                    ],
                },
                {
                    "context": "In 1990 the kite came back to the red hills of Wales.",
                    "qas": [
                        {"id": "q3", "question": "In 1990 how many came back?", "answers": [{"text": "kite"}]}
                    ],
                },
            ],
        },
        {
            "title": "Rocks",
            "paragraphs": [
                {
                    "context": "Granite is a hard rock.",
                    "qas": [{"id": "q4", "question": "Name a hard rock", "answers": [{"text": "Granite"}]}],
                }
            ],
        },
    ]
}


@pytest.fixture
def tiny(tmp_path: Path) -> data.RetrievalSet:
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(TINY), encoding="utf8")
    return data.load_retrieval(str(path))


def idf(count: int) -> float:
    return math.log(1 + (3 - count + 0.5) / (count + 0.5))


def test_overlap_weighs_words_by_idf(tiny: data.RetrievalSet) -> None:
    facts = measure(tiny)
    # q1: red and kite are in 2 of 3 passages and in the right one; nest, in none, is not nests
    assert facts.overlap[0] == pytest.approx(2 * idf(2) / (2 * idf(2) + idf(0)))
    assert facts.overlap[1] == 0  # no content word: "what" counts, and is nowhere
    assert facts.overlap[2] == 1  # 1990, came, back
    assert facts.overlap[3] == pytest.approx(
        2 * idf(1) / (2 * idf(1) + idf(0))
    )  # hard, rock; name is nowhere
    np.testing.assert_array_equal(facts.rarest, [2, math.nan, 1, 1])
    assert facts.numbers.tolist() == [False, False, True, False]
    assert facts.type == ["where", "what", "how many", "other"]
    assert facts.question_words.tolist() == [6, 1, 6, 4] and facts.passage_words.tolist() == [7, 7, 12, 5]
    assert facts.answer.tolist()[0] == "The red kite nests in oak trees.".index("oak") / 32
    assert math.isnan(facts.answer[1]) and facts.answer[3] == 0


def test_rows_leave_out_what_is_not_known(tiny: data.RetrievalSet) -> None:
    row = measure(tiny).rows()[1]
    assert row["rarest_word_in_passages"] is None and row["answer_position"] is None and row["overlap"] == 0.0


def test_groups(tiny: data.RetrievalSet) -> None:
    facts = measure(tiny)
    groups = {feature.name: feature for feature in features(facts)}
    assert groups["rarest"].labels == ["1", "2 to 5"] and groups["rarest"].group.tolist() == [1, -1, 0, 0]
    assert groups["answer"].labels == ["first third", "last third"]
    assert groups["answer"].group.tolist() == [1, -1, 0, 0]
    assert groups["numbers"].group.tolist() == [0, 0, 1, 0]
    assert groups["question_words"].labels == ["1 to 4", "6"]  # equal values stay together
    assert groups["question_words"].group.tolist() == [1, 0, 1, 0]
    assert sum(mask.sum() for mask in groups["overlap"].masks) == 4
    bands = overlap_bands(facts)
    assert [bands.labels[i] for i in bands.group] == ["0.2 to 0.4", "0.0 to 0.2", "0.8 to 1.0", "0.4 to 0.6"]


def test_of_several_relevant_passages_the_best_grade_then_the_most_overlap(tiny: data.RetrievalSet) -> None:
    ids = [passage.id for passage in tiny.passages]
    tiny.relevant["q1"] = {ids[2]: 1, ids[1]: 1, ids[0]: 1}
    assert measure(tiny).passage[0] == 0  # 0 and 1 share red and kite; the earlier
    tiny.relevant["q1"] = {ids[2]: 2, ids[0]: 1}
    assert measure(tiny).passage[0] == 2


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who wrote it?", "who"),
        ("In what year did it end?", "when"),
        ("When and where was it?", "when"),
        ("How long is the river?", "how many"),
        ("How is it made?", "how"),
        ("To which city?", "which"),
        ("The whole thing was called?", "other"),  # "who" is no part of a word
        ("임진왜란이 일어난 해는 언제인가?", "when"),
        ("몇 년에 끝났는가?", "when"),
        ("주민은 몇 명인가?", "how many"),
        ("이 책을 쓴 사람은 누구인가?", "who"),
        ("그는 왜 떠났는가?", "why"),
        ("왜란의 다른 이름은?", "other"),
        ("어느 나라에 있는가?", "which"),
        ("수도는 어디인가?", "where"),
        ("무엇으로 만드는가?", "what"),
        ("어떻게 만드는가?", "how"),
    ],
)
def test_question_types(question: str, kind: str) -> None:
    assert question_type(question) == kind


def test_korean_overlap_is_of_letter_pairs(tmp_path: Path) -> None:
    path = tmp_path / "ko.json"
    asked = {"id": "k", "question": "학교에서 누구를 만났는가?", "answers": []}
    passages = [{"context": "학교는 멀다", "qas": [asked]}, {"context": "하늘이 푸르다"}]
    path.write_text(json.dumps({"data": [{"paragraphs": passages}]}), encoding="utf8")
    facts = measure(data.load_retrieval(str(path)))
    weight = {count: math.log(1 + (2 - count + 0.5) / (count + 0.5)) for count in (0, 1)}
    # 학교, 교에, 에서 and 만났, 났는, 는가; of them the passage has 학교 (학교, 교는); 누구를 asks and is left out
    assert facts.korean and facts.overlap[0] == pytest.approx(weight[1] / (weight[1] + 5 * weight[0]))


def test_answer_position() -> None:
    assert answer_position("a bc d bc", ["x", "bc"]) == 2 / 9
    assert answer_position("abc", []) is None and answer_position("abc", ["d"]) is None
