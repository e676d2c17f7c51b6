"""The ends of what is allowed: one token and 100,000, a batch of one, a corpus of one, 1,000 labels, texts of every script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from loop_parts import SETTINGS, Encoder, source
from tiny_models import tiny_cross

from heads.classification import classificationHead
from sbert.encode import encode, tokenize
from sbert.loop import Settings, fit
from sbert.model import modelWithPooling
from sbert.objectives import modelForClassificationTraining
from sbert.pairs import shortened, tokenize_pairs
from sbert.predict import predict, rank
from sbert.retrieval.dense import dense_search, encode_pool
from sbert.retrieval.index import load_index, save_index
from sbert.retrieval.search import exact_search
from sbert.retrieval.sparse import BM25
from sbert.shards import encode_corpus, read_shards

LONG = "dog " * 100_000
ODD = {
    "empty": "",
    "blank": " \t\n",
    "emoji": "🙂👩‍👩‍👧‍👦🏳️‍🌈",
    "mixed scripts": "한국어 English вместе 日本語 ελληνικά हिन्दी",
    "right to left": "שלום עולם مرحبا بالعالم \u202eabc\u202c",
    "NUL": "a\x00dog\x00",
    "only NUL": "\x00",
    "combining": "e\u0301" * 40 + "\u0300" * 200,
    "one long word": "x" * 100_000,
    "control": "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028\ufeff",
    "astral": "\U0001f600\U00020000\U0010ffff",
}
PLAIN = "a dog runs in the park"


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> modelWithPooling:
    return modelWithPooling.from_pretrained(tiny_model_dir)


def test_one_token_and_a_hundred_thousand(model: modelWithPooling) -> None:
    """The long text is cut to the model's limit, and said to be; each vector is that of the text alone."""
    assert model.tokenizer is not None
    assert len(tokenize(model.tokenizer, ["dog"], 10**6).ids[0]) == 3  # with the two special tokens
    assert len(tokenize(model.tokenizer, [LONG], 10**6).ids[0]) == 100_002
    encoded = encode(model, ["dog", LONG, PLAIN])
    assert (encoded.truncated, encoded.distinct) == (1, 3) and np.isfinite(encoded.embeddings).all()
    cut = "dog " * (model.max_length - 2)
    alone = np.concatenate([encode(model, [text]).embeddings for text in ("dog", cut, PLAIN)])
    assert np.abs(encoded.embeddings - alone).max() < 1e-5


def test_a_passage_of_a_hundred_thousand_tokens_is_found_by_its_end(model: modelWithPooling) -> None:
    """Cut into windows instead, so that nothing of it is lost."""
    end = "the woman plays a guitar on the table"
    pool = encode_pool(model, [PLAIN, "dog " * 100_000 + end, "the cat"])
    assert (
        pool.count == 3
        and len(pool.windows) > 1000
        and pool.windows[int((pool.owner == 1).sum())].endswith("table")
    )
    found, windows = dense_search(model, [pool.windows[len(pool.windows) - 2]], pool, 3)
    assert found.ids[0][0] == 1 and len(windows[0]) == 3


@pytest.mark.parametrize("name", ODD)
def test_odd_texts(model: modelWithPooling, name: str) -> None:
    """Finite, the same alone and beside others, and told apart from nothing by position: bi-encoder, search, BM25."""
    text = ODD[name]
    together = encode(model, [PLAIN, text, PLAIN + " too"]).embeddings
    assert np.isfinite(together).all()
    assert np.abs(together[1] - encode(model, [text]).embeddings[0]).max() < 1e-5
    pool = encode_pool(model, [text, PLAIN])
    found, _ = dense_search(model, [PLAIN], pool, 2)
    assert sorted(found.ids[0]) == [0, 1] and found.ids[0][0] == 1
    scores = BM25([text, PLAIN]).search(["dog runs", text], 2)
    assert scores.ids[0][0] == 1 and all(np.isfinite(row).all() for row in scores.scores)


def test_odd_texts_in_pairs(tiny_model_dir: Path) -> None:
    cross = tiny_cross(tiny_model_dir)
    pairs = (
        [(PLAIN, text) for text in ODD.values()] + [(text, text) for text in ODD.values()] + [(LONG, LONG)]
    )
    scores = predict(cross, pairs).scores
    alone = np.concatenate([predict(cross, [pair]).scores for pair in pairs])
    assert np.isfinite(scores).all() and np.abs(scores - alone).max() < 1e-5
    assert len(rank(cross, PLAIN, [""])) == 1


