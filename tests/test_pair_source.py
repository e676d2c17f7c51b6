"""Training sets of a cross-encoder: which pairs a batch holds, in which column the right one stands, what is drawn."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_cross

import data
from data.examples import DataSet, Example
from sbert.cross_encoder import CrossEncoder
from sbert.cross_objectives import (
    CHUNK_ROWS,
    CrossBinary,
    CrossLambda,
    CrossListNet,
    CrossMarginMSE,
    CrossRanking,
)
from sbert.errors import RunError
from sbert.pair_source import PairSource, RankingSource, check_fits, grades
from sbert.source import Batch

CPU = torch.device("cpu")
WORDS = ["man", "woman", "dog", "cat", "guitar", "park", "weather", "child",
         "rain", "song", "table", "river", "window", "bread", "street"]  # fmt: skip


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> CrossEncoder:
    return tiny_cross(tiny_model_dir)


def dataset(task: str, examples: list[Example]) -> DataSet:
    return DataSet("made", "train", task, "en", examples, {})


def texts_of(model: CrossEncoder, batch: Batch) -> list[tuple[str, str]]:
    """The pairs of a batch, read back from their ids."""
    found = []
    assert model.tokenizer is not None
    for ids, mask in zip(batch.features[0]["input_ids"], batch.features[0]["attention_mask"], strict=True):
        decoded = model.tokenizer.decode(ids[mask.bool()])
        first, second, _ = decoded.removeprefix("[CLS]").split("[SEP]")
        found.append((first.strip().replace(" ##", ""), second.strip().replace(" ##", "")))
    return found


def lists_of(model: CrossEncoder, batch: Batch) -> list[tuple[str, list[tuple[str, float]]]]:
    """[(query, [(document, its cell of the answer), ...]), ...]: features follow the answer in reading order."""
    assert batch.answer is not None
    left, out = texts_of(model, batch), []
    for row in batch.answer.tolist():
        real = [grade for grade in row if not math.isnan(grade)]
        assert all(math.isnan(grade) for grade in row[len(real) :])
        mine, left = left[: len(real)], left[len(real) :]
        assert len({query for query, _ in mine}) == 1
        out.append((mine[0][0], [(d, grade) for (_, d), grade in zip(mine, real, strict=True)]))
    assert not left
    return out


def written(folder: Path, *rows: dict[str, Any]) -> DataSet:
    """The rows as a user writes them, read by the reader."""
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf8")
    return data.load(str(path))


# ---------------------------------------------------------------- pairs


def test_pairs(model: CrossEncoder) -> None:
    pairs = [("man", "dog"), ("a man", "a dog in the park"), ("a cat", "rain")]
    source = PairSource.build(
        dataset("sts", [Example(pair, i / 2) for i, pair in enumerate(pairs)]), CrossBinary(model), model
    )
    assert source.name == "made-train" and source.truncated_share == 0.0
    assert source.lengths[0] == 5 < source.lengths[2] < source.lengths[1]
    batch = source.batch([1, 0], CPU)
    assert texts_of(model, batch) == [pairs[1], pairs[0]]
    assert batch.answer is not None and batch.answer.tolist() == [0.5, 0.0]
    assert batch.answer.dtype == torch.float32 and batch.size == 2
    real = source.lengths[1] + source.lengths[0]
    assert (batch.real_tokens, batch.padded_tokens) == (real, 2 * source.lengths[1])
    assert int(batch.features[0]["attention_mask"].sum()) == real


def test_class_ids_are_whole(model: CrossEncoder) -> None:
    from sbert.cross_objectives import CrossClassification

    source = PairSource.build(dataset("nli", [Example(("a", "b"), 2)]), CrossClassification(model), model)
    assert source.labels.tolist() == [2] and source.labels.dtype == torch.long


def test_truncated_pairs_are_told(model: CrossEncoder, caplog: pytest.LogCaptureFixture) -> None:
    long = "the man " * 60
    pairs = dataset("sts", [Example(("a", "b"), 0.0), Example(("a", long), 1.0)])
    assert PairSource.build(pairs, CrossBinary(model), model).truncated_share == 0.5
    lists = dataset("ranking", [Example(("a", "b", long), (1.0, 0.0)), Example(("a", "b", "c"), (1.0, 0.0))])
    source = RankingSource.build(lists, CrossListNet(model), model)
    assert source.truncated_share == 0.5 and source.lengths[0] == 64 > source.lengths[1]
    line = (
        "made-train: 1 of 2 pairs (50.0 %) are longer than 64 tokens and are truncated, the longer text first"
    )
    assert caplog.messages == [line, line] and caplog.records[0].levelno == logging.WARNING


# ---------------------------------------------------------------- the right document stands first


ROWS = {
    "several positives": {"query": "who", "positive": ["man", "woman"], "negative": ["dog", "cat"]},
    "retrieved": {"query": "what", "positive": ["guitar", "song"], "documents": ["rain", "guitar", "bread"]},
    "graded": {"query": "where", "documents": ["river", "park", "street"], "scores": [0, 3, 0.5]},
}
EXPECTED = {
    "several positives": [("who", "man", {"dog", "cat"}), ("who", "woman", {"dog", "cat"})],
    "retrieved": [("what", "guitar", {"rain", "bread"}), ("what", "song", {"rain", "bread"})],
    "graded": [("where", "park", {"river"}), ("where", "street", {"river"})],
}


@pytest.mark.parametrize("kind", ROWS)
def test_ranking_has_a_row_for_each_right_document(model: CrossEncoder, tmp_path: Path, kind: str) -> None:
    """Column 0 is right, every other is wrong, and no other right document is in the row."""
    source = RankingSource.build(written(tmp_path, ROWS[kind]), CrossRanking(model, 0), model)
    found = lists_of(model, source.batch(range(len(source.queries)), CPU))
    assert [(query, row[0][0], {d for d, _ in row[1:]}) for query, row in found] == EXPECTED[kind]
    for _, row in found:
        assert [grade for _, grade in row] == [1.0] + [0.0] * (len(row) - 1)


def test_all_three_kinds_in_one_batch(model: CrossEncoder, tmp_path: Path) -> None:
    """With sampled negatives: the first of a row is right, none of the others is, and rows differ in length."""
    rows = [*ROWS.values(), {"query": "why", "positive": "weather", "negative": "table"}]
    sets = [written(tmp_path, row) for row in rows]
    source = RankingSource.build(
        dataset("ranking", [e for s in sets for e in s.examples]), CrossRanking(model, 3), model
    )
    right = {
        "who": {"man", "woman"},
        "what": {"guitar", "song"},
        "where": {"park", "street"},
        "why": {"weather"},
    }
    for _ in range(10):
        found = lists_of(model, source.batch(range(7), CPU))
        for query, row in found:
            assert row[0][0] in right[query] and not right[query] & {d for d, _ in row[1:]}
            assert [grade for _, grade in row] == [1.0] + [0.0] * (len(row) - 1)
            assert len({d for d, _ in row}) == len(row)
        assert [len(row) for _, row in found] == [6, 6, 6, 6, 5, 5, 5]


def test_a_document_listed_twice_is_not_its_own_negative(model: CrossEncoder) -> None:
    row = Example(("who", "man", "dog", "man"), (1.0, 0.0, 0.0))
    source = RankingSource.build(dataset("ranking", [row]), CrossRanking(model, 4), model)
    assert lists_of(model, source.batch([0], CPU)) == [("who", [("man", 1.0), ("dog", 0.0)])]


@pytest.mark.parametrize("kind", [CrossListNet, CrossLambda])
def test_listwise_objectives_take_the_row_as_it_is(model: CrossEncoder, tmp_path: Path, kind: Any) -> None:
    data = dataset("ranking", [written(tmp_path, row).examples[0] for row in ROWS.values()])
    source = RankingSource.build(data, kind(model), model)
    assert lists_of(model, source.batch([2, 0, 1], CPU)) == [
        ("where", [("river", 0.0), ("park", 3.0), ("street", 0.5)]),
        ("who", [("man", 1.0), ("woman", 1.0), ("dog", 0.0), ("cat", 0.0)]),
        ("what", [("rain", 0.0), ("guitar", 1.0), ("bread", 0.0), ("song", 1.0)]),
    ]


def test_margins_have_the_positive_first(model: CrossEncoder, tmp_path: Path) -> None:
    rows = [
        {"anchor": "who", "positive": "man", "negative": "dog", "margin": margin} for margin in (2.5, -1, 0)
    ]
    source = RankingSource.build(written(tmp_path, *rows), CrossMarginMSE(model), model)
    found = lists_of(model, source.batch([0, 1, 2], CPU))
    assert found == [("who", [("man", margin), ("dog", 0.0)]) for margin in (2.5, -1.0, 0.0)]


def test_grades_of_each_task() -> None:
    assert grades("triplet", None) == (1.0, 0.0)
    assert grades("margin", -2) == (-2.0, 0.0)
    assert grades("ranking", (0.0, 3.0)) == (0.0, 3.0)


# ---------------------------------------------------------------- sampled negatives


def triplets(*rows: tuple[str, str, str]) -> DataSet:
    return dataset("triplet", [Example(row, None) for row in rows])


def test_sampled_negatives_are_never_right(model: CrossEncoder) -> None:
    """Two queries share a passage; a third row, outside the batch, says that "cat" is right for "who" as well."""
    data = triplets(
        ("who", "man", "dog"),
        ("what", "man", "rain"),
        ("where", "cat", "song"),
        ("who", "cat", "bread"),
        ("who", "woman", "table"),
    )
    source = RankingSource.build(data, CrossRanking(model, num_negatives=20), model)
    right = {"who": {"man", "cat", "woman"}, "what": {"man"}, "where": {"cat"}}
    for rows in ([0, 1, 2], [0, 1, 2, 3, 4], [3, 0]):
        whole = {d for row in rows for d in data.examples[row].texts[1:]}
        for (query, row), number in zip(lists_of(model, source.batch(rows, CPU)), rows, strict=True):
            own = list(data.examples[number].texts[1:])
            assert [d for d, _ in row[:2]] == own
            assert {d for d, _ in row[2:]} == whole - right[query] - set(own)
            assert len({d for d, _ in row}) == len(row)


def test_negatives_are_drawn_from_torch(model: CrossEncoder) -> None:
    """So many, all different, another draw each time, and the same from the same state."""
    rows = [(f"query {i}", WORDS[i], WORDS[i + 7]) for i in range(7)]
    source = RankingSource.build(triplets(*rows), CrossRanking(model, num_negatives=4), model)

    def drawn() -> list[list[str]]:
        return [[d for d, _ in row[2:]] for _, row in lists_of(model, source.batch(range(7), CPU))]

    torch.manual_seed(5)
    first, second = drawn(), drawn()
    torch.manual_seed(5)
    assert [drawn(), drawn()] == [first, second] and first != second
    seen: set[str] = set()
    for _ in range(30):
        for i, row in enumerate(drawn()):
            assert len(row) == len(set(row)) == 4 and not set(row) & set(rows[i])
        seen |= set(drawn()[0])
    assert seen == {d for row in rows[1:] for d in row[1:]}, (
        "every document of the others, right or wrong there"
    )


def test_a_lonely_query_has_only_its_own(model: CrossEncoder) -> None:
    source = RankingSource.build(triplets(("who", "man", "dog")), CrossRanking(model, 4), model)
    assert lists_of(model, source.batch([0], CPU)) == [("who", [("man", 1.0), ("dog", 0.0)])]


def test_tokens_of_a_ranking_batch(model: CrossEncoder) -> None:
    """Padding is counted in the length-sorted chunks the encoder computes."""
    documents = [" ".join(WORDS[: 1 + i % 9]) for i in range(CHUNK_ROWS + 8)]
    unique = [f"{document} {'a ' * (i // 9)}".strip() for i, document in enumerate(documents)]
    row = Example(("who", *unique), tuple(float(i == 0) for i in range(len(unique))))
    source = RankingSource.build(dataset("ranking", [row]), CrossListNet(model), model)
    batch = source.batch([0], CPU)
    lengths = sorted(batch.features[0]["attention_mask"].sum(1).tolist())
    half = len(lengths) // 2
    assert batch.size == 1 and batch.real_tokens == sum(lengths)
    assert batch.padded_tokens == half * (lengths[half - 1] + lengths[-1]) < len(lengths) * lengths[-1]


# ---------------------------------------------------------------- what is refused


def test_sets_that_are_refused(model: CrossEncoder) -> None:
    for build, objective, takes in (
        (PairSource.build, CrossBinary(model), "sts"),
        (RankingSource.build, CrossRanking(model), "ranking or triplet"),
        (RankingSource.build, CrossMarginMSE(model), "margin"),
        (RankingSource.build, CrossListNet(model), "ranking"),
    ):
        with pytest.raises(RunError, match=r"^made-train: no examples to train on$"):
            build(dataset(takes.split()[0], []), objective, model)  # type: ignore[operator]
        wrong = dataset("nli", [Example(("a", "b"), 0)])
        name = type(objective).__name__
        with pytest.raises(RunError, match=rf"^made-train is nli data; {name} takes {takes}$"):
            build(wrong, objective, model)  # type: ignore[operator]
    check_fits(triplets(("a", "b", "c")), CrossRanking(model))


def test_a_set_without_any_right_document_is_refused(model: CrossEncoder) -> None:
    data = dataset("ranking", [Example(("who", "man", "dog"), (0.0, 0.0))])
    with pytest.raises(
        RunError, match=r"^made-train: no query has a relevant document, nothing to train on$"
    ):
        RankingSource.build(data, CrossRanking(model), model)
    assert RankingSource.build(data, CrossListNet(model), model).queries == ["who"]
