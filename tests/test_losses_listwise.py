"""ListNet and LambdaLoss: by hand, against loops over floats, against the peer's values; masks of all ranking losses."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from losses import lambda_loss, listnet_loss, softmax_ranking_loss

GOLDEN = json.loads(
    (Path(__file__).parent / "golden" / "expected_ranking_losses.json").read_text(encoding="utf8")
)
Rows = list[list[float]]


def lists(seed: int, lengths: tuple[int, ...] = (6, 3, 1, 4)) -> tuple[Tensor, Tensor, Tensor]:
    """scores, relevance 0..4 and mask, (Q, N), the masked cells filled with numbers that must not matter."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))
    relevance = torch.randint(0, 5, shape, generator=generator).float()
    mask = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    return 2 * torch.randn(shape, generator=generator), relevance, mask


def unpadded(scores: Tensor, relevance: Tensor, mask: Tensor) -> tuple[Rows, Rows]:
    """The rows as lists of floats (float64), each of its own length."""
    scores_and_relevance = (
        [row[keep].tolist() for row, keep in zip(tensor, mask, strict=True)] for tensor in (scores, relevance)
    )
    return tuple(scores_and_relevance)  # type: ignore[return-value]


def slow_listnet(scores: Rows, relevance: Rows) -> float:
    total = 0.0
    for s, y in zip(scores, relevance, strict=True):
        for s_i, y_i in zip(s, y, strict=True):
            target = math.exp(y_i) / sum(map(math.exp, y))
            total -= target * math.log(math.exp(s_i) / sum(map(math.exp, s)))
    return total / len(scores)


def slow_lambda(scores: Rows, relevance: Rows, k: int | None = None, sigma: float = 1.0) -> float:
    """The formula of lambda_loss's docstring, a pair at a time."""
    total, pairs = 0.0, 0
    for s, y in zip(scores, relevance, strict=True):
        rank = [1 + sum(other > mine for other in s) for mine in s]
        best = sum((2**v - 1) / math.log2(2 + i) for i, v in enumerate(sorted(y, reverse=True)[:k]))
        for i in range(len(s)):
            for j in range(len(s)):
                if y[i] <= y[j] or (k is not None and min(rank[i], rank[j]) > k):
                    continue
                gap = abs(rank[i] - rank[j])
                weight = 10 * (1 / math.log2(1 + gap) - 1 / math.log2(2 + gap))
                weight += abs(1 / math.log2(1 + rank[i]) - 1 / math.log2(1 + rank[j]))
                gain = (2 ** y[i] - 2 ** y[j]) / best
                total += weight * gain * math.log2(1 + math.exp(-sigma * (s[i] - s[j])))
                pairs += 1
    return total / max(pairs, 1)


def slopes(loss: Callable[[Rows], float], scores: Rows, step: float = 1e-5) -> Rows:
    """Central differences in float64, one score at a time."""
    out = []
    for row in scores:
        out.append([0.0] * len(row))
        for i, value in enumerate(row):
            row[i] = value + step
            above = loss(scores)
            row[i] = value - step
            out[-1][i] = (above - loss(scores)) / (2 * step)
            row[i] = value
    return out


def value_and_gradient(loss: Callable[[Tensor], Tensor], scores: Tensor) -> tuple[float, Tensor]:
    scores = scores.detach().clone().requires_grad_()
    value = loss(scores)
    value.backward()
    assert scores.grad is not None
    return value.item(), scores.grad


# ---------------------------------------------------------------- ListNet


def test_listnet_by_hand() -> None:
    """Target (0.75, 0.25) against (0.5, 0.5), then against (0.25, 0.75)."""
    relevance = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])
    scores = torch.tensor([[2.0, 2.0], [-1.0, -1 + math.log(3)]])
    by_hand = [math.log(2), 0.75 * math.log(4) + 0.25 * math.log(4 / 3)]
    assert listnet_loss(scores, relevance).item() == pytest.approx(sum(by_hand) / 2)
    assert listnet_loss(scores[:1], relevance[:1]).item() == pytest.approx(by_hand[0])


def test_listnet_equals_the_loop() -> None:
    for seed in range(5):
        scores, relevance, mask = lists(seed)
        value, gradient = value_and_gradient(lambda s, y=relevance, m=mask: listnet_loss(s, y, m), scores)
        rows, labels = unpadded(scores, relevance, mask)
        assert value == pytest.approx(slow_listnet(rows, labels), rel=1e-5)
        expected = [v for row in slopes(lambda s, y=labels: slow_listnet(s, y), rows) for v in row]
        torch.testing.assert_close(gradient[mask], torch.tensor(expected), rtol=1e-4, atol=1e-6)


def test_listnet_is_cross_entropy_of_two_softmaxes_and_has_its_gradient() -> None:
    scores, relevance, _ = lists(1)
    value, gradient = value_and_gradient(lambda s: listnet_loss(s, relevance), scores)
    target = relevance.double().softmax(-1)
    assert value == pytest.approx(F.cross_entropy(scores.double(), target).item())
    expected = (scores.double().softmax(-1) - target) / 4
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=1e-7)


