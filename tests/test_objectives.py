"""Objectives on a tiny random encoder: the loss is that of the embeddings, and nothing else has a say in it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertConfig, BertModel

from heads import CONCATENATIONS, pair_features
from losses import cosent_loss, cosine_regression_loss, triplet_loss
from sbert.chunks import join, parts_of, trim
from sbert.encode import pad
from sbert.model import modelWithPooling
from sbert.objectives import (
    Objective,
    modelForClassificationTraining,
    modelForCoSENTTraining,
    modelForMarginMSETraining,
    modelForRegressionTraining,
    modelForTripletTraining,
)

WIDTH = 32
LENGTHS = (
    (3, 9, 5, 12, 2, 7),
    (8, 4, 11, 2, 6, 15),
    (5, 5, 10, 3, 8, 4),
)  # tokens of each text, a row a column
SCORES = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
CLASSES = torch.tensor([0, 1, 2, 2, 1, 0])

Columns = list[dict[str, Tensor]]


def encoder() -> BertModel:
    """A BERT without dropout whose weights are large enough that texts differ; in eval mode."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=60,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2)
    return model.eval()


def batch(columns: int = 2, rows: slice = slice(None)) -> Columns:
    """Columns of random texts, each padded to its own longest: the widths differ."""
    generator = torch.Generator().manual_seed(1)
    texts = [[torch.randint(1, 60, (n,), generator=generator).tolist() for n in column] for column in LENGTHS]
    return [pad(column[rows], 0) for column in texts[:columns]]


def objective(name: str, **options: object) -> Objective:
    """One of the four by its short name, in eval mode."""
    made = {
        "classification": modelForClassificationTraining,
        "regression": modelForRegressionTraining,
        "cosent": modelForCoSENTTraining,
        "triplet": modelForTripletTraining,
    }[name]
    torch.manual_seed(2)
    return made(encoder(), **options).eval()  # type: ignore[arg-type]


ANSWERS = {"classification": CLASSES, "regression": SCORES, "cosent": SCORES, "triplet": None}
NAMES = tuple(ANSWERS)


def expected_loss(made: Objective, columns: Columns, answer: Tensor | None) -> Tensor:
    """The loss of embeddings that the model gave for each text alone, without any padding."""
    vectors = []
    for column in columns:
        rows = [
            ids[mask.bool()] for ids, mask in zip(column["input_ids"], column["attention_mask"], strict=True)
        ]
        alone = [made.model(ids[None], torch.ones(1, len(ids)))["sentence_embedding"] for ids in rows]
        vectors.append(torch.cat(alone))
    if isinstance(made, modelForClassificationTraining):
        features = pair_features(*vectors, made.concat)
        return F.cross_entropy(features @ made.classifier.weight.T + made.classifier.bias, answer)
    if isinstance(made, modelForRegressionTraining):
        return cosine_regression_loss(*vectors, answer)
    if isinstance(made, modelForCoSENTTraining):
        return cosent_loss(F.cosine_similarity(*vectors), answer, scale=made.scale)
    assert isinstance(made, modelForTripletTraining)
    return triplet_loss(*vectors, margin=made.margin, distance=made.distance)


@pytest.mark.parametrize(
    "name, options",
    [
        ("classification", {}),
        ("classification", {"concat": "|u-v|,u*v"}),
        ("regression", {}),
        ("cosent", {}),
        ("cosent", {"scale": 5.0}),
        ("triplet", {}),
        ("triplet", {"margin": 4.0, "distance": "manhattan"}),
        ("triplet", {"distance": "cosine"}),
    ],
)
def test_loss_is_that_of_the_embeddings(name: str, options: dict) -> None:
    made = objective(name, **options)
    columns = batch(made.columns)
    loss = made(columns, ANSWERS[name])["loss"]
    assert loss.shape == ()
    assert loss.item() > 0
    torch.testing.assert_close(loss, expected_loss(made, columns, ANSWERS[name]), rtol=1e-4, atol=1e-5)


def test_what_else_comes_back() -> None:
    out = objective("classification")(batch(), CLASSES)
    assert set(out) == {"loss", "logits"}
    assert out["logits"].shape == (6, 3)
    torch.testing.assert_close(out["loss"], F.cross_entropy(out["logits"], CLASSES))
    out = objective("regression")(batch(), SCORES)
    assert set(out) == {"loss", "cosine"}
    assert not out["cosine"].requires_grad
    torch.testing.assert_close(out["loss"], F.mse_loss(out["cosine"], SCORES))


@pytest.mark.parametrize("name", NAMES)
def test_a_raw_encoder_is_wrapped_and_a_model_is_kept(name: str) -> None:
    raw = encoder()
    made = type(objective(name))(raw)
    assert isinstance(made.model, modelWithPooling)
    assert made.model.model is raw
    assert made.model.description.pooling == ("mean",)
    ready = modelWithPooling(raw, ("cls", "max"))
    assert type(made)(ready).model is ready


