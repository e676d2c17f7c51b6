"""The score of a pair, predict and rank, on tiny random encoders."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import WIDTH, save_tiny, tiny_cross
from torch import nn

from sbert.cross_encoder import IDENTITY, SIGMOID, CrossEncoder
from sbert.encode import pad
from sbert.errors import RunError
from sbert.pairs import tokenize_pairs

TANH = "torch.nn.modules.activation.Tanh"
PAIRS = [
    ("A man is playing the guitar.", "A man plays."),
    ("고양이가 창가에 앉아 있다.", "The weather in the park"),
    ("a dog", "two people talk about the weather in the park, 그리고 비가 온다. " * 2),
    ("A man plays.", "A man is playing the guitar."),
    ("", "비가 온다."),
    ("🙂", ""),
]
TYPED = ("bert", "electra")
FAMILIES = (*TYPED, "roberta", "deberta-v2", "modernbert")


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("crosses")
    return {family: save_tiny(folder / family, family, types=family in TYPED) for family in FAMILIES}


@pytest.fixture(scope="module")
def shared(directories: dict[str, Path]) -> CrossEncoder:
    return tiny_cross(directories["bert"])


@pytest.fixture
def model(shared: CrossEncoder) -> CrossEncoder:
    """A BERT with token types and classificationHead, free to be changed."""
    return copy.deepcopy(shared)


def one_by_one(model: CrossEncoder, pairs: list[tuple[str, str]]) -> np.ndarray:
    """Logits (N, K) the plain way: a pair a time, exactly as the tokenizer itself gives it."""
    rows = []
    for pair in pairs:
        features = model.tokenizer(  # type: ignore[misc]
            *([text] for text in pair), truncation=True, max_length=model.max_length, return_tensors="pt"
        )
        with torch.no_grad():
            if model.head is None:
                rows.append(model.model(**features).logits[0])
            else:
                rows.append(model.head(model.model(**features).last_hidden_state[:, 0])[0])
    return torch.stack(rows).numpy()


# ---------------------------------------------------------------- what the encoder sees


@pytest.mark.parametrize("family", ["roberta", "deberta-v2", "modernbert"])
def test_left_padding_scores_as_right_padding(directories: dict[str, Path], family: str) -> None:
    """On families that count positions from the first real token, or by distance."""
    model = tiny_cross(directories[family])
    ids = tokenize_pairs(model.tokenizer, PAIRS, model.max_length).ids  # type: ignore[arg-type]
    with torch.no_grad():
        right, left = (
            model(**pad(ids, model.tokenizer.pad_token_id, side))["logits"]  # type: ignore[union-attr]
            for side in ("right", "left")
        )
    torch.testing.assert_close(left, right, rtol=0, atol=2e-5)
    assert right.std() > 0.01


def test_token_types_reach_the_model_that_has_them(model: CrossEncoder) -> None:
    tokens = tokenize_pairs(model.tokenizer, PAIRS[:2], 64)  # type: ignore[arg-type]
    assert tokens.types is not None
    for ids, types in zip(tokens.ids, tokens.types, strict=True):
        end = ids.index(model.tokenizer.sep_token_id) + 1  # type: ignore[union-attr]
        assert types == [0] * end + [1] * (len(ids) - end)
    features = pad(tokens.ids, 0, types=tokens.types)
    with torch.no_grad():
        right = model(**features)["logits"]
        none = model(**{**features, "token_type_ids": torch.zeros_like(features["input_ids"])})["logits"]
    assert (right - none).abs().min() > 1e-3
    np.testing.assert_allclose(
        model.predict(PAIRS[:2], activation=IDENTITY), right.numpy()[:, 0], rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("family", ["roberta", "distilbert", "modernbert", "deberta-v2"])
@pytest.mark.parametrize("head", ["classification", "native"])
def test_token_types_are_kept_from_a_model_without_them(tmp_path: Path, family: str, head: str) -> None:
    """A BERT tokenizer before such weights (klue/roberta-base) gives types that their table has no row for."""
    plain = tiny_cross(save_tiny(tmp_path / "plain", family), head)
    typed = tiny_cross(save_tiny(tmp_path / "typed", family, types=True), head)
    assert tokenize_pairs(plain.tokenizer, PAIRS, 64).types is None  # type: ignore[arg-type]
    assert tokenize_pairs(typed.tokenizer, PAIRS, 64).types is not None  # type: ignore[arg-type]
    np.testing.assert_array_equal(typed.predict(PAIRS), plain.predict(PAIRS))


def test_truncation_takes_from_the_longer_text(model: CrossEncoder, caplog: pytest.LogCaptureFixture) -> None:
    query, passage = "a man is playing the guitar", "the weather in the park " * 40
    tokenizer = model.tokenizer
    assert tokenizer is not None
    alone = tokenizer(query)["input_ids"]
    pairs = [(query, passage), (passage, query), ("a dog", "a man")]
    tokens = tokenize_pairs(tokenizer, pairs, 20)
    assert tokens.truncated == 2
    assert [len(row) for row in tokens.ids[:2]] == [20, 20] and len(tokens.ids[2]) < 20
    assert tokens.ids[0][: len(alone)] == alone
    assert tokens.ids[1][-len(alone) + 1 :] == alone[1:]
    model.max_length = 20
    model.predict([*pairs, pairs[0]])
    assert caplog.messages == ["2 of 3 pairs are longer than 20 tokens and were truncated"]


def test_counting_truncated_pairs_of_a_python_tokenizer(model: CrossEncoder) -> None:
    class Slow:
        """The same ids without the record of what was cut."""

        model_input_names = ("input_ids", "attention_mask")

        def __call__(self, *texts: Any, **options: Any) -> Any:
            out = model.tokenizer(*texts, **options)  # type: ignore[misc]
            return type("Out", (dict,), {"encodings": None})(out)

    pairs = [("the man " * 20, "dog"), ("man", "dog"), ("man " * 5, "dog " * 5)]  # 13 tokens: just fits
    fast = tokenize_pairs(model.tokenizer, pairs, 13)  # type: ignore[arg-type]
    slow = tokenize_pairs(Slow(), pairs, 13)  # type: ignore[arg-type]
    assert [len(row) for row in fast.ids] == [13, 5, 13]
    assert slow.ids == fast.ids and slow.truncated == fast.truncated == 1


def test_max_length_leaves_something_of_both_texts(model: CrossEncoder) -> None:
    model.max_length = 5
    ids = tokenize_pairs(model.tokenizer, PAIRS[:1], model.max_length).ids  # type: ignore[arg-type]
    assert len(ids[0]) == 5
    for value in (4, 0, -1, 5.0, True):
        with pytest.raises(RunError, match=rf"^--max-length {value!r}: must be an integer of at least 5$"):
            model.max_length = value  # type: ignore[assignment]
    with pytest.raises(RunError, match=r"^--max-length 65: this encoder has 64 positions$"):
        model.max_length = 65
    assert model.max_length == 5


# ---------------------------------------------------------------- predict


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("head, num_labels", [("classification", 1), ("native", 1), ("native", 3)])
def test_predict_is_a_loop_over_pairs(
    directories: dict[str, Path], family: str, head: str, num_labels: int
) -> None:
    model = tiny_cross(directories[family], head, num_labels)
    logits = one_by_one(model, PAIRS)
    scores = model.predict(PAIRS, batch_tokens=100)
    assert scores.dtype == np.float32
    expected = logits if num_labels == 3 else 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
    assert scores.shape == expected.shape
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)
    assert len(np.unique(logits[:, 0].round(3))) == len(PAIRS)


def test_order_is_restored(model: CrossEncoder) -> None:
    scores = model.predict(PAIRS)
    np.testing.assert_allclose(model.predict(PAIRS[::-1])[::-1], scores, rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.predict(PAIRS, batch_tokens=1), scores, rtol=0, atol=1e-5)


def test_a_pair_is_scored_once(model: CrossEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    genuine = model.forward
    monkeypatch.setattr(
        model,
        "forward",
        lambda **f: rows.append(len(f["input_ids"])) or genuine(**f),  # type: ignore[func-returns-value]
    )
    scores = model.predict([PAIRS[0], PAIRS[1], PAIRS[0], PAIRS[3], PAIRS[0]])
    assert sum(rows) == 3  # the first with its texts exchanged is another pair
    assert scores[0] == scores[2] == scores[4] and len(set(scores.tolist())) == 3


def test_what_predict_takes(model: CrossEncoder) -> None:
    scores = model.predict(PAIRS)
    for alone in (PAIRS[1], list(PAIRS[1])):
        single = model.predict(alone)  # type: ignore[arg-type]
        assert single.shape == () and single == pytest.approx(scores[1], abs=1e-6)
    np.testing.assert_array_equal(model.predict(pair for pair in PAIRS), scores)
    np.testing.assert_array_equal(model.predict([list(pair) for pair in PAIRS]), scores)  # type: ignore[misc]
    np.testing.assert_array_equal(model.predict(tuple(PAIRS)), scores)
    assert model.predict(PAIRS[:2]).shape == (2,) and model.predict(PAIRS[:1]).shape == (1,)
    for nothing in ([], (), iter(())):
        assert model.predict(nothing).shape == (0,)  # type: ignore[arg-type]


def test_several_labels(directories: dict[str, Path]) -> None:
    model = tiny_cross(directories["bert"], num_labels=3)
    assert model.num_labels == model.width == 3 and model.activation == IDENTITY
    scores = model.predict(PAIRS)
    np.testing.assert_allclose(scores, one_by_one(model, PAIRS), rtol=0, atol=1e-5)
    assert model.predict(PAIRS[0]).shape == (3,) and model.predict([]).shape == (0, 3)
    assert model.predict(PAIRS[:1]).shape == (1, 3)


@pytest.mark.parametrize("bad", [["ab", "cd", "ef"], [("a",)], [("a", "b", "c")], [("a", 1)], [("a", None)]])
def test_what_is_no_pair(model: CrossEncoder, bad: Any) -> None:
    """A list of words of two letters is not a list of pairs of letters."""
    with pytest.raises(ValueError, match="a pair is two strings, got"):
        model.predict(bad)


def test_activation(model: CrossEncoder) -> None:
    logits = torch.from_numpy(one_by_one(model, PAIRS)[:, 0])
    assert model.activation == SIGMOID
    for name, expected in ((None, logits.sigmoid()), (IDENTITY, logits), (TANH, logits.tanh())):
        scores = model.predict(PAIRS, activation=name)
        np.testing.assert_allclose(scores, expected.numpy(), rtol=0, atol=1e-5)
    model.activation = TANH
    np.testing.assert_allclose(model.predict(PAIRS), logits.tanh().numpy(), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"^activation 'sigmoid': allowed are torch.nn.modules.linear.Id"):
        model.predict(PAIRS, activation="sigmoid")
    with pytest.raises(ValueError, match=r"^activation 'sigmoid': allowed are"):
        CrossEncoder(model.model, model.head, activation="sigmoid")


def test_half_precision_logits_are_widened_before_the_sigmoid(
    model: CrossEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 and 8.0625 are two numbers in bf16; their sigmoids are both 1 there."""
    close = torch.tensor([8.0, 8.0625], dtype=torch.bfloat16)
    assert close[0] != close[1] and close.sigmoid().tolist() == [1, 1]

    def head(token: torch.Tensor) -> torch.Tensor:
        return close[: len(token), None]

    monkeypatch.setattr(model, "head", None)
    model.head = type("Head", (nn.Module,), {"forward": lambda self, token: head(token)})()  # type: ignore[assignment]
    scores = model.predict([("a man", "a dog"), ("a dog", "a man")], precision="bf16")
    assert scores.dtype == np.float32
    np.testing.assert_allclose(sorted(scores), close.float().sigmoid().numpy(), rtol=0, atol=1e-7)
    assert scores[0] != scores[1]


