"""Stages of retrieve and re-rank: fusion, re-ranking by window, blends, times."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import tiny_cross, tiny_model

import data
import sbert.predict
from sbert.cross_encoder import CrossEncoder
from sbert.errors import RunError
from sbert.retrieval.dense import dense_search, encode_pool
from sbert.retrieval.pipeline import (
    DenseStage,
    Found,
    SparseStage,
    blend,
    fuse,
    hangul_share,
    joined,
    on_top,
    rerank,
    search_all,
)
from sbert.retrieval.search import Ranking
from sbert.retrieval.sparse import BM25


def found(*lists: dict[int, float], **seconds: float) -> Found:
    """Lists of {passage: score}, best first."""
    return Found(
        Ranking([list(row) for row in lists], [np.array(list(row.values())) for row in lists]), seconds
    )


@pytest.fixture(scope="module")
def dataset() -> data.RetrievalSet:
    return data.load_retrieval("samples-mrc-en").questions_only(range(6))


@pytest.fixture(scope="module")
def cross(tiny_model_dir: Path) -> CrossEncoder:
    model = tiny_cross(tiny_model_dir)
    model.fresh = []  # as if it had been trained
    return model


def test_hybrid_by_hand() -> None:
    dense = found({0: 0.9, 1: 0.1}, {}, question=1.0, search=2.0)
    sparse = found({1: 5.0, 2: 4.0, 3: 3.0}, {7: 2.0}, question=0.5, search=0.25)
    fused = fuse("hybrid", dense, sparse, weight=0.25)
    # scaled: dense 0: 1, 1: 0; sparse 1: 1, 2: 0.5, 3: 0
    assert fused.ranking.ids == [[1, 2, 0, 3], [7]]
    assert fused.ranking.scores[0].tolist() == [0.75, 0.375, 0.25, 0.0]
    assert (fused.seconds["question"], fused.seconds["search"]) == (1.5, 2.25) and fused.seconds["fusion"] > 0
    assert fuse("hybrid", dense, sparse, weight=1.0).ranking.ids[0][0] == 0  # all of it dense
    rrf = fuse("rrf", dense, sparse)
    assert rrf.ranking.ids[0] == [1, 0, 2, 3]
    assert rrf.ranking.scores[0] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])
    with pytest.raises(ValueError, match="fusion 'sum': allowed are hybrid, rrf"):
        fuse("sum", dense, sparse)


def test_what_is_left_below_the_top() -> None:
    top = Ranking([[4, 2], []], [np.array([1.5, -3.0]), np.array([])])
    whole = Ranking([[2, 4, 9, 1], [5]], [np.array([9.0, 8, 7, 6]), np.array([1.0])])
    out = on_top(top, whole)
    assert out.ids == [[4, 2, 9, 1], [5]]
    assert [row.tolist() for row in out.scores] == [[1.5, -3, -4, -5], [-1]]


def test_blend_by_hand() -> None:
    """Over the first two alone; the third stays third, however good its score."""
    first = found({5: 10.0, 6: 9.0, 7: 8.0})
    second = found({6: 3.0, 5: 1.0, 7: 0.0}, rerank=4.0)
    for weight, ids, scores in (
        (0.75, [6, 5, 7], [0.75, 0.25, -0.75]),
        (0.25, [5, 6, 7], [0.75, 0.25, -0.75]),
    ):
        out = blend(second, first, weight, depth=2)
        assert out.ranking.ids == [ids] and out.ranking.scores[0].tolist() == scores
        assert out.seconds == {"rerank": 4.0}


def test_times_and_parts() -> None:
    whole = joined([found({1: 1.0}, search=2.0), found({2: 1.0}, {3: 1.0}, search=1.0, fusion=0.6)])
    assert whole.ranking.ids == [[1], [2], [3]] and len(whole.ranking.scores) == 3
    assert whole.ms() == pytest.approx({"search": 1000, "fusion": 200})
    assert found({1: 2.0, 2: 1.0}, search=1.0).cut(1).ranking.ids == [[1]]


def test_stages_are_the_searches(tiny_model_dir: Path, dataset: data.RetrievalSet) -> None:
    questions = [question.text for question in dataset.questions]
    sparse = SparseStage(dataset.texts, "words")
    plain = BM25(dataset.texts, "words").search(questions, 7)
    assert sparse.search(questions, 7).ranking.ids == plain.ids
    first, again = sparse.search(questions, 7).seconds, sparse.search(questions[:1], 7).seconds
    assert set(first) == {"question", "search"} and min(first.values()) > 0
    assert again["question"] < 1  # that of one call, not of all since the beginning
    model = tiny_model(tiny_model_dir, max_length=32)
    pool = encode_pool(model, dataset.texts)
    dense = DenseStage(model, pool)
    assert dense.search(questions, 7).ranking.ids == dense_search(model, questions, pool, 7)[0].ids
    short = DenseStage(model, pool.truncated(8))
    assert (
        short.search(questions, 7).ranking.ids
        == dense_search(model, questions, pool, 7, truncate_dim=8)[0].ids
    )
    rows = search_all(["rrf", "hybrid", "bm25"], questions, 7, sparse=sparse, dense=dense, weight=0.3)
    assert list(rows) == ["rrf", "hybrid", "bm25"] and rows["bm25"].ranking.ids == plain.ids
    expected = fuse("hybrid", dense.search(questions, 7), sparse.search(questions, 7), 0.3)
    assert rows["hybrid"].ranking.ids == [row[:7] for row in expected.ranking.ids]


def test_reranking_is_the_order_of_the_scores(cross: CrossEncoder, dataset: data.RetrievalSet) -> None:
    questions = [question.text[:20] for question in dataset.questions]
    texts = [text[:12] for text in dataset.texts]  # no windows
    first = SparseStage(texts, "words").search(questions, 10)
    other = found(*({p: -float(i) for i, p in enumerate(row[::-1])} for row in first.ranking.ids), search=1.0)
    out = rerank(cross, questions, {"bm25": first, "back": other}, texts, depth=4)
    assert list(out.found) == ["bm25", "back"]
    for name, one in (("bm25", first), ("back", other)):
        for i, row in enumerate(one.ranking.ids):
            scores = cross.predict(
                [(questions[i], texts[p]) for p in row[:4]], activation="torch.nn.modules.linear.Identity"
            )
            order = np.argsort(-scores, kind="stable")
            ranked = out.found[name].ranking
            assert ranked.ids[i] == [row[j] for j in order] + row[4:]
            assert ranked.scores[i][:4] == pytest.approx(scores[order], abs=1e-5)
            assert (np.diff(ranked.scores[i]) <= 0).all()
        assert out.found[name].seconds["search"] == one.seconds["search"]
    distinct = {(i, p) for one in (first, other) for i, row in enumerate(one.ranking.ids) for p in row[:4]}
    assert out.pairs == len(distinct) and out.truncated == 0
    assert out.found["bm25"].seconds["rerank"] == pytest.approx(out.found["back"].seconds["rerank"])


def test_a_long_passage_is_read_by_its_likest_window(
    cross: CrossEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever retriever found it; the question and the window fit into the model's limit together."""
    seen: list[tuple[str, str]] = []
    true = sbert.predict.predict

    def spy(model: Any, pairs: Any, **options: Any) -> Any:
        seen.extend(pairs)
        return true(model, pairs, **options)

    monkeypatch.setattr(sbert.predict, "predict", spy)
    long = " ".join(["a man is on a bike."] * 12 + ["the dog is asleep."] + ["a woman is on a boat."] * 12)
    texts = ["nothing", long, "a dog"]
    first = {"x": found({1: 2.0, 2: 1.0}, {1: 1.0}, {0: 1.0})}
    questions = ["where is the dog asleep?", "who is on a boat? " * 2, "what?"]
    out = rerank(cross, questions, first, texts, depth=20)
    assert out.truncated == 0 and out.pairs == 4
    pairs = {(question, text) for question, text in seen}
    assert (questions[2], "nothing") in pairs and (questions[0], "a dog") in pairs
    (dog,) = (text for question, text in pairs if question == questions[0] and text in long)
    (boat,) = (text for question, text in pairs if question == questions[1])
    assert "asleep" in dog and "asleep" not in boat and "boat" in boat
    tokens = cross.tokenizer(*map(list, zip(*pairs, strict=True)))["input_ids"]  # type: ignore[misc]
    assert 40 < max(map(len, tokens)) <= cross.max_length


def test_nothing_to_rerank(cross: CrossEncoder) -> None:
    out = rerank(cross, ["a"], {"x": found({}, search=1.0)}, ["b"], depth=3)
    assert out.found["x"].ranking.ids == [[]] and out.pairs == 0


def test_what_cannot_rerank(tiny_model_dir: Path, cross: CrossEncoder) -> None:
    for model in (tiny_cross(tiny_model_dir), tiny_cross(tiny_model_dir, num_labels=3)):
        with pytest.raises(RunError, match="a trained cross-encoder of one score a pair"):
            rerank(model, ["a"], {"x": found({0: 1.0})}, ["b"], depth=3)


def test_hangul_share() -> None:
    assert hangul_share(["한글 ab!", "1"]) == 0.5
    assert hangul_share([]) == hangul_share(["12"]) == 0.0