def test_a_long_pair_is_shortened_before_it_is_cut_and_gives_the_same_tokens(tiny_model_dir: Path) -> None:
    """Against the tokenizer left to itself, which takes a second for pairs of 4,000 tokens and minutes for 100,000."""
    tokenizer = tiny_cross(tiny_model_dir).tokenizer
    assert tokenizer is not None
    words = ["the", "man", "and", "a", "dog", "unbelievably", "runs,", "through", "고양이", "parks", ""]
    long, wide = " ".join(words * 40), "unbelievable" * 150
    for pair in (
        (long, "a dog"),
        ("a dog", long),
        (long, long[7:]),
        (wide, long),
        (wide, wide),
        (long[:90], long),
    ):
        for length in (16, 64):
            ours = tokenize_pairs(tokenizer, [pair], length)
            plain = tokenizer(*pair, truncation="longest_first", max_length=length)["input_ids"]
            assert ours.ids == [plain] and ours.truncated == (len(tokenizer(*pair)["input_ids"]) > length)
    assert (
        len(shortened(tokenizer, (LONG, LONG), 16)[0])
        < 200
        < len(shortened(tokenizer, (LONG, LONG), 16)[1])
        < 6000
    )
    assert shortened(tokenizer, (long, wide), 10**6) == (long, wide)


def test_odd_ids_and_texts_survive_on_disk(tmp_path: Path) -> None:
    ids = [text or "nothing" for text in ODD.values()]
    vectors = np.eye(len(ids), 16, dtype=np.float32)
    save_index(tmp_path / "index", vectors, ids, "f")
    assert load_index(tmp_path / "index", None).ids == ids
    encode_corpus(
        lambda texts: vectors[: len(texts)], [(i, i) for i in ids], tmp_path / "v", {}, shard_rows=4
    )
    assert [name for part, _ in read_shards(tmp_path / "v") for name in part] == ids


def test_a_corpus_of_one(model: modelWithPooling, tmp_path: Path) -> None:
    vector = encode(model, [PLAIN]).embeddings
    assert exact_search(vector, vector, 10).ids[0] == [0] or list(
        exact_search(vector, vector, 10).ids[0]
    ) == [0]
    found, _ = dense_search(model, ["the cat"], encode_pool(model, [PLAIN]), 10)
    assert list(found.ids[0]) == [0]
    assert list(BM25([PLAIN]).search(["dog"], 10).ids[0]) == [0]
    assert encode_corpus(model.encode_document, [("a", PLAIN)], tmp_path / "v", {}).rows == 1


def test_a_batch_of_one_and_a_set_of_one() -> None:
    for rows in (1, 5):
        encoder = Encoder()
        s = source(encoder, rows=rows)
        before = [p.clone() for p in encoder.parameters()]
        progress = fit(encoder, [s], Settings(**{**vars(SETTINGS), "batch_size": 1, "warmup_ratio": 0.0}))
        assert progress.update == rows * SETTINGS.epochs and progress.skipped == 0
        after = list(encoder.parameters())
        assert all(torch.isfinite(p).all() for p in after)
        assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_a_thousand_labels(tiny_model_dir: Path, tmp_path: Path) -> None:
    encoder = Encoder()
    objective = modelForClassificationTraining(encoder, num_labels=1000)
    features = [
        {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.ones(1, 2, dtype=torch.long)}
    ] * 2
    loss = objective(features, torch.tensor([999]))["loss"]
    loss.backward()
    assert torch.isfinite(loss) and objective.classifier.weight.grad[999].abs().sum() > 0
    cross = tiny_cross(tiny_model_dir, num_labels=1000)
    assert isinstance(cross.head, classificationHead)
    scores = predict(cross, [(PLAIN, "the cat"), ("", "")]).scores
    cross.save_pretrained(tmp_path / "cross")
    again = predict(type(cross).from_pretrained(tmp_path / "cross"), [(PLAIN, "the cat"), ("", "")]).scores
    assert scores.shape == (2, 1000) and np.array_equal(scores, again)
