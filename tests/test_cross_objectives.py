"""Objectives of a cross-encoder by hand, the batches they train on, and the rates its parts learn at."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_cross
from torch import Tensor

from data.examples import DataSet, Example
from losses import lambda_loss
from sbert import cross_objectives
from sbert.cross_encoder import CrossEncoder
from sbert.cross_objectives import (
    CrossBinary,
    CrossClassification,
    CrossLambda,
    CrossListNet,
    CrossMarginMSE,
    CrossObjective,
    CrossRanking,
    CrossRegression,
)
from sbert.optim import build_optimizer
from sbert.pair_source import PairSource, RankingSource

CPU = torch.device("cpu")
PAIRS = [
    ("A man is playing the guitar.", "A man plays."),
    ("고양이가 창가에 앉아 있다.", "The weather in the park"),
    ("a dog", "two people talk about the weather in the park"),
    ("A man plays.", "A man is playing the guitar, 그리고 비가 온다."),
]
CLASSES, SCORES = [0, 2, 1, 2], [0.0, 1.0, 0.3, 0.75]
RANKED = [  # three queries with 3, 2 and 4 candidates; documents differ in length
    ("who plays?", ("A man plays the guitar.", "A dog ran.", "비가 온다."), (2.0, 0.0, 1.0)),
    (
        "where?",
        ("in the park", "A man is playing the guitar in the park, two people talk about it."),
        (1.0, 0.0),
    ),
    (
        "날씨",
        ("The weather in the park", "비가 온다.", "a cat", "고양이가 창가에 앉아 있다."),
        (0.0, 3.0, 0.0, 1.0),
    ),
]


def dataset(task: str, examples: list[Example], name: str = "made") -> DataSet:
    return DataSet(name, "train", task, "en+ko", examples, {})


def pairs_of(task: str, labels: list[Any]) -> DataSet:
    return dataset(task, [Example(pair, label) for pair, label in zip(PAIRS, labels, strict=True)])


def ranked(retrieved: int | None = None) -> DataSet:
    return dataset(
        "ranking", [Example((query, *documents), grades, retrieved) for query, documents, grades in RANKED]
    )


@pytest.fixture(scope="module")
def shared(tiny_model_dir: Path) -> dict[int, CrossEncoder]:
    return {labels: tiny_cross(tiny_model_dir, num_labels=labels) for labels in (1, 3)}


@pytest.fixture
def model(shared: dict[int, CrossEncoder]) -> CrossEncoder:
    return copy.deepcopy(shared[1])


def logit(model: CrossEncoder, a: str, b: str) -> list[float]:
    """What the model says of one pair, alone and without padding."""
    with torch.no_grad():
        ids = torch.tensor([model.tokenizer([a], [b])["input_ids"][0]])  # type: ignore[misc]
        return model(ids, torch.ones_like(ids))["logits"][0].tolist()


def loss_of(objective: CrossObjective, data: DataSet) -> float:
    """All rows in one batch, without dropout."""
    objective.eval()
    source = (RankingSource if objective.ranks else PairSource).build(data, objective, objective.model)
    batch = source.batch(range(len(source.lengths)), CPU)
    out = objective(batch.features, batch.answer)
    assert out["loss"].shape == () and out["loss"].dtype == torch.float32
    return out["loss"].item()


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


# ---------------------------------------------------------------- losses by hand


def test_classification(shared: dict[int, CrossEncoder]) -> None:
    model = shared[3]
    expected = mean(
        [-math.log(softmax(logit(model, *pair))[k]) for pair, k in zip(PAIRS, CLASSES, strict=True)]
    )
    assert loss_of(CrossClassification(model), pairs_of("nli", CLASSES)) == pytest.approx(expected, abs=1e-5)


def test_regression_is_of_the_raw_score(model: CrossEncoder) -> None:
    expected = mean([(logit(model, *pair)[0] - y) ** 2 for pair, y in zip(PAIRS, SCORES, strict=True)])
    assert loss_of(CrossRegression(model), pairs_of("sts", SCORES)) == pytest.approx(expected, rel=1e-5)


def test_binary(model: CrossEncoder) -> None:
    probabilities = [sigmoid(logit(model, *pair)[0]) for pair in PAIRS]
    terms = [y * math.log(p) + (1 - y) * math.log(1 - p) for p, y in zip(probabilities, SCORES, strict=True)]
    assert loss_of(CrossBinary(model), pairs_of("sts", SCORES)) == pytest.approx(-mean(terms), rel=1e-5)


@pytest.mark.parametrize("scale", [10.0, 3.0])
def test_ranking(model: CrossEncoder, scale: float) -> None:
    """A row for each right document, against the wrong ones of its query; the other right ones stand aside."""
    terms = []
    for query, documents, grades in RANKED:
        scores = [scale * sigmoid(logit(model, query, document)[0]) for document in documents]
        wrong = [s for s, grade in zip(scores, grades, strict=True) if not grade]
        terms += [
            -math.log(softmax([s, *wrong])[0]) for s, grade in zip(scores, grades, strict=True) if grade
        ]
    assert len(terms) == 5
    objective = CrossRanking(model, num_negatives=0, scale=scale)
    assert loss_of(objective, ranked()) == pytest.approx(mean(terms), abs=1e-5)
    assert CrossRanking(model).scale == 10 and CrossRanking(model).num_negatives == 4


def test_ranking_of_triplets(model: CrossEncoder) -> None:
    rows = [("who?", "A man plays.", "A dog ran."), ("where?", "in the park", "비가 온다.")]
    scores = [[10 * sigmoid(logit(model, q, d)[0]) for d in documents] for q, *documents in rows]
    expected = mean([-math.log(softmax(row)[0]) for row in scores])
    data = dataset("triplet", [Example(row, None) for row in rows])
    assert loss_of(CrossRanking(model, num_negatives=0), data) == pytest.approx(expected, abs=1e-5)
    # with negatives of the batch: each row also has both documents of the other
    scores = [
        [10 * sigmoid(logit(model, q, d)[0]) for d in (*own, *rows[1 - i][1:])]
        for i, (q, *own) in enumerate(rows)
    ]
    expected = mean([-math.log(softmax(row)[0]) for row in scores])
    assert loss_of(CrossRanking(model, num_negatives=4), data) == pytest.approx(expected, abs=1e-5)


def test_margin_mse(model: CrossEncoder) -> None:
    """A teacher may prefer what is called the negative: the margin is below 0."""
    rows = [("who?", "A man plays.", "A dog ran."), ("where?", "in the park", "비가 온다.")]
    margins = [1.5, -0.75]
    expected = mean(
        [
            (logit(model, q, p)[0] - logit(model, q, n)[0] - margin) ** 2
            for (q, p, n), margin in zip(rows, margins, strict=True)
        ]
    )
    data = dataset("margin", [Example(row, margin) for row, margin in zip(rows, margins, strict=True)])
    assert loss_of(CrossMarginMSE(model), data) == pytest.approx(expected, rel=1e-5)


def test_listnet(model: CrossEncoder) -> None:
    terms = []
    for query, documents, grades in RANKED:
        said = softmax([logit(model, query, document)[0] for document in documents])
        terms.append(-sum(p * math.log(q) for p, q in zip(softmax(list(grades)), said, strict=True)))
    assert loss_of(CrossListNet(model), ranked()) == pytest.approx(mean(terms), abs=1e-5)


def test_lambda(model: CrossEncoder) -> None:
    """A query a time, weighted by its pairs of unequal relevance: no cell of the padded batch takes part."""
    total, pairs = 0.0, 0
    for query, documents, grades in RANKED:
        scores = torch.tensor([[logit(model, query, document)[0] for document in documents]])
        counted = sum(a > b for a in grades for b in grades)
        total, pairs = total + counted * lambda_loss(scores, torch.tensor([grades])).item(), pairs + counted
    assert loss_of(CrossLambda(model), ranked()) == pytest.approx(total / pairs, rel=1e-4)


# ---------------------------------------------------------------- how they compute it

RANKING = (CrossRanking, CrossListNet, CrossLambda)
ONE_SCORE = (CrossRegression, CrossBinary, CrossMarginMSE, *RANKING)


def batch_of(
    kind: type[CrossObjective], model: CrossEncoder
) -> tuple[CrossObjective, list[dict[str, Tensor]], Tensor]:
    objective = kind(model).eval()
    if kind is CrossClassification:
        data = pairs_of("nli", CLASSES)
    elif kind is CrossMarginMSE:
        data = dataset("margin", [Example((*pair, "a cat"), 0.5 * i) for i, pair in enumerate(PAIRS)])
    else:
        data = ranked() if objective.ranks else pairs_of("sts", SCORES)
    source = (RankingSource if objective.ranks else PairSource).build(data, objective, model)
    batch = source.batch(range(len(source.lengths)), CPU)
    assert batch.answer is not None
    return objective, batch.features, batch.answer


@pytest.mark.parametrize("kind", [CrossClassification, *ONE_SCORE])
def test_embed_then_score_is_forward_and_gradients_reach_all(
    shared: dict[int, CrossEncoder], kind: type[CrossObjective]
) -> None:
    """Also with the two apart, the gradient handed over at the logits, as a loop that caches gradients does."""
    model = copy.deepcopy(shared[3 if kind is CrossClassification else 1])
    objective, features, answer = batch_of(kind, model)
    whole = objective(features, answer)
    whole["loss"].backward()
    gradients = {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}
    objective.zero_grad()
    (logits,) = objective.embed(features)
    assert logits.shape == (len(features[0]["input_ids"]), model.num_labels)
    leaf = logits.detach().requires_grad_()
    loss = objective.score([leaf], answer)["loss"]
    assert loss.item() == whole["loss"].item() and torch.equal(whole["logits"], logits)
    loss.backward()
    logits.backward(leaf.grad)
    unused = {name for name, _ in objective.named_parameters() if "pooler" in name}
    assert set(gradients) == {name for name, _ in objective.named_parameters()} - unused
    for name, p in objective.named_parameters():
        if name not in unused:
            torch.testing.assert_close(p.grad, gradients[name], rtol=1e-4, atol=1e-7)
    largest = {name: gradient.abs().max().item() for name, gradient in gradients.items()}
    for part in ("head.dense", "head.out_proj.weight", "encoder.layer.0", "word_embeddings"):
        assert max(value for name, value in largest.items() if part in name) > 1e-6, part


@pytest.mark.parametrize("kind", RANKING)
@pytest.mark.parametrize("side", ["right", "left"])
def test_chunks_change_nothing(
    model: CrossEncoder, kind: type[CrossObjective], side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows come back in their order, whatever the chunks; BERT's positions need right padding to say the same."""
    objective, features, answer = batch_of(kind, model)
    model.tokenizer.padding_side = side  # type: ignore[union-attr]
    rows: list[tuple[int, int]] = []
    genuine = model.forward

    def forward(**batch: Tensor) -> dict[str, Tensor]:
        rows.append(tuple(batch["input_ids"].shape))  # type: ignore[arg-type]
        return genuine(**batch)

    monkeypatch.setattr(model, "forward", forward)
    (whole,) = objective.embed(features)
    assert len(rows) == 1
    rows.clear()
    monkeypatch.setattr(cross_objectives, "CHUNK_ROWS", 2)
    (chunked,) = objective.embed(features)
    torch.testing.assert_close(chunked, whole, rtol=0, atol=2e-6)
    assert sum(n for n, _ in rows) == len(whole) and max(n for n, _ in rows) == 2
    assert [width for _, width in rows] == sorted(width for _, width in rows) and rows[0][1] < rows[-1][1]
    assert objective.score([chunked], answer)["loss"].item() == pytest.approx(
        objective.score([whole], answer)["loss"].item(), rel=1e-5
    )