def test_listnet_leaves_out_a_query_without_documents() -> None:
    scores, relevance, mask = lists(2, (4, 0, 2))
    value, gradient = value_and_gradient(lambda s: listnet_loss(s, relevance, mask), scores)
    assert value == listnet_loss(scores[[0, 2]], relevance[[0, 2]], mask[[0, 2]]).item()
    assert gradient[1].tolist() == [0.0] * 4
    assert listnet_loss(scores, relevance, torch.zeros_like(mask)).item() == 0.0


# ---------------------------------------------------------------- LambdaLoss


def test_lambda_by_hand() -> None:
    """Scores rank the relevances 0, 1: the one pair is the wrong way round, by 2.

    Gain of the better 1 / (1 / log2(2)) = 1; ranks 2 and 1; |1 / log2(3) - 1 / log2(2)| is both parts' discount.
    """
    loss = lambda_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 0.0]]))
    discount = 1 - 1 / math.log2(3)
    assert loss.item() == pytest.approx((10 * discount + discount) * math.log2(1 + math.exp(2)))
    half = lambda_loss(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 0.0]]), sigma=0.5)
    assert half.item() == pytest.approx(11 * discount * math.log2(1 + math.exp(1)))


@pytest.mark.parametrize("sigma", [1.0, 0.3])
@pytest.mark.parametrize("k", [None, 1, 2, 5, 100])
def test_lambda_equals_the_loop(k: int | None, sigma: float) -> None:
    for seed in range(3):
        scores, relevance, mask = lists(seed)
        value, gradient = value_and_gradient(
            lambda s, y=relevance, m=mask: lambda_loss(s, y, m, k, sigma), scores
        )
        rows, labels = unpadded(scores, relevance, mask)
        assert value == pytest.approx(slow_lambda(rows, labels, k, sigma), rel=1e-5)
        expected = slopes(lambda s, y=labels: slow_lambda(s, y, k, sigma), rows)
        flat = torch.tensor([slope for row in expected for slope in row])
        torch.testing.assert_close(gradient[mask], flat, rtol=1e-4, atol=1e-5)


def test_lambda_of_lists_that_have_no_pair_is_zero() -> None:
    for relevance in (torch.zeros(2, 3), torch.full((2, 3), 2.0)):
        value, gradient = value_and_gradient(lambda s, y=relevance: lambda_loss(s, y), torch.randn(2, 3))
        assert value == 0.0
        assert torch.equal(gradient, torch.zeros(2, 3))


def test_lambda_ranks_equal_scores_by_column() -> None:
    """Equal scores everywhere: the ranks are 1, 2, 3, and each pair's logarithm is log2(2) = 1."""
    relevance = torch.tensor([[0.0, 1.0, 0.0]])
    tied, nudged = torch.zeros(1, 3), torch.tensor([[2e-6, 1e-6, 0.0]])
    assert lambda_loss(tied, relevance).item() == pytest.approx(
        lambda_loss(nudged, relevance).item(), rel=1e-5
    )
    many = torch.zeros(1, 64)  # an unstable sort starts to differ with more columns
    last = torch.zeros(1, 64)
    last[0, 63] = 1
    falling = -1e-7 * torch.arange(64.0)[None]
    assert lambda_loss(many, last).item() == pytest.approx(lambda_loss(falling, last).item(), rel=1e-4)


def test_lambda_of_large_relevance_and_scores_is_finite() -> None:
    """2^200 is no fp32 number; a document 200 grades ahead has gain 1 and the others 0."""
    scores = torch.tensor([[-500.0, 800.0, 3.0]])
    value, gradient = value_and_gradient(lambda s: lambda_loss(s, torch.tensor([[200.0, 0.0, 1.0]])), scores)
    ranks = {0: 3, 1: 1, 2: 2}
    by_hand = 0.0
    for other, difference in ((1, 1300), (2, 503)):
        gap = ranks[0] - ranks[other]
        near = 1 / math.log2(1 + gap) - 1 / math.log2(2 + gap)
        far = 1 / math.log2(1 + ranks[other]) - 1 / math.log2(4)
        by_hand += (10 * near + far) * difference / math.log(2)
    assert value == pytest.approx(by_hand / 3, rel=1e-5)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("bad, shown", [(-1.0, "-1"), (math.nan, "nan")])
def test_lambda_refuses_relevance_below_zero(bad: float, shown: str) -> None:
    with pytest.raises(ValueError, match=f"relevance {shown} is not >= 0"):
        lambda_loss(torch.zeros(1, 2), torch.tensor([[0.0, bad]]))


