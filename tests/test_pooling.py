"""Pooling: five tokens by hand, and what must not matter: padding, its side, its contents, the precision of the input."""

import math

import pytest
import torch
from torch import Tensor

from sbert.pooling import POOLINGS, pool

TOKENS = torch.tensor([[4.0, -1.0], [-1.0, -2.0], [9.0, -3.0], [2.0, -5.0], [-4.0, -4.0]])  # (T, D) = (5, 2)
ROOT5, ROOT3 = math.sqrt(5), math.sqrt(3)
BY_HAND = {
    "mean": (10 / 5, -15 / 5),
    "mean_sqrt": (10 / ROOT5, -15 / ROOT5),
    "weighted_mean": ((4 - 2 + 27 + 8 - 20) / 15, (-1 - 4 - 9 - 20 - 20) / 15),
    "max": (9, -1),
    "cls": (4, -1),
    "last": (-4, -4),
}
WITHOUT_TWO = {  # the same with the first two tokens left out; the others keep positions 3, 4, 5
    "mean": (7 / 3, -12 / 3),
    "mean_sqrt": (7 / ROOT3, -12 / ROOT3),
    "weighted_mean": ((27 + 8 - 20) / 12, (-9 - 20 - 20) / 12),
    "max": (9, -3),
    "cls": (9, -3),
    "last": (-4, -4),
}
MODES = tuple(BY_HAND)


def padded(left: int, right: int, value: float = 0.0) -> tuple[Tensor, Tensor]:
    """TOKENS as a batch of one with padding on either side that holds ``value``: (1, T, D), (1, T)."""
    fill = torch.full((1, 2), value)
    h = torch.cat([fill.expand(left, 2), TOKENS, fill.expand(right, 2)])
    mask = torch.tensor([0] * left + [1] * len(TOKENS) + [0] * right)
    return h.unsqueeze(0), mask.unsqueeze(0)


def test_every_pooling_is_covered() -> None:
    assert set(BY_HAND) == set(WITHOUT_TWO) == set(POOLINGS)


@pytest.mark.parametrize("mode", MODES)
def test_by_hand(mode: str) -> None:
    torch.testing.assert_close(
        pool(*padded(0, 0), [mode]), torch.tensor([BY_HAND[mode]], dtype=torch.float32)
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("left, right", [(0, 3), (3, 0), (2, 2)])
@pytest.mark.parametrize("value", [0.0, 1e30, math.nan, math.inf, -math.inf])
def test_padding_changes_nothing(mode: str, left: int, right: int, value: float) -> None:
    expected = torch.tensor([BY_HAND[mode]], dtype=torch.float32)
    torch.testing.assert_close(pool(*padded(left, right, value), [mode]), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("left, right", [(0, 0), (0, 3), (3, 0)])
def test_skip_leaves_the_first_real_tokens_out(mode: str, left: int, right: int) -> None:
    expected = torch.tensor([WITHOUT_TWO[mode]], dtype=torch.float32)
    torch.testing.assert_close(pool(*padded(left, right, math.nan), [mode], skip=2), expected)


@pytest.mark.parametrize("mode", MODES)
def test_skipping_everything_gives_zeros(mode: str) -> None:
    assert pool(*padded(1, 1), [mode], skip=5).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [7.0, math.nan, math.inf])
def test_a_row_of_padding_gives_zeros_and_leaves_its_neighbour_alone(mode: str, value: float) -> None:
    h = torch.stack([TOKENS, torch.full_like(TOKENS, value)])
    out = pool(h, torch.tensor([[1] * 5, [0] * 5]), [mode])
    torch.testing.assert_close(out, torch.tensor([BY_HAND[mode], (0.0, 0.0)]))


@pytest.mark.parametrize("mode", MODES)
def test_mixed_lengths_equal_one_at_a_time(mode: str) -> None:
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(4, 7, 3, generator=generator)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [0] * 5 + [1] * 2, [1] + [0] * 6])
    alone = [pool(h[i : i + 1, mask[i].bool()], torch.ones(1, int(mask[i].sum())), [mode]) for i in range(4)]
    torch.testing.assert_close(pool(h, mask, [mode]), torch.cat(alone))


@pytest.mark.parametrize("mode", MODES)
def test_out_of_place(mode: str) -> None:
    h, mask = padded(1, 2, 5.0)
    h_before, mask_before = h.clone(), mask.clone()
    pool(h, mask, [mode], skip=1)
    assert torch.equal(h, h_before)
    assert torch.equal(mask, mask_before)


def test_modes_are_concatenated_in_the_given_order() -> None:
    out = pool(*padded(0, 1), ["max", "cls", "mean"])
    assert out.tolist() == [[9.0, -1.0, 4.0, -1.0, 2.0, -3.0]]


@pytest.mark.parametrize("mode", MODES)
def test_large_fp16_values_do_not_overflow(mode: str) -> None:
    h = torch.full((1, 4, 2), 60_000.0, dtype=torch.float16)  # two of them exceed fp16's 65,504
    out = pool(h, torch.tensor([[1, 1, 1, 1]]), [mode])
    assert out.dtype == torch.float32
    assert out.tolist() == [[120_000.0 if mode == "mean_sqrt" else 60_000.0] * 2]


@pytest.mark.parametrize("mode", ["mean", "weighted_mean"])
def test_bf16_values_are_averaged_in_fp32(mode: str) -> None:
    h = torch.tensor(
        [[[256.0], [258.0]]], dtype=torch.bfloat16
    )  # neighbours: no bf16 number lies between them
    out = pool(h, torch.tensor([[1, 1]]), [mode])
    assert out.dtype == torch.float32
    assert out.item() == pytest.approx(257 if mode == "mean" else (256 + 2 * 258) / 3, abs=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_no_gradient_reaches_padding(mode: str, value: float) -> None:
    h, mask = padded(2, 3, value)
    h.requires_grad_()
    pool(h, mask, [mode]).sum().backward()
    assert h.grad is not None
    assert torch.equal(h.grad[mask == 0], torch.zeros(5, 2))
    share = {"mean": [0.2] * 5, "mean_sqrt": [1 / ROOT5] * 5, "weighted_mean": [i / 15 for i in range(1, 6)]}
    share |= {"max": [0, 0, 1, 0, 0], "cls": [1, 0, 0, 0, 0], "last": [0, 0, 0, 0, 1]}
    torch.testing.assert_close(h.grad[mask == 1][:, 0], torch.tensor(share[mode], dtype=torch.float32))


@pytest.mark.parametrize("mode", MODES)
def test_a_text_of_one_token_is_that_token(mode: str) -> None:
    """No mode divides by more than the one token it has."""
    h, mask = torch.cat([TOKENS[:1], TOKENS[1:]]).unsqueeze(0), torch.tensor([[1, 0, 0, 0, 0]])
    torch.testing.assert_close(pool(h, mask, [mode]), TOKENS[:1])


def test_the_weighted_mean_counts_from_the_first_token() -> None:
    """Called alone, without a prompt: weights 1 to 5."""
    from sbert.pooling import weighted_mean

    found = weighted_mean(TOKENS.unsqueeze(0), torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(found, torch.tensor([BY_HAND["weighted_mean"]]))