@pytest.mark.parametrize("kind", ONE_SCORE)
def test_objectives_of_one_score_refuse_several(
    shared: dict[int, CrossEncoder], kind: type[CrossObjective]
) -> None:
    """Three logits and three rows would broadcast and train on nonsense."""
    with pytest.raises(
        ValueError, match=f"^{kind.__name__} needs a model of one score a pair; this one has 3 labels"
    ):
        kind(shared[3])


def test_the_loss_is_in_fp32_under_autocast(model: CrossEncoder) -> None:
    objective, features, answer = batch_of(CrossBinary, model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = objective(features, answer)
    assert out["loss"].dtype == torch.float32
    assert out["loss"].item() == pytest.approx(objective(features, answer)["loss"].item(), rel=0.1)


# ---------------------------------------------------------------- the head's own learning rate


@pytest.mark.parametrize("head", ["classification", "native"])
@pytest.mark.parametrize("kind", [CrossBinary, CrossRanking])
def test_the_head_learns_at_its_own_rate(tiny_model_dir: Path, head: str, kind: type[CrossObjective]) -> None:
    model = tiny_cross(tiny_model_dir, head)
    objectives = [kind(model), CrossRegression(model)]
    optimizer = build_optimizer(model, objectives, lr=2e-5, head_lr=1e-3, weight_decay=0.01)
    names = {id(p): name for name, p in model.named_parameters()}
    found = [
        (g["lr"], g["peak"], g["weight_decay"], {names[id(p)] for p in g["params"]})
        for g in optimizer.param_groups
    ]
    own = (
        {"head.dense", "head.out_proj"}
        if head == "classification"
        else {"model.bert.pooler.dense", "model.classifier"}
    )
    body = {name for name in names.values() if name.rsplit(".", 1)[0] not in own}
    flat = {name for name, p in model.named_parameters() if p.dim() == 1}
    assert found == [
        (2e-5, 2e-5, 0.01, body - flat),
        (2e-5, 2e-5, 0.0, body & flat),
        (1e-3, 1e-3, 0.01, {f"{name}.weight" for name in own}),
        (1e-3, 1e-3, 0.0, {f"{name}.bias" for name in own}),
    ]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
