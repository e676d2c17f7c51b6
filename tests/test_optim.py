"""The learning rate by hand, and which parameter is in which group."""

import pytest
import torch
from torch import nn

from sbert.optim import build_optimizer, learning_rate_factor

SETTINGS = {"lr": 2e-5, "head_lr": 1e-3, "weight_decay": 0.01}


def factors(total: int, warmup: int) -> list[float]:
    return [learning_rate_factor(update, total, warmup) for update in range(total + 2)]


def test_warm_up_then_decay() -> None:
    """Two updates up in thirds, the peak at the third, then down in eighths: 0 one update after the last."""
    down = [(10 - update) / 8 for update in range(2, 11)]
    assert factors(10, 2) == pytest.approx([1 / 3, 2 / 3, *down, 0])
    assert factors(10, 2)[2] == 1
    assert factors(10, 2)[9] == pytest.approx(1 / 8)
    assert factors(10, 2)[10] == 0


def test_no_warm_up_starts_at_the_peak() -> None:
    assert factors(4, 0) == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])


@pytest.mark.parametrize(
    "total, warmup, expected", [(1, 0, [1, 0]), (1, 1, [0.5, 0]), (2, 2, [1 / 3, 2 / 3, 0])]
)
def test_shortest_runs(total: int, warmup: int, expected: list[float]) -> None:
    assert factors(total, warmup)[: total + 1] == pytest.approx(expected)


@pytest.mark.parametrize("total, warmup", [(100, 10), (7, 3), (50, 0), (3, 3)])
def test_every_update_learns_something(total: int, warmup: int) -> None:
    assert all(0 < factor <= 1 for factor in factors(total, warmup)[:total])


class Encoder(nn.Module):
    """One matrix, its bias, a layer norm; 2-d: weight; 1-d: bias, norm.weight, norm.bias."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 3), nn.LayerNorm(3)


class Head(nn.Module):
    """Holds the encoder, as an objective does, and adds a classifier."""

    def __init__(self, model: nn.Module, classifier: nn.Linear | None = None) -> None:
        super().__init__()
        self.model, self.classifier = model, classifier or nn.Linear(3, 2)


def ids(*parameters: torch.Tensor) -> set[int]:
    return {id(parameter) for parameter in parameters}


def test_four_groups() -> None:
    encoder = Encoder()
    head = Head(encoder)
    optimizer = build_optimizer(encoder, [head], **SETTINGS)
    found = [(g["lr"], g["peak"], g["weight_decay"], ids(*g["params"])) for g in optimizer.param_groups]
    assert found == [
        (2e-5, 2e-5, 0.01, ids(encoder.linear.weight)),
        (2e-5, 2e-5, 0.0, ids(encoder.linear.bias, encoder.norm.weight, encoder.norm.bias)),
        (1e-3, 1e-3, 0.01, ids(head.classifier.weight)),
        (1e-3, 1e-3, 0.0, ids(head.classifier.bias)),
    ]


def test_shared_parameters_stand_in_one_group_once() -> None:
    """Two objectives hold one encoder and one classifier; the encoder ties two of its matrices."""
    encoder = Encoder()
    encoder.tied = nn.Linear(3, 3)
    encoder.tied.weight = encoder.linear.weight
    classifier = nn.Linear(3, 2)
    heads = [Head(encoder, classifier), Head(encoder, classifier), Head(encoder)]
    optimizer = build_optimizer(encoder, heads, **SETTINGS)
    listed = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == ids(*(p for head in heads for p in head.parameters()))
    fast = [id(p) for group in optimizer.param_groups if group["lr"] == 1e-3 for p in group["params"]]
    assert set(fast) == ids(*classifier.parameters(), *heads[2].classifier.parameters())


def test_frozen_parameters_and_empty_groups_are_left_out() -> None:
    encoder = Encoder()
    encoder.norm.requires_grad_(False)
    encoder.linear.bias.requires_grad_(False)
    optimizer = build_optimizer(encoder, [], **SETTINGS)
    assert [ids(*group["params"]) for group in optimizer.param_groups] == [ids(encoder.linear.weight)]


def test_only_matrices_shrink_without_a_gradient() -> None:
    """One step on zero gradients: decoupled decay by lr * weight_decay, and nothing else moves."""
    encoder = Encoder()
    head = Head(encoder)
    before = {name: p.detach().clone() for name, p in head.named_parameters()}
    for p in head.parameters():
        p.grad = torch.zeros_like(p)
    build_optimizer(encoder, [head], lr=0.1, head_lr=0.5, weight_decay=0.2).step()
    for name, p in head.named_parameters():
        rate = 0.5 if name.startswith("classifier") else 0.1
        expected = before[name] * (1 - rate * 0.2) if p.dim() > 1 else before[name]
        torch.testing.assert_close(p.detach(), expected)
