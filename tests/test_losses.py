"""Losses and pairwise similarities: by hand, CoSENT against the form it abbreviates, and inputs that must be refused."""

import math

import pytest
import torch
from torch import Tensor

from losses import PAIRWISE, cosent_loss, cosine_regression_loss, triplet_loss

U = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [1.0, -2.0]])
V = torch.tensor([[4.0, 3.0], [0.0, 2.0], [3.0, 4.0], [1.0, -2.0]])
SIMILARITIES = {
    "cosine": [0.96, 0.0, 0.0, 1.0],  # a zero row has no direction: 0
    "euclidean": [-math.sqrt(2), -math.sqrt(5), -5.0, 0.0],
    "manhattan": [-2.0, -3.0, -7.0, 0.0],
    "dot": [24.0, 0.0, 0.0, 5.0],
}


def cosent_over_all_pairs(similarity: Tensor, score: Tensor, scale: float = 20.0) -> Tensor:
    """The definition, B x B, in float64: row i, column j, a term wherever score i < score j."""
    z = scale * similarity.double()
    terms = (z[:, None] - z[None, :])[score[:, None] < score[None, :]]
    return torch.logsumexp(torch.cat([z.new_zeros(1), terms]), dim=0)


def batch_of_scores(size: int, levels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Cosines (B,) and scores (B,) of so many levels; few levels mean many ties."""
    generator = torch.Generator().manual_seed(seed)
    similarity = 2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1
    return similarity, torch.randint(levels, (size,), generator=generator).float() / max(levels - 1, 1)


def test_every_similarity_is_covered() -> None:
    assert set(SIMILARITIES) == set(PAIRWISE)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_similarities_by_hand(name: str) -> None:
    torch.testing.assert_close(PAIRWISE[name](U, V), torch.tensor(SIMILARITIES[name]))
    torch.testing.assert_close(PAIRWISE[name](V, U), torch.tensor(SIMILARITIES[name]))


@pytest.mark.parametrize("name", SIMILARITIES)
def test_similarities_of_half_precision_vectors_are_fp32(name: str) -> None:
    u, v = torch.full((1, 4), 300.0, dtype=torch.float16), torch.full((1, 4), -300.0, dtype=torch.float16)
    out = PAIRWISE[name](u, v)  # 300 * 300 overflows fp16
    assert out.dtype == torch.float32
    expected = {"cosine": -1.0, "euclidean": -1200.0, "manhattan": -2400.0, "dot": -360_000.0}[name]
    assert out.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_similarities_have_finite_gradients_at_zero_and_at_equal_rows(name: str) -> None:
    u, v = U.clone().requires_grad_(), V.clone().requires_grad_()
    PAIRWISE[name](u, v).sum().backward()
    for tensor in (u, v):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


# ---------------------------------------------------------------- regression


def test_regression_by_hand() -> None:
    loss = cosine_regression_loss(U[:2], V[:2], torch.tensor([0.5, 0.25]))
    assert loss.item() == pytest.approx((0.46**2 + 0.25**2) / 2)


def test_regression_takes_both_ends_of_the_range() -> None:
    loss = cosine_regression_loss(U[:2], V[:2], torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert loss.item() == pytest.approx(0.04**2 / 2, rel=1e-4)
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("bad, shown", [(5.0, "5"), (1.001, "1.001"), (-0.2, "-0.2"), (math.nan, "nan")])
def test_regression_refuses_scores_outside_0_to_1(bad: float, shown: str) -> None:
    with pytest.raises(ValueError, match=rf"score {shown} is outside 0\.\.1"):
        cosine_regression_loss(U[:2], V[:2], torch.tensor([0.5, bad]))


# ---------------------------------------------------------------- triplet

ANCHOR = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
POSITIVE = torch.tensor([[4.0, 4.0], [1.0, 0.0]])  # distances to the anchor: 5 and 0, Manhattan 7 and 0
NEGATIVE = torch.tensor([[1.0, 2.0], [7.0, 8.0]])  # distances to the anchor: 2 and 10, Manhattan 2 and 14


def test_triplet_by_hand() -> None:
    """Per row max(d(a, p) - d(a, n) + margin, 0); the second row is satisfied and gives 0."""
    assert triplet_loss(ANCHOR, POSITIVE, NEGATIVE).item() == pytest.approx((5 - 2 + 1) / 2)
    assert triplet_loss(ANCHOR, POSITIVE, NEGATIVE, margin=0.5).item() == pytest.approx((5 - 2 + 0.5) / 2)
    assert triplet_loss(ANCHOR, POSITIVE, NEGATIVE, margin=10.5).item() == pytest.approx((13.5 + 0.5) / 2)
    loss = triplet_loss(ANCHOR, POSITIVE, NEGATIVE, distance="manhattan")
    assert loss.item() == pytest.approx((7 - 2 + 1) / 2)


def test_triplet_cosine_by_hand() -> None:
    positive = torch.tensor([[3.0, 4.0], [2.0, 0.0]])  # cosine distances 0.4 and 0
    negative = torch.tensor([[4.0, 3.0], [0.0, 3.0]])  # cosine distances 0.2 and 1
    loss = triplet_loss(ANCHOR, positive, negative, margin=0.5, distance="cosine")
    assert loss.item() == pytest.approx((0.4 - 0.2 + 0.5 + 0) / 2)


def test_triplet_pulls_the_positive_and_pushes_the_negative() -> None:
    """The gradient of a violated row has unit length at both; a satisfied row gets none."""
    positive, negative = POSITIVE.clone().requires_grad_(), NEGATIVE.clone().requires_grad_()
    triplet_loss(ANCHOR, positive, negative).backward()
    torch.testing.assert_close(positive.grad, torch.tensor([[0.6, 0.8], [0.0, 0.0]]) / 2)
    torch.testing.assert_close(negative.grad, torch.tensor([[0.0, -1.0], [0.0, 0.0]]) / 2)


@pytest.mark.parametrize("distance", ["dot", "l2", ""])
def test_triplet_refuses_an_unknown_distance(distance: str) -> None:
    with pytest.raises(
        ValueError, match=f"distance '{distance}': allowed are 'euclidean', 'manhattan', 'cosine'"
    ):
        triplet_loss(ANCHOR, POSITIVE, NEGATIVE, distance=distance)


# ---------------------------------------------------------------- CoSENT


def test_cosent_by_hand() -> None:
    """Pairs with y_i < y_j: (0, 1), (0, 2), (2, 1), with differences 0.6, 0.3, 0.3."""
    similarity, score = torch.tensor([0.8, 0.2, 0.5]), torch.tensor([0.0, 1.0, 0.5])
    by_hand = math.log(1 + math.exp(0.6) + 2 * math.exp(0.3))
    assert cosent_loss(similarity, score, scale=1.0).item() == pytest.approx(by_hand, rel=1e-6)
    assert cosent_loss(similarity, score).item() == pytest.approx(
        math.log(1 + math.exp(12) + 2 * math.exp(6)), rel=1e-6
    )


@pytest.mark.parametrize("levels", [2, 6, 1000])
@pytest.mark.parametrize("size", [2, 3, 17, 64])
def test_cosent_equals_the_sum_over_all_pairs(size: int, levels: int) -> None:
    for seed in range(5):
        similarity, score = batch_of_scores(size, levels, seed)
        ours, reference = cosent_loss(similarity, score), cosent_over_all_pairs(similarity, score)
        torch.testing.assert_close(ours.double(), reference, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("levels", [2, 6, 1000])
def test_cosent_gradient_equals_that_of_the_sum_over_all_pairs(levels: int) -> None:
    similarity, score = batch_of_scores(32, levels, seed=3)
    ours, reference = similarity.clone().requires_grad_(), similarity.clone().requires_grad_()
    cosent_loss(ours, score).backward()
    cosent_over_all_pairs(reference, score).backward()
    torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-4, atol=1e-5)
    assert reference.grad is not None
    assert reference.grad.abs().max() > 0.1


def test_cosent_ties_only() -> None:
    similarity = torch.tensor([0.9, -0.9, 0.1, 0.3], requires_grad=True)
    loss = cosent_loss(similarity, torch.full((4,), 0.4))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(similarity.grad, torch.zeros(4))


def test_cosent_of_one_pair() -> None:
    similarity = torch.tensor([0.9], requires_grad=True)
    loss = cosent_loss(similarity, torch.tensor([0.4]))
    loss.backward()
    assert loss.item() == 0.0
    assert similarity.grad.tolist() == [0.0]


def test_cosent_of_a_perfect_ranking_is_near_zero_and_of_a_wrong_one_is_not() -> None:
    score = torch.tensor([0.0, 0.5, 1.0])
    assert cosent_loss(torch.tensor([-1.0, 0.0, 1.0]), score).item() == pytest.approx(
        2 * math.exp(-20), abs=1e-6
    )
    assert cosent_loss(torch.tensor([1.0, 0.0, -1.0]), score).item() == pytest.approx(40.0, abs=1e-5)


def test_cosent_does_not_depend_on_the_order_of_the_batch() -> None:
    similarity, score = batch_of_scores(40, 6)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(cosent_loss(similarity, score), cosent_loss(similarity[order], score[order]))


def test_cosent_of_2048_pairs() -> None:
    similarity, score = batch_of_scores(2048, 26)
    ours, reference = similarity.clone().requires_grad_(), similarity.clone().requires_grad_()
    loss = cosent_loss(ours, score)
    loss.backward()
    expected = cosent_over_all_pairs(reference, score)
    expected.backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-3, atol=1e-6)


def test_cosent_of_half_precision_similarities_is_fp32() -> None:
    similarity, score = batch_of_scores(16, 6)
    half = similarity.to(torch.bfloat16)
    loss = cosent_loss(half, score)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), cosent_over_all_pairs(half, score), rtol=1e-5, atol=1e-5)


def test_cosent_refuses_a_score_that_is_nan() -> None:
    with pytest.raises(ValueError, match="a score is nan: it has no rank among the others"):
        cosent_loss(torch.tensor([0.1, 0.2]), torch.tensor([0.5, float("nan")]))


def test_the_score_that_is_refused_is_the_one_outside() -> None:
    """The first of them: 1 itself, before it, is right."""
    u = torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"score 1\.5 is outside"):
        cosine_regression_loss(u, u, torch.tensor([1.0, 1.5, 7.0]))
