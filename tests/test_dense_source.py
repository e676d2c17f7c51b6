"""Batches of questions and passages: what stands in the answer, what is drawn, what long passages become."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data import DataSet, Example, Passage, Question, RetrievalSet
from sbert.dense_objectives import DenseRanking
from sbert.dense_source import DenseSource
from sbert.errors import RunError
from sbert.loop import Settings
from sbert.model import modelWithPooling
from sbert.stages import _warn_of_lonely_rows
from tests.tiny_models import save_tiny, tiny_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> modelWithPooling:
    return tiny_model(save_tiny(tmp_path_factory.mktemp("tiny") / "bert"))


def ranking(*rows: tuple[tuple[str, ...], tuple[float, ...]]) -> DataSet:
    return DataSet("made-up", "all", "ranking", "en", [Example(texts, label) for texts, label in rows], {})


def retrieval() -> RetrievalSet:
    """Two questions about the cat, one about the dog, which a second passage answers as well."""
    passages = [
        Passage("p1", "the cat sat", "A"),
        Passage("p2", "a dog ran", "A"),
        Passage("p3", "the dog", "B"),
    ]
    questions = [Question("q1", "who sat"), Question("q2", "what sat"), Question("q3", "who ran")]
    relevant = {"q1": {"p1": 1}, "q2": {"p1": 1}, "q3": {"p2": 1, "p3": 1}}
    return RetrievalSet("made-up", "train", "en", passages, questions, relevant, {})


def source(encoder: modelWithPooling, dataset: DataSet | RetrievalSet, negatives: int = 1) -> DenseSource:
    return DenseSource.build(dataset, DenseRanking(encoder), negatives)


def texts_of(made: DenseSource, column: dict[str, torch.Tensor]) -> list[str]:
    """The passages of a column, by their tokens."""
    known = {tuple(ids): text for text, ids in made.passage_ids.items()}
    rows = zip(column["input_ids"].tolist(), column["attention_mask"].sum(1).tolist(), strict=True)
    return [known[tuple(ids[:length])] for ids, length in rows]


def ids(encoder: modelWithPooling, text: str) -> list[int]:
    assert encoder.tokenizer is not None
    return encoder.tokenizer(text)["input_ids"]


def test_a_passage_comes_once_and_never_counts_against_its_questions(encoder: modelWithPooling) -> None:
    made = source(encoder, retrieval())
    assert made.rows.questions == ["who sat", "what sat", "who ran", "who ran"]
    batch = made.batch([0, 1, 2, 3], CPU)
    assert batch.answer is not None and batch.size == 4
    nan = torch.nan
    expected = torch.tensor(  # passages: cat, a dog, the dog
        [[1, 0, 0], [1, 0, 0], [0, 1, nan], [0, nan, 1]]
    )
    torch.testing.assert_close(batch.answer, expected, equal_nan=True)
    assert texts_of(made, batch.features[1]) == ["the cat sat", "a dog ran", "the dog"]


def test_keys_are_question_and_passage(encoder: modelWithPooling) -> None:
    made = source(encoder, retrieval())
    assert made.keys[0][1] == made.keys[1][1] != made.keys[2][1]
    assert made.keys[2][0] == made.keys[3][0]


def test_a_long_passage_is_trained_by_the_window_that_answers(tmp_path: Path) -> None:
    encoder = tiny_model(save_tiny(tmp_path / "bert"))
    encoder.max_length = 8
    text = "the cat sat a dog ran the cat ran a cat sat the dog sat"
    found = retrieval()
    long = RetrievalSet(
        "made-up",
        "train",
        "en",
        [Passage("p1", text)],
        [Question("q1", "who sat", ("dog sat",)), Question("q2", "who ran", ("nowhere",))],
        {"q1": {"p1": 1}, "q2": {"p1": 1}},
        {},
    )
    assert len(found)
    made = source(encoder, long)
    assert made.truncated_share == 0
    assert made.rows.right[0].endswith("dog sat") and made.rows.right[1].startswith("the cat sat a")
    batch = made.batch([0, 1], CPU)
    assert batch.answer is not None
    # two windows of one passage: the other one is not a wrong answer
    torch.testing.assert_close(batch.answer, torch.tensor([[1, torch.nan], [torch.nan, 1]]), equal_nan=True)


def test_own_negatives_are_drawn_anew_and_repeat_with_the_seed(encoder: modelWithPooling) -> None:
    wrong = ("a dog ran", "the dog", "a cat", "the cat ran")
    made = source(encoder, ranking((("who sat", "the cat sat", *wrong), (1.0, 0.0, 0.0, 0.0, 0.0))), 2)

    def drawn(seed: int) -> list[str]:
        torch.manual_seed(seed)
        return texts_of(made, made.batch([0], CPU).features[1])

    assert len(drawn(0)) == 3 and drawn(0)[0] == "the cat sat" and drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(8)}) > 1
    none = source(encoder, ranking((("who sat", "the cat sat", *wrong), (1.0, 0.0, 0.0, 0.0, 0.0))), 0)
    assert texts_of(none, none.batch([0], CPU).features[1]) == ["the cat sat"]


def test_another_rows_negative_may_be_right_here(encoder: modelWithPooling) -> None:
    rows = (
        (("who sat", "the cat sat", "a dog ran"), (1.0, 0.0)),
        (("who ran", "a dog ran", "the cat sat"), (1.0, 0.0)),
    )
    batch = source(encoder, ranking(*rows)).batch([0, 1], CPU)
    assert batch.answer is not None and batch.answer.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_parts_of_one_passage_are_never_wrong_answers_of_its_questions(encoder: modelWithPooling) -> None:
    """As experiments.mine writes them: two windows of p1, one of them another row's positive; p3 is right, too."""
    rows = [
        Example(
            ("who sat", "the cat sat", "a dog ran"), (1.0, 0.0), passages=("p1", "p2"), relevant=("p1", "p3")
        ),
        Example(("who ran", "the cat ran", "the dog"), (1.0, 0.0), passages=("p1", "p3"), relevant=("p1",)),
    ]
    made = source(encoder, DataSet("made-up", "all", "ranking", "en", rows, {}))
    assert made.keys[0][1] == made.keys[1][1]  # one passage: not in one batch, where there are others
    batch = made.batch([0, 1], CPU)
    assert (
        batch.answer is not None
    )  # passages: the cat sat (p1), the cat ran (p1), a dog ran (p2), the dog (p3)
    nan = torch.nan
    expected = torch.tensor([[1, nan, 0, nan], [nan, 1, 0, 0]])
    torch.testing.assert_close(batch.answer, expected, equal_nan=True)


