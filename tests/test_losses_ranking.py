"""Margin MSE and softmax ranking: by hand, against the peer's values, and inputs that must be refused."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from losses import margin_mse_loss, margins_of, softmax_ranking_loss

# ---------------------------------------------------------------- margin MSE

POSITIVE, NEGATIVES = torch.tensor([3.0, 1.0]), torch.tensor([[1.0, 2.0], [1.5, -1.0]])
MARGINS = torch.tensor([[1.5, 1.0], [0.5, 2.0]])


def test_margin_mse_by_hand() -> None:
    """Differences 2, 1, -0.5, 2 are off by 0.5, 0, -1, 0."""
    assert margin_mse_loss(POSITIVE, NEGATIVES, MARGINS).item() == pytest.approx((0.25 + 1) / 4)
    first = margin_mse_loss(POSITIVE, NEGATIVES[:, 0], MARGINS[:, 0])
    assert first.item() == pytest.approx((0.25 + 1) / 2)
    assert first == margin_mse_loss(POSITIVE, NEGATIVES[:, :1], MARGINS[:, :1])


def test_margin_mse_gradient_by_hand() -> None:
    """2 * (difference - margin) / 4 at the positive (summed over its negatives), and negated at the negative."""
    positive, negatives = POSITIVE.clone().requires_grad_(), NEGATIVES.clone().requires_grad_()
    margin_mse_loss(positive, negatives, MARGINS).backward()
    assert positive.grad is not None
    assert negatives.grad is not None
    assert positive.grad.tolist() == [0.25, -0.5]
    assert negatives.grad.tolist() == [[-0.25, 0.0], [0.5, 0.0]]


def test_margins_of_a_teacher() -> None:
    scores = torch.tensor([[5.0, 3.5, 4.0], [1.0, 0.5, -1.0]], dtype=torch.float64)
    assert margins_of(scores).tolist() == MARGINS.tolist()
    assert margins_of(scores).dtype == torch.float32
    assert margins_of(torch.tensor([[60_000.0, -60_000.0]]).half()).item() == pytest.approx(120_000, rel=1e-3)


def test_margin_mse_ignores_what_is_common_to_a_query() -> None:
    shift = torch.tensor([7.0, -3.0])
    shifted = margin_mse_loss(POSITIVE + shift, NEGATIVES + shift[:, None], MARGINS)
    torch.testing.assert_close(shifted, margin_mse_loss(POSITIVE, NEGATIVES, MARGINS))


@pytest.mark.parametrize(
    ("positive", "negatives", "margins", "message"),
    [
        ((2, 1), (2,), (2,), r"positive \(2, 1\) and negatives \(2,\): need"),
        ((2,), (3,), (3,), r"positive \(2,\) and negatives \(3,\): need"),
        ((2,), (2, 1, 1), (2, 1, 1), r"positive \(2,\) and negatives \(2, 1, 1\): need"),
        ((2,), (), (), r"positive \(2,\) and negatives \(\): need"),
        ((2,), (2, 1), (2,), r"margins \(2,\) and negatives \(2, 1\): need"),
        ((2,), (2,), (2, 1), r"margins \(2, 1\) and negatives \(2,\): need"),
        ((2,), (2, 3), (2, 4), r"margins \(2, 4\) and negatives \(2, 3\): need"),
    ],
)
def test_margin_mse_refuses_shapes(
    positive: tuple[int, ...], negatives: tuple[int, ...], margins: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        margin_mse_loss(torch.zeros(positive), torch.zeros(negatives), torch.zeros(margins))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 3, 4)])
def test_margins_of_refuses_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"scores \(.*\): need \(B, n \+ 1\)"):
        margins_of(torch.zeros(shape))


def test_margin_mse_of_half_precision_scores_is_fp32() -> None:
    """The difference of two fp16 scores, 120,000 here, overflows fp16."""
    positive, negatives = torch.tensor([60_000.0]).half(), torch.tensor([-60_000.0]).half()
    loss = margin_mse_loss(positive, negatives, torch.tensor([119_000.0]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((positive.item() - negatives.item() - 119_000) ** 2)


def test_margin_mse_equals_the_peers() -> None:
    """Values of tests/golden/make_ranking_losses.py."""
    path = Path(__file__).parent / "golden" / "expected_ranking_losses.json"
    golden = json.loads(path.read_text(encoding="utf8"))["margin"]
    margins = margins_of(torch.tensor(golden["teacher"]))
    for name, loss in {
        "MarginMSELoss(), one negative": lambda s: margin_mse_loss(s[:, 0], s[:, 1], margins[:, 0]),
        "MarginMSELoss(), four negatives": lambda s: margin_mse_loss(s[:, 0], s[:, 1:], margins),
    }.items():
        gradient = torch.tensor(golden[name]["gradient"])  # of the columns that the loss reads
        scores = torch.tensor(golden["scores"])[:, : gradient.shape[1]].requires_grad_()
        value = loss(scores)
        value.backward()
        assert value.item() == pytest.approx(golden[name]["value"], rel=1e-6)
        torch.testing.assert_close(scores.grad, gradient, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- softmax ranking


def test_softmax_ranking_by_hand() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]])
    right = math.log(1 + math.exp(2) + math.exp(1))
    assert softmax_ranking_loss(scores).item() == pytest.approx((right + math.log(3)) / 2)
    columns = torch.tensor([1, 2])
    right = math.log(1 + math.exp(-2) + math.exp(-1))
    assert softmax_ranking_loss(scores, columns).item() == pytest.approx((right + math.log(3)) / 2)
    mask = torch.tensor([[True, False, True], [True, True, False]])
    right = math.log(1 + math.exp(1))
    assert softmax_ranking_loss(scores, mask=mask).item() == pytest.approx((right + math.log(2)) / 2)


def test_softmax_ranking_is_cross_entropy_and_has_its_gradient() -> None:
    """Gradient (softmax - one-hot) / Q, here in float64."""
    scores = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    positive = torch.tensor([2, 0, 5, 1])
    loss = softmax_ranking_loss(scores, positive)
    loss.backward()
    assert loss.item() == pytest.approx(F.cross_entropy(scores.double(), positive).item())
    expected = (scores.detach().double().softmax(-1) - F.one_hot(positive, 6)) / 4
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad.double(), expected, rtol=1e-5, atol=1e-7)
    assert softmax_ranking_loss(scores, 3) == softmax_ranking_loss(scores, torch.full((4,), 3))


@pytest.mark.parametrize(
    ("positive", "message"),
    [
        (torch.tensor([0, 3]), r"positive 3 is not a column 0\.\.2"),
        (torch.tensor([-1, 0]), r"positive -1 is not a column 0\.\.2"),
        (-100, r"positive -100 is not a column 0\.\.2"),  # what cross_entropy would leave out without a word
        (torch.tensor([0]), r"positive \(1,\) and scores \(2, 3\): need \(Q,\)"),
        (torch.tensor([[0], [0]]), r"positive \(2, 1\) and scores \(2, 3\)"),
        (torch.tensor([0, 1]), r"the positive of query 1 is masked"),
    ],
)
def test_softmax_ranking_refuses_a_positive_that_is_not_there(positive: Tensor | int, message: str) -> None:
    mask = torch.tensor([[True, False, True], [True, False, True]])
    with pytest.raises(ValueError, match=message):
        softmax_ranking_loss(torch.zeros(2, 3), positive, mask)


def test_softmax_ranking_refuses_shapes() -> None:
    with pytest.raises(ValueError, match=r"scores \(6,\): need \(Q, N\)"):
        softmax_ranking_loss(torch.zeros(6))
    with pytest.raises(ValueError, match=r"mask \(3,\) and scores \(2, 3\)"):
        softmax_ranking_loss(torch.zeros(2, 3), 0, torch.ones(3, dtype=torch.bool))
