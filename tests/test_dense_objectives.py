"""Dense objectives on a tiny encoder: what counts as a negative, both directions, Matryoshka slices, two towers, and the
gradient cache, whose gradients are those of the whole batch."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertConfig, BertModel

from data import Example
from data.examples import DataSet
from losses import mega_batch_margin_loss, softmax_ranking_loss
from sbert.cross_objectives import CrossRanking
from sbert.dense_objectives import DenseMegaBatchMargin, DenseObjective, DenseRanking
from sbert.gradient_cache import cached_backward
from sbert.model import modelWithPooling
from sbert.objectives import Objective, modelForClassificationTraining, modelForRegressionTraining
from sbert.pair_source import RankingSource
from sbert.precision import autocast
from sbert.towers import TwoTowers
from tests.tiny_models import save_tiny, tiny_cross

CPU = torch.device("cpu")
ANSWER = torch.tensor(  # question 1 is answered by passage 3 as well; 0 and 2 ask about one passage
    [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, torch.nan], [1.0, 0.0, 0.0, 0.0]]
)


def model(dropout: float = 0.0, seed: int = 0) -> modelWithPooling:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    encoder = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.2)
    return modelWithPooling(encoder)


def column(rows: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 60, (rows, 12), generator=generator)
    lengths = torch.randint(2, 13, (rows, 1), generator=generator)
    mask = (torch.arange(12)[None] < lengths).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


FEATURES = [column(3, 1), column(4, 2)]


def cosines(encoder: modelWithPooling, width: int = 16) -> Tensor:
    q, p = (encoder(**c)["sentence_embedding"][:, :width] for c in FEATURES)
    return F.normalize(q, dim=-1) @ F.normalize(p, dim=-1).T


def test_ranking_is_the_softmax_over_what_counts() -> None:
    encoder = model().eval()
    loss = DenseRanking(encoder, scale=20.0)(FEATURES, ANSWER)["loss"]
    scores = 20 * cosines(encoder)
    rows = [scores[0].softmax(0)[0], scores[1][:3].softmax(0)[1], scores[2].softmax(0)[0]]
    assert loss.item() == pytest.approx(-torch.stack(rows).log().mean().item(), abs=1e-5)


def test_symmetric_leaves_out_questions_of_the_same_passage() -> None:
    encoder = model().eval()
    loss = DenseRanking(encoder, scale=20.0, symmetric=True)(FEATURES, ANSWER)["loss"].item()
    one_way = DenseRanking(encoder, scale=20.0)(FEATURES, ANSWER)["loss"].item()
    scores = 20 * cosines(encoder)
    back = [  # passage 0 among questions 0, 1; passage 1 among 0, 1, 2; passage 0 among questions 2, 1
        scores[[0, 1], 0].softmax(0)[0],
        scores[[1, 0, 2], 1].softmax(0)[0],
        scores[[2, 1], 0].softmax(0)[0],
    ]
    assert loss == pytest.approx((one_way - torch.stack(back).log().mean().item()) / 2, abs=1e-5)


def test_mega_batch_margin_sees_the_same_batch() -> None:
    encoder = model().eval()
    loss = DenseMegaBatchMargin(encoder, positive_margin=0.9, negative_margin=-0.5)(FEATURES, ANSWER)["loss"]
    positive = torch.tensor([0, 1, 0])
    expected = mega_batch_margin_loss(cosines(encoder), positive, ~ANSWER.isnan(), 0.9, -0.5)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6)


def test_matryoshka_sums_the_loss_of_every_slice() -> None:
    encoder = model().eval()
    loss = DenseRanking(encoder, dims=(16, 4), scale=5.0)(FEATURES, ANSWER)["loss"].item()
    positive = torch.tensor([0, 1, 0])
    parts = [
        softmax_ranking_loss(5 * cosines(encoder, width), positive, ~ANSWER.isnan()).item()
        for width in (16, 4)
    ]
    assert loss == pytest.approx(sum(parts), abs=1e-5)
    with pytest.raises(ValueError, match="17: allowed are 1 to 16"):
        DenseRanking(encoder, dims=(17,))


def test_dot_products_are_not_normalised() -> None:
    encoder = model().eval()
    q, p = (encoder(**c)["sentence_embedding"] for c in FEATURES)
    loss = DenseRanking(encoder, "dot", scale=0.1)(FEATURES, ANSWER)["loss"].item()
    expected = softmax_ranking_loss(0.1 * q @ p.T, torch.tensor([0, 1, 0]), ~ANSWER.isnan()).item()
    assert loss == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="allowed are cosine, dot"):
        DenseRanking(encoder, "euclidean")


def test_two_towers_get_a_column_each() -> None:
    towers = TwoTowers(model(seed=1), model(seed=2)).eval()
    q, p = DenseRanking(towers).embed(FEATURES)
    torch.testing.assert_close(q, towers.query(**FEATURES[0])["sentence_embedding"])
    torch.testing.assert_close(p, towers.document(**FEATURES[1])["sentence_embedding"])
    DenseRanking(towers)(FEATURES, ANSWER)["loss"].backward()
    assert all(any(x.grad is not None for x in t.parameters()) for t in (towers.query, towers.document))


def pairs(count: int = 6) -> list[dict[str, Tensor]]:
    return [column(count, 3), column(count, 4)]


def cases(dropout: float) -> dict[str, tuple[Objective, list[dict[str, Tensor]], Tensor | None]]:
    torch.manual_seed(7)
    margins = {"positive_margin": 1.2, "negative_margin": -1.0}  # so that every question has a gradient
    return {
        "ranking": (DenseRanking(model(dropout), symmetric=True, dims=(16, 8)), FEATURES, ANSWER),
        "mega-batch-margin": (DenseMegaBatchMargin(model(dropout), **margins), FEATURES, ANSWER),
        "towers": (DenseRanking(TwoTowers(model(dropout), model(dropout, 1))), FEATURES, ANSWER),
        "regression": (modelForRegressionTraining(model(dropout)), pairs(), torch.linspace(0, 1, 6)),
        "classification": (
            modelForClassificationTraining(model(dropout)),
            pairs(),
            torch.tensor([0, 1, 2, 2, 1, 0]),
        ),
    }


def gradients(objective: Objective) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in objective.named_parameters() if p.grad is not None}
    objective.zero_grad()
    return found


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """Norm of the difference of two gradients, relative to the norm of one."""
    assert a.keys() == b.keys() and a
    return (
        sum((a[k] - b[k]).square().sum() for k in a).sqrt() / sum(b[k].square().sum() for k in b).sqrt()
    ).item()


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
@pytest.mark.parametrize("name", list(cases(0.0)))
def test_gradient_cache_gives_the_gradient_of_the_whole_batch(name: str, rows: int) -> None:
    objective, features, answer = cases(0.0)[name]
    loss = objective(features, answer)["loss"]
    loss.backward()
    whole = gradients(objective)
    cached = cached_backward(
        objective, features, answer, rows, lambda x: x.backward(), partial(autocast, CPU, "fp32")
    )
    assert cached.item() == pytest.approx(loss.item(), rel=1e-5) and not cached.requires_grad
    assert distance(gradients(objective), whole) < 1e-5


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("bf16", 1e-2)])
def test_gradient_cache_repeats_dropout(precision: str, bound: float) -> None:
    """With dropout: the gradient must be that of the vectors the loss saw, or it is the gradient of nothing."""
    objective, features, answer = cases(0.3)["ranking"]
    objective.train()
    torch.manual_seed(5)
    parts = [(encode, chunks) for encode, chunks in objective.plan(features, 2)]
    with autocast(CPU, precision):
        representations = [
            column for encode, chunks in parts for column in chunks.restore([encode(x) for x in chunks.parts])
        ]
    loss = objective.score(representations, answer)["loss"]
    loss.backward()
    whole = gradients(objective)
    after = torch.rand(1)
    torch.manual_seed(5)
    cached = cached_backward(
        objective, features, answer, 2, lambda x: x.backward(), partial(autocast, CPU, precision)
    )
    assert cached.item() == pytest.approx(loss.item(), rel=1e-5)
    assert distance(gradients(objective), whole) < bound
    assert torch.rand(1).equal(after)  # the random stream goes on as if there had been one pass


def test_gradient_cache_of_a_cross_encoder(tmp_path: Path) -> None:
    cross = tiny_cross(save_tiny(tmp_path / "bert"))
    objective = CrossRanking(cross, num_negatives=2)
    rows = [Example((f"question {i}", f"right {i}", f"wrong {i}"), (1.0, 0.0)) for i in range(4)]
    source = RankingSource.build(DataSet("made-up", "all", "ranking", "en", rows, {}), objective, cross)
    batch = source.batch([0, 1, 2, 3], CPU)
    cross.eval()
    objective(batch.features, batch.answer)["loss"].backward()
    whole = gradients(objective)
    cached_backward(
        objective,
        batch.features,
        batch.answer,
        3,
        lambda x: x.backward(),
        partial(autocast, CPU, "fp32"),
    )
    assert distance(gradients(objective), whole) < 1e-5


def test_copies_do_not_share_weights() -> None:
    towers = TwoTowers.of(model())
    assert not {id(p) for p in towers.query.parameters()} & {id(p) for p in towers.document.parameters()}
    start = copy.deepcopy(towers.query.state_dict())
    DenseRanking(towers)(FEATURES, ANSWER)["loss"].backward()
    with torch.no_grad():
        for p in towers.document.parameters():
            if p.grad is not None:
                p -= 0.1 * p.grad
    assert all(torch.equal(v, start[k]) for k, v in towers.query.state_dict().items())


def test_an_objective_says_what_it_takes() -> None:
    assert isinstance(DenseRanking(model()), DenseObjective)
    with pytest.raises(ValueError, match="takes questions and passages, got 3 columns"):
        DenseRanking(model()).plan([*FEATURES, FEATURES[0]])


def test_matryoshka_of_the_margin_loss_and_of_a_single_dimension() -> None:
    encoder = model().eval()
    slices = [
        DenseMegaBatchMargin(encoder, positive_margin=0.8, negative_margin=0.3, dims=(d,))(FEATURES, ANSWER)[
            "loss"
        ]
        for d in (1, 8)
    ]
    together = DenseMegaBatchMargin(encoder, dims=(1, 8))(FEATURES, ANSWER)[
        "loss"
    ]  # with the margins of its defaults
    torch.testing.assert_close(together, sum(slices))
    with pytest.raises(ValueError, match="dims 0: allowed are 1 to 16"):
        DenseMegaBatchMargin(encoder, dims=(0,))


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_gradient_cache_says_how_many_texts_go_at_a_time(rows: int) -> None:
    plan = DenseRanking(model()).plan(FEATURES, rows)
    widest = [max(len(part["input_ids"]) for part in chunks.parts) for _, chunks in plan]
    assert widest == [
        min(rows, 3),
        min(rows, 2 if rows == 3 else 4),
    ]  # four passages in two parts are two and two
    assert sum(len(part["input_ids"]) for _, chunks in plan for part in chunks.parts) == 7
