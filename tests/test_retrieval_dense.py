"""Dense search: windows of the pool, prompts, similarity, slices, the metrics of a set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_model

import data
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.retrieval.dense import DensePool, dense_search, encode_pool, evaluate_retrieval, search_pool
from sbert.retrieval.windows import best_of, cut_texts

QUESTIONS = ["who is playing a guitar?", "고양이가 어디에 앉았나?", "a"]


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> modelWithPooling:
    return tiny_model(tiny_model_dir, max_length=24)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return data.load_retrieval("samples-mrc-en").texts[:12]


def test_every_passage_by_its_best_window(model: modelWithPooling, texts: list[str]) -> None:
    pool = encode_pool(model, texts)
    windows, owner = cut_texts(model.tokenizer, texts, 24)
    assert pool.windows == windows and pool.owner.tolist() == owner.tolist() and len(windows) > len(texts)
    assert (pool.similarity, pool.count) == ("cosine", len(texts))
    assert pool.embeddings == pytest.approx(model.encode(windows), abs=1e-6)
    scores = best_of(model.similarity(model.encode(QUESTIONS), pool.embeddings).numpy(), owner)
    for k in (1, 5, 100):
        found, best = dense_search(model, QUESTIONS, pool, k)
        assert found.ids == np.argsort(-scores, axis=1, kind="stable")[:, :k].tolist()
        for i, ids in enumerate(found.ids):
            assert found.scores[i] == pytest.approx(scores[i][ids], abs=1e-6)
            assert owner[best[i]].tolist() == ids
            rows = model.encode([windows[j] for j in best[i]])
            again = model.similarity(model.encode(QUESTIONS[i]), rows).numpy()[0]
            assert again == pytest.approx(found.scores[i], abs=1e-6)


def test_k_passages_though_one_has_many_windows() -> None:
    """The first 60 windows are of one passage: the search grows until the second one is found."""
    rng = np.random.default_rng(0)
    long = np.array([1.0, 0, 0]) + 0.01 * rng.normal(size=(60, 3))
    others = rng.normal(size=(9, 3)) - np.array([3.0, 0, 0])
    owner = np.array([0] * 60 + list(range(1, 10)))
    windows = [f"w{i}" for i in range(69)]
    pool = DensePool(np.concatenate([long, others]).astype(np.float32), windows, owner, "cosine")
    found, best = search_pool(np.array([[1.0, 0, 0]], dtype=np.float32), pool, 3)
    assert len(found.ids[0]) == 3 and found.ids[0][0] == 0 and owner[best[0]].tolist() == found.ids[0]
    whole, _ = search_pool(np.array([[1.0, 0, 0]], dtype=np.float32), pool, 50)
    assert sorted(whole.ids[0]) == list(range(10)) and whole.ids[0][:3] == found.ids[0]


def test_truncated_passages_are_one_window(model: modelWithPooling, texts: list[str]) -> None:
    pool = encode_pool(model, texts, truncate=True)
    assert pool.windows == texts and pool.owner.tolist() == list(range(len(texts)))
    assert pool.embeddings == pytest.approx(model.encode(texts), abs=1e-6)


def test_prompts_leave_room_and_are_used(tiny_model_dir: Path, texts: list[str]) -> None:
    prompts = {"query": "a man: ", "passage": "a woman is playing: "}
    model = tiny_model(tiny_model_dir, max_length=24, prompts=prompts)
    pool = encode_pool(model, texts)
    ids = model.tokenizer([prompts["passage"] + window for window in pool.windows])["input_ids"]  # type: ignore[misc]
    assert 20 <= max(map(len, ids)) <= 24
    assert pool.embeddings == pytest.approx(model.encode(pool.windows, prompt=prompts["passage"]), abs=1e-6)
    found, _ = dense_search(model, QUESTIONS, pool, 3)
    queries = model.encode(QUESTIONS, prompt=prompts["query"])
    assert found.ids == search_pool(queries, pool, 3)[0].ids
    assert found.scores[0] == pytest.approx(search_pool(queries, pool, 3)[0].scores[0], abs=1e-6)


def test_dot_and_slices(tiny_model_dir: Path, texts: list[str]) -> None:
    model = tiny_model(tiny_model_dir, max_length=24, similarity="dot")
    pool = encode_pool(model, texts)
    queries = model.encode(QUESTIONS)
    for width in (None, 8):
        cut = slice(None, width)
        scores = best_of(queries[:, cut] @ pool.embeddings[:, cut].T, pool.owner)
        found, _ = dense_search(model, QUESTIONS, pool, 4, truncate_dim=width)
        assert found.ids == np.argsort(-scores, axis=1)[:, :4].tolist()
    with pytest.raises(RunError, match="--truncate-dim 33: the embeddings have 32 dimensions"):
        dense_search(model, QUESTIONS, pool, 4, truncate_dim=33)


def test_what_does_not_fit(tiny_model_dir: Path, model: modelWithPooling, texts: list[str]) -> None:
    with pytest.raises(RunError, match="this model compares by euclidean"):
        encode_pool(tiny_model(tiny_model_dir, similarity="euclidean"), texts)
    pool = encode_pool(model, texts)
    with pytest.raises(RunError, match="questions of 8 dimensions and passages of 32"):
        search_pool(model.encode(QUESTIONS)[:, :8], pool, 3)
    with pytest.raises(ValueError, match="k is 0"):
        dense_search(model, QUESTIONS, pool, 0)


def test_an_empty_pool(model: modelWithPooling) -> None:
    found, best = dense_search(model, QUESTIONS, encode_pool(model, []), 5)
    assert found.ids == best == [[], [], []]


def test_metrics_of_a_set(model: modelWithPooling) -> None:
    """Questions that are the passages themselves are all found; of others, what a plain loop finds."""
    dataset = data.load_retrieval("samples-mrc-en")
    home = [
        next(i for i, p in enumerate(dataset.passages) if p.id in dataset.relevant[q.id])
        for q in dataset.questions
    ]
    own = [replace(q, text=dataset.texts[i]) for q, i in zip(dataset.questions, home, strict=True)]
    perfect = evaluate_retrieval(model, replace(dataset, questions=own), truncate=True)
    assert perfect["recall@1"] == perfect["mrr@10"] == perfect["ndcg@10"] == 1
    metrics = evaluate_retrieval(model, dataset, k=20)
    pool = encode_pool(model, dataset.texts)
    queries = model.encode([q.text for q in dataset.questions])
    scores = best_of(model.similarity(queries, pool.embeddings).numpy(), pool.owner)
    ranks = np.array([(row > row[i]).sum() for row, i in zip(scores, home, strict=True)])
    assert metrics["recall@20"] == np.mean(ranks < 20) and metrics["recall@5"] == np.mean(ranks < 5)
    assert metrics["mrr@10"] == pytest.approx(np.mean(np.where(ranks < 10, 1 / (ranks + 1), 0)))
    assert 0 < metrics["recall@5"] < 1


def test_additions_to_a_set() -> None:
    """What search and training ask of a RetrievalSet."""
    test = data.load_retrieval("samples-mrc-en")
    assert test.task == "retrieval" and len(test) == len(test.questions) == 36
    assert test.texts == [p.text for p in test.passages] and not test.titled
    own = test.split_passages
    assert {test.passages[i].title for i in own} == set(test.articles) and len(own) == 12
    assert {home for grades in test.relevant.values() for home in grades} == {
        test.passages[i].id for i in own
    }
    some = test.questions_only([5, 2])
    assert [q.id for q in some.questions] == list(some.relevant) == [test.questions[i].id for i in (5, 2)]
    assert (
        some.passages is test.passages
        and some.relevant[some.questions[0].id] == test.relevant[some.questions[0].id]
    )
    assert (some.key, some.files, some.articles) == (test.key, test.files, test.articles)


def test_titles_of_beir_layout(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    corpus = '{"_id": "1", "title": "Kelp", "text": "grows."}\n{"_id": "2", "text": "Otters."}\n'
    (tmp_path / "corpus.jsonl").write_text(corpus + '{"_id": "3", "title": "Sea", "text": ""}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "what grows?"}\n')
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t1\n")
    found = data.load_retrieval(str(tmp_path))
    assert found.titled and found.texts == ["Kelp grows.", "Otters.", "Sea"]
    assert found.split_passages == [0, 1, 2]  # articles are not known