def test_the_classifier_fits_the_width_of_the_embedding() -> None:
    made = modelForClassificationTraining(modelWithPooling(encoder(), ("cls", "max")), concat="u,v")
    assert made.classifier.in_features == 2 * 2 * WIDTH
    assert made.eval()(batch(), CLASSES)["logits"].shape == (6, 3)


# ---------------------------------------------------------------- embedding the columns


def test_columns_of_different_widths_come_back_in_their_places() -> None:
    made, columns = objective("triplet"), batch(3)
    assert len({column["input_ids"].shape[1] for column in columns}) == 3
    for vectors, column in zip(made.embed(columns), columns, strict=True):
        torch.testing.assert_close(vectors, made.model(**column)["sentence_embedding"], rtol=1e-4, atol=1e-5)


def test_columns_may_hold_different_numbers_of_texts() -> None:
    made, columns = objective("regression"), batch()
    shorter = {key: value[:2] for key, value in columns[0].items()}
    u, v = made.embed([shorter, columns[1]])
    assert (u.shape, v.shape) == ((2, WIDTH), (6, WIDTH))
    torch.testing.assert_close(v, made.model(**columns[1])["sentence_embedding"], rtol=1e-4, atol=1e-5)


def test_every_input_of_the_encoder_is_passed_on() -> None:
    """Token types, here all 1, reach the encoder in the rows they belong to."""
    made, columns = objective("regression"), batch()
    plain = made.embed(columns)
    for column in columns:
        column["token_type_ids"] = column["attention_mask"].clone()
    typed = made.embed(columns)
    assert (typed[0] - plain[0]).abs().max() > 0.01
    torch.testing.assert_close(typed[0], made.model(**columns[0])["sentence_embedding"], rtol=1e-4, atol=1e-5)


def test_join_and_trim() -> None:
    """Ids by hand: joined to the widest column, cut to what is used, also on the left."""
    left = {"input_ids": torch.tensor([[0, 5, 6]]), "attention_mask": torch.tensor([[0, 1, 1]])}
    right = {"input_ids": torch.tensor([[7, 8, 9, 0, 0]]), "attention_mask": torch.tensor([[0, 1, 1, 0, 0]])}
    joined = join([left, right])
    assert joined["input_ids"].tolist() == [[0, 5, 6, 0, 0], [7, 8, 9, 0, 0]]
    assert joined["attention_mask"].tolist() == [[0, 1, 1, 0, 0], [0, 1, 1, 0, 0]]
    assert trim(joined)["input_ids"].tolist() == [[5, 6], [8, 9]]
    assert trim(joined)["attention_mask"].tolist() == [[1, 1], [1, 1]]


def test_the_encoder_never_sees_more_padding_than_the_chunks_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbert.chunks.PART_ROWS", 6)
    made, seen = objective("regression"), []
    made.model.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    made.embed(batch())
    assert seen == [(6, 6), (6, 15)]  # the six shortest of the twelve texts have up to 6 tokens