def test_triplets_and_token_counts(encoder: modelWithPooling) -> None:
    triplets = DataSet(
        "made-up", "all", "triplet", "en", [Example(("who sat", "the cat sat", "a dog"), None)], {}
    )
    batch = source(encoder, triplets).batch([0], CPU)
    assert batch.answer is not None and batch.answer.tolist() == [[1.0, 0.0]]
    question, right, wrong = (len(ids(encoder, text)) for text in ("who sat", "the cat sat", "a dog"))
    assert batch.real_tokens == question + right + wrong
    assert batch.padded_tokens == question + 2 * max(right, wrong)


def test_prompts_stand_before_questions_and_passages(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "bert")
    encoder = tiny_model(folder, prompts={"query": "a ", "document": "the "})
    made = source(encoder, retrieval())
    batch = made.batch([0], CPU)
    assert batch.features[0]["input_ids"].tolist() == [ids(encoder, "a who sat")]
    assert batch.features[1]["input_ids"].tolist() == [ids(encoder, "the the cat sat")]
    silent = tiny_model(folder, prompts={"query": "a "}, include_prompt=False)
    with pytest.raises(RunError, match="pooling leaves prompts out"):
        source(silent, retrieval())


def test_what_cannot_be_trained_on(encoder: modelWithPooling) -> None:
    with pytest.raises(RunError, match="no examples"):
        source(encoder, ranking())
    with pytest.raises(RunError, match="made-up is sts data; DenseRanking takes retrieval or ranking"):
        source(encoder, DataSet("made-up", "all", "sts", "en", [Example(("a", "b"), 0.5)], {}))
    with pytest.raises(RunError, match="no question has a passage"):
        source(encoder, ranking((("who sat", "a dog"), (0.0,))))


def test_topics_are_the_articles_where_they_are_known(encoder: modelWithPooling) -> None:
    known = replace(retrieval(), articles=("A", "B"))
    assert source(encoder, known).topics == [("A", "p1"), ("A", "p1"), ("A", "p2"), ("B", "p3")]
    assert source(encoder, retrieval()).topics == [("p1", "p1"), ("p1", "p1"), ("p2", "p2"), ("p3", "p3")]


def test_rows_that_no_batch_can_take_are_told_of(
    encoder: modelWithPooling, caplog: pytest.LogCaptureFixture
) -> None:
    """Nine answers of one question and one of another: a batch of two rows and eight of one."""
    caplog.set_level(logging.WARNING, logger="sbert")
    rows = [(("what", f"answer {i}"), (1.0,)) for i in range(9)] + [(("who", "the cat"), (1.0,))]
    settings = Settings(batch_size=4, sampler="auto")
    _warn_of_lonely_rows(source(encoder, ranking(*rows)), settings)
    assert "made-up: 8 of 9 batches hold a single row, which has nothing to be told apart from" in caplog.text
    caplog.clear()
    with_negatives = [((*texts, f"wrong {i}"), (1.0, 0.0)) for i, (texts, _) in enumerate(rows)]
    _warn_of_lonely_rows(source(encoder, ranking(*with_negatives)), settings)
    others = [((f"question {i}", f"answer {i}"), (1.0,)) for i in range(8)]
    _warn_of_lonely_rows(source(encoder, ranking(*others)), settings)
    assert not caplog.text
