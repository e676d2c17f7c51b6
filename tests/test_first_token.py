"""The last layer for the first token alone: the same numbers as the whole layer, where nothing else is read, and only there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, save_tiny, tiny_cross, tiny_model
from torch import nn
from transformers import BertForSequenceClassification

import sbert.encode
from sbert.encode import encode
from sbert.first_token import FirstTokenLayer, can_skip, skip_in_last_layer

SKIPPING = ("bert", "roberta", "xlm-roberta", "electra")
TEXTS = [
    "a cat sat",
    "고양이가 앉았다",
    "one two three four five six",
    "x",
    "a man is playing the guitar " * 5,
]
PAIRS = [(first, second) for first in TEXTS for second in TEXTS]
LOGITS = "torch.nn.modules.linear.Identity"


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("families")
    return {name: save_tiny(folder / name, name, layers=3, types=name == "bert") for name in FAMILIES}


@pytest.fixture
def skipped(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """However few the texts, an encoder is copied; the list collects those whose last layer skips."""
    seen: list[Any] = []

    def noted(encoder: Any) -> None:
        seen.append(encoder)
        skip_in_last_layer(encoder)

    monkeypatch.setattr(sbert.encode, "MANY", 0)
    monkeypatch.setattr(sbert.encode, "skip_in_last_layer", noted)
    return seen


def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sbert.encode, "can_skip", lambda encoder: False)


@pytest.mark.parametrize("precision, atol", [("fp32", 2e-5), ("bf16", 0.03)])
@pytest.mark.parametrize("head", ["classification", "native"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_the_whole_layer(
    directories: dict[str, Path],
    skipped: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    head: str,
    precision: str,
    atol: float,
) -> None:
    model = tiny_cross(directories[family], head, num_labels=2)
    before = {name: p.clone() for name, p in model.named_parameters()}
    scores = model.predict(PAIRS, activation=LOGITS, precision=precision)
    assert len(skipped) == (family in SKIPPING)
    assert not any(isinstance(module, FirstTokenLayer) for module in model.modules())
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    whole(monkeypatch)
    expected = model.predict(PAIRS, activation=LOGITS, precision=precision)
    assert expected.std(0).min() > 0.1
    np.testing.assert_allclose(scores, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("precision, atol", [("fp32", 2e-5), ("bf16", 0.03)])
@pytest.mark.parametrize("family", SKIPPING)
def test_cls_vectors_are_those_of_the_whole_layer(
    directories: dict[str, Path],
    skipped: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    precision: str,
    atol: float,
) -> None:
    model = tiny_model(directories[family], "cls")
    vectors = encode(model, TEXTS, precision=precision).embeddings
    assert len(skipped) == 1
    whole(monkeypatch)
    expected = encode(model, TEXTS, precision=precision).embeddings
    assert expected.std(0).mean() > 0.1
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=atol)


def test_one_row_comes_out_of_the_layer(directories: dict[str, Path]) -> None:
    model = tiny_model(directories["bert"], "cls").model
    layer = model.encoder.layer[-1]
    hidden = torch.randn(4, 7, 32)
    mask = torch.arange(7) < torch.tensor([7, 3, 1, 5])[:, None]
    with torch.no_grad():
        near = mask[:, None, None] & (torch.arange(7)[:, None] - torch.arange(7) < 3)  # rows differ
        for seen in (mask[:, None, None], near, None):
            first = FirstTokenLayer(layer)(hidden, seen)
            assert first.shape == (4, 1, 32)
            torch.testing.assert_close(first, layer(hidden, seen)[:, :1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "pooling, description",
    [
        ("mean", {}),
        (("cls", "mean"), {}),
        ("last", {}),
        ("cls", {"average_layers": 2}),
        ("cls", {"prompts": {"q": "query: "}, "default_prompt": "q", "include_prompt": False}),
    ],
)
def test_where_more_tokens_are_read_none_is_skipped(
    directories: dict[str, Path], skipped: list[Any], pooling: Any, description: dict[str, Any]
) -> None:
    encode(tiny_model(directories["bert"], pooling, **description), TEXTS)
    assert not skipped


def test_left_padding_few_texts_and_packed_rows_are_left_alone(
    directories: dict[str, Path], skipped: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(directories["bert"], "cls")
    model.tokenizer.padding_side = "left"  # type: ignore[union-attr]
    encode(model, TEXTS)
    model.tokenizer.padding_side = "right"  # type: ignore[union-attr]
    encode(model, TEXTS, unpadded="on")
    monkeypatch.setattr(sbert.encode, "MANY", 10**6)
    encode(model, TEXTS)
    assert not skipped
    monkeypatch.setattr(sbert.encode, "MANY", 0)
    encode(model, TEXTS)
    assert len(skipped) == 1


def test_what_is_no_plain_layer_is_left_alone(directories: dict[str, Path]) -> None:
    encoder: Any = tiny_model(directories["bert"], "cls").model
    assert can_skip(encoder)
    encoder.config.is_decoder = True
    assert not can_skip(encoder)
    encoder.config.is_decoder = False
    watching = encoder.encoder.layer[-1].attention.self.register_forward_hook(lambda *_: None)
    assert not can_skip(encoder)
    watching.remove()
    assert can_skip(encoder)
    last = encoder.encoder.layer[-1]
    encoder.encoder.layer[-1] = nn.Sequential(last)  # an adapter around it
    assert not can_skip(encoder)
    encoder.encoder.layer = nn.ModuleList()
    assert not can_skip(encoder)
    encoder.encoder.layer = nn.ModuleList([last])
    assert can_skip(encoder)
    encoder.set_attn_implementation("eager")
    assert not can_skip(encoder)
    assert not can_skip(nn.Linear(2, 2))


def test_other_attention_heads_and_precision_are_left_alone(directories: dict[str, Path]) -> None:
    encoder: Any = tiny_model(directories["bert"], "cls").model
    assert not can_skip(encoder.double())
    assert can_skip(encoder.float())

    class MeanHead(BertForSequenceClassification):
        """Somebody's own, which may read more than the first token."""

    assert can_skip(BertForSequenceClassification(encoder.config))
    assert not can_skip(MeanHead(encoder.config))

    class LongAttention(nn.Module):
        """Another attention in its place."""

    encoder.encoder.layer[-1].attention.self = LongAttention()
    assert not can_skip(encoder)