@pytest.mark.parametrize("head", ["classification", "native"])
def test_precision(directories: dict[str, Path], head: str) -> None:
    model = tiny_cross(directories["bert"], head)
    exact = model.predict(PAIRS, activation=IDENTITY)
    rounded = model.predict(PAIRS, precision="bf16", activation=IDENTITY)
    assert rounded.dtype == np.float32
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max() + 0.05
    with pytest.raises(ValueError, match="precision 'half': allowed are fp32, bf16, fp16"):
        model.predict(PAIRS, precision="half")


def test_modes_are_restored(model: CrossEncoder) -> None:
    evaluated = model.predict(PAIRS)
    model.train()
    model.head.dropout.eval()  # type: ignore[union-attr]
    before = [module.training for module in model.modules()]
    np.testing.assert_array_equal(model.predict(PAIRS), evaluated)
    assert [module.training for module in model.modules()] == before
    with pytest.raises(ValueError):
        model.predict([("a",)])  # type: ignore[list-item]
    assert [module.training for module in model.modules()] == before


def test_predict_needs_a_tokenizer(model: CrossEncoder) -> None:
    bare = CrossEncoder(model.model, model.head)
    with pytest.raises(ValueError, match="needs a model with a tokenizer"):
        bare.predict(PAIRS)
    with pytest.raises(RunError, match="needs the tokenizer"):
        bare.save_pretrained("nowhere")