def test_parts_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 texts of 4 and 16 of 20 tokens: one part is 640 for 384, two are 384 for 384. 31 of 10 and one of 11: 352 for 321,
    8.8 % padding, is let be. 4,096 tokens are four parts of 1,024 whatever their padding; one text is one part."""
    cpu = torch.device("cpu")
    assert parts_of([4] * 16 + [20] * 16, cpu) == 2
    assert parts_of([10] * 31 + [11], cpu) == 1
    assert parts_of([64] * 64, cpu) == 4
    assert parts_of([9], cpu) == 1 and parts_of([2000], cpu) == 1
    assert (
        parts_of([1] * 15 + [100], cpu) == 2
    )  # parts of eight rows are the smallest made for padding's sake


@pytest.mark.parametrize("name", NAMES)
def test_extra_padding_changes_nothing(name: str) -> None:
    made = objective(name)
    columns = batch(made.columns)
    wider = [{k: F.pad(v, (0, 4 + i)) for k, v in column.items()} for i, column in enumerate(columns)]
    loss, same = (made(c, ANSWERS[name])["loss"] for c in (columns, wider))
    torch.testing.assert_close(loss, same, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_rows_changes_nothing(name: str) -> None:
    made, order = objective(name), torch.tensor([3, 0, 5, 1, 4, 2])
    columns, answer = batch(made.columns), ANSWERS[name]
    permuted = [{k: v[order] for k, v in column.items()} for column in columns]
    out, again = made(columns, answer), made(permuted, None if answer is None else answer[order])
    torch.testing.assert_close(out["loss"], again["loss"], rtol=1e-4, atol=1e-5)
    for key in set(out) - {"loss"}:
        torch.testing.assert_close(out[key][order], again[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_wrong_number_of_columns(name: str, columns: int) -> None:
    made = objective(name)
    if columns == made.columns:
        assert made(batch(columns), ANSWERS[name])["loss"].isfinite()
        return
    with pytest.raises(
        ValueError, match=rf"{type(made).__name__} takes {made.columns} text columns, got {columns}"
    ):
        made(batch(columns), ANSWERS[name])


# ---------------------------------------------------------------- losses and gradients


def gradients(made: Objective) -> dict[str, Tensor]:
    return {name: p.grad for name, p in made.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["classification", "regression"])
def test_accumulated_halves_equal_the_full_batch(name: str) -> None:
    """Mean losses: two halves, each divided by two, add up to the gradient of the whole."""
    whole = objective(name)
    halves = copy.deepcopy(whole)
    answer = ANSWERS[name]
    whole(batch(), answer)["loss"].backward()
    for rows in (slice(0, 3), slice(3, 6)):
        (halves(batch(rows=rows), answer[rows])["loss"] / 2).backward()
    expected, found = gradients(whole), gradients(halves)
    assert set(found) == set(expected)
    assert max(g.abs().max() for g in expected.values()) > 1e-3
    for key in expected:
        torch.testing.assert_close(found[key], expected[key], rtol=1e-3, atol=1e-5, msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_embed_then_score_is_forward(name: str) -> None:
    made = objective(name)
    columns = batch(made.columns)
    apart = made.score(made.embed(columns), ANSWERS[name])["loss"]
    assert torch.equal(apart, made(columns, ANSWERS[name])["loss"])


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_computed_in_fp32_under_bf16_autocast(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = objective(name), []
    loss = made.loss

    def spy(representations: list[Tensor], answer: Tensor | None) -> dict:
        seen.append((torch.is_autocast_enabled("cpu"), {r.dtype for r in representations}))
        return loss(representations, answer)

    monkeypatch.setattr(made, "loss", spy)
    columns = batch(made.columns)
    exact = made.embed(columns)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vectors = made.embed(columns)
        out = made.score(vectors, ANSWERS[name])
        half = made.score([v.bfloat16() for v in vectors], ANSWERS[name])
    assert 1e-4 < (vectors[0] - exact[0]).abs().max() < 0.2  # the encoder did run in bf16
    assert seen == [(False, {torch.float32})] * 2
    assert {value.dtype for value in [*out.values(), *half.values()]} == {torch.float32}
    assert torch.equal(out["loss"], loss(vectors, ANSWERS[name])["loss"])


@pytest.mark.parametrize("num_labels", [2, 5])
def test_other_numbers_of_labels(num_labels: int) -> None:
    made = objective("classification", num_labels=num_labels)
    out = made(batch(), CLASSES.clamp(max=num_labels - 1))
    assert out["logits"].shape == (6, num_labels)
    assert out["loss"].isfinite()


@pytest.mark.parametrize("concat", CONCATENATIONS)
def test_every_concatenation_trains(concat: str) -> None:
    made = objective("classification", concat=concat)
    assert made.classifier.in_features == len(CONCATENATIONS[concat]) * WIDTH
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = made(batch(), CLASSES)["loss"]
        loss.backward()
        assert all(p.grad is not None for p in made.model.model.encoder.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_unknown_concatenation() -> None:
    with pytest.raises(ValueError, match="concat 'u,w': allowed are u,v; "):
        modelForClassificationTraining(encoder(), concat="u,w")


def test_a_score_nobody_scaled_is_refused() -> None:
    with pytest.raises(ValueError, match=r"score 4 is outside 0\.\.1"):
        objective("regression")(batch(), 4 * SCORES.round())


def test_margin_mse_by_hand() -> None:
    """((a . p - a . n) - margin)^2, over two rows: margins 3 - 1 and 2 - 5 against 1 and -1."""
    a = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    p = torch.tensor([[1.0, 1.0], [4.0, 2.0]])
    n = torch.tensor([[1.0, 0.0], [1.0, 5.0]])
    made = modelForMarginMSETraining(encoder())
    loss = made.loss([a, p, n], torch.tensor([1.0, -1.0]))["loss"]
    assert loss.item() == pytest.approx(((2 - 1) ** 2 + (-3 + 1) ** 2) / 2)
    features = batch(3)
    embedded = made.embed(features)
    margins = torch.linspace(-1, 1, 6)
    by_hand = ((embedded[0] * (embedded[1] - embedded[2])).sum(1) - margins).square().mean()
    torch.testing.assert_close(made(features, margins)["loss"], by_hand)


def test_an_objective_has_to_say_what_it_encodes() -> None:
    with pytest.raises(NotImplementedError):
        Objective().plan(batch())


def test_defaults_of_the_publications() -> None:
    """CoSENT's scale of 20; the paper's triplet margin of 1 (section 3.1)."""
    features, model = batch(2), encoder()
    u, v = modelForCoSENTTraining(model).embed(features)
    by_hand = cosent_loss(F.cosine_similarity(u, v), SCORES, scale=20.0)
    torch.testing.assert_close(modelForCoSENTTraining(model)(features, SCORES)["loss"], by_hand)
    a, p, n = (torch.eye(4)[:1] * x for x in (0.0, 3.0, 3.5))
    assert modelForTripletTraining(model).loss([a, p, n], None)["loss"].item() == pytest.approx(3 - 3.5 + 1)