@pytest.mark.parametrize(("k", "sigma"), [(0, 1.0), (-1, 1.0), (None, 0.0), (3, -0.5), (3, math.nan)])
def test_lambda_refuses_k_and_sigma(k: int | None, sigma: float) -> None:
    with pytest.raises(ValueError, match=f"k {k} and sigma {sigma:g}: need"):
        lambda_loss(torch.zeros(1, 2), torch.zeros(1, 2), k=k, sigma=sigma)


# ---------------------------------------------------------------- all with a mask

MASKED = {
    "softmax": lambda scores, relevance, mask: softmax_ranking_loss(scores, 0, mask),
    "listnet": listnet_loss,
    "lambda": lambda_loss,
    "lambda k=2": lambda scores, relevance, mask: lambda_loss(scores, relevance, mask, k=2),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_cells_have_no_influence(name: str) -> None:
    """Neither what they hold, nor their number, nor whether a mask or a shorter list leaves them out."""
    scores, relevance, mask = lists(4, (4, 2, 1))
    value, gradient = value_and_gradient(lambda s: MASKED[name](s, relevance, mask), scores)
    assert gradient[~mask].tolist() == [0.0] * 5
    for filling in (1e9, -1e9, math.inf, -math.inf, math.nan):
        holes = ~F.pad(mask, (0, 3))
        wide = [F.pad(tensor, (0, 3)).masked_fill(holes, filling) for tensor in (scores, relevance)]
        again, gradient_again = value_and_gradient(
            lambda s, wide=wide, holes=holes: MASKED[name](s, wide[1], ~holes), wide[0]
        )
        assert again == pytest.approx(value, rel=1e-6), filling
        torch.testing.assert_close(gradient_again, F.pad(gradient, (0, 3)), msg=str(filling))
    alone, gradient_alone = value_and_gradient(lambda s: MASKED[name](s, relevance[:1], None), scores[:1])
    first, gradient_first = value_and_gradient(lambda s: MASKED[name](s, relevance[:1], mask[:1]), scores[:1])
    assert alone == first
    assert torch.equal(gradient_alone, gradient_first)


@pytest.mark.parametrize("name", MASKED)
def test_masked_cells_stay_out_among_very_low_scores(name: str) -> None:
    """One document is left and it is the right one, whatever its score: nothing to lose."""
    scores, relevance = torch.tensor([[-1e30, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert MASKED[name](scores, relevance, torch.tensor([[True, False]])).item() == 0.0


@pytest.mark.parametrize("name", ["listnet", "lambda", "lambda k=2"])
def test_order_of_documents_and_queries_does_not_matter(name: str) -> None:
    scores, relevance, mask = lists(5)
    documents, queries = torch.tensor([4, 2, 0, 5, 1, 3]), torch.tensor([2, 0, 3, 1])
    moved = [tensor[queries][:, documents] for tensor in (scores, relevance, mask)]
    torch.testing.assert_close(MASKED[name](*moved), MASKED[name](scores, relevance, mask))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", MASKED)
def test_half_precision_scores_give_an_fp32_loss(name: str, dtype: torch.dtype) -> None:
    scores, relevance, mask = lists(6)
    scores, relevance = scores.to(dtype), relevance.to(dtype)
    value = MASKED[name](scores, relevance, mask)
    assert value.dtype == torch.float32
    assert value == MASKED[name](scores.float(), relevance.float(), mask)


@pytest.mark.parametrize("loss", [listnet_loss, lambda_loss])
def test_listwise_losses_refuse_shapes(loss: Callable[..., Tensor]) -> None:
    for scores, relevance in (((2, 3), (2, 2)), ((2, 3), (3,)), ((3,), (3,)), ((2, 1), (2, 3))):
        shown = re.escape(f"scores {scores} and relevance {relevance}: need (Q, N) twice")
        with pytest.raises(ValueError, match=shown):
            loss(torch.zeros(scores), torch.zeros(relevance))
    with pytest.raises(ValueError, match=r"mask \(3,\) and scores \(2, 3\): need the same"):
        loss(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(3, dtype=torch.bool))


# ---------------------------------------------------------------- the peer

PEER: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "ListNetLoss()": listnet_loss,
    "LambdaLoss()": lambda_loss,
    "LambdaLoss(k=2, sigma=0.5)": lambda s, y, m: lambda_loss(s, y, m, k=2, sigma=0.5),
}


@pytest.mark.parametrize("name", PEER)
@pytest.mark.parametrize("case", GOLDEN["listwise"])
def test_listwise_losses_equal_the_peers(case: str, name: str) -> None:
    """Values of tests/golden/make_ranking_losses.py."""
    golden = GOLDEN["listwise"][case]
    scores, relevance, mask = (torch.tensor(golden[key]) for key in ("scores", "relevance", "mask"))
    value, gradient = value_and_gradient(lambda s: PEER[name](s, relevance, mask), scores)
    assert value == pytest.approx(golden[name]["value"], rel=1e-5)
    torch.testing.assert_close(gradient, torch.tensor(golden[name]["gradient"]), rtol=1e-4, atol=1e-6)