# ---------------------------------------------------------------- rank

DOCUMENTS = ["A dog ran.", "The weather in the park", "비가 온다.", "A man plays.", "two people talk"]


def test_rank_orders_by_score(model: CrossEncoder) -> None:
    scores = model.predict([("who plays?", document) for document in DOCUMENTS])
    found = model.rank("who plays?", DOCUMENTS)
    assert [row["corpus_id"] for row in found] == sorted(range(5), key=lambda i: -scores[i])
    for row in found:
        assert set(row) == {"corpus_id", "score", "text"}
        assert type(row["corpus_id"]) is int and type(row["score"]) is float
        assert row["text"] == DOCUMENTS[row["corpus_id"]]
        assert row["score"] == pytest.approx(scores[row["corpus_id"]], abs=1e-6)
    logits = model.rank("who plays?", DOCUMENTS, activation=IDENTITY)
    assert [row["corpus_id"] for row in logits] == [row["corpus_id"] for row in found]
    assert [row["score"] for row in logits] != [row["score"] for row in found]


def test_rank_cuts(model: CrossEncoder) -> None:
    whole = model.rank("who plays?", DOCUMENTS)
    assert model.rank("who plays?", DOCUMENTS, top_k=2) == whole[:2]
    assert model.rank("who plays?", DOCUMENTS, 50) == whole
    assert model.rank("who plays?", []) == []
    for top_k in (0, -1):
        with pytest.raises(ValueError, match=f"top_k {top_k}: must be at least 1"):
            model.rank("who plays?", DOCUMENTS, top_k)


def test_ties_keep_the_order_of_the_documents(model: CrossEncoder) -> None:
    documents = ["A man plays.", "A dog ran.", "A man plays.", "A dog ran.", "A man plays."] * 8
    found = [row["corpus_id"] for row in model.rank("who plays?", documents)]
    groups = [[i for i in found if documents[i] == text] for text in documents[:2]]
    assert all(group == sorted(group) for group in groups)
    assert found in (groups[0] + groups[1], groups[1] + groups[0])


def test_rank_needs_one_score(directories: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="rank needs a model of one score a pair; this one has 3 labels"):
        tiny_cross(directories["bert"], num_labels=3).rank("a", ["b"])


def test_head_parameters_are_all_but_the_encoder(directories: dict[str, Path]) -> None:
    for head, count in (
        ("classification", 4),
        ("native", 4),
    ):  # BERT's own head: its pooler and one projection
        model = CrossEncoder.from_pretrained(directories["bert"], head=head)
        found = model.head_parameters()
        assert len(found) == count and found[-1].shape == (1,) and found[0].shape[-1] == WIDTH
