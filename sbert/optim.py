"""AdamW in four groups, and the learning rate as a pure function of the step (SBERT paper, section 3.1)."""

from collections.abc import Iterable

import torch
from torch import nn

from sbert.cross_encoder import CrossEncoder


def learning_rate_factor(update: int, total: int, warmup: int) -> float:
    """Share of the peak rate at an update (counted from 0): linear warm-up over ``warmup`` updates, then linear decay
    that would reach 0 one update after the last."""
    if update < warmup:
        return (update + 1) / (warmup + 1)
    return max(0.0, (total - update) / max(1, total - warmup))


def build_optimizer(
    encoder: nn.Module, objectives: Iterable[nn.Module], *, lr: float, head_lr: float, weight_decay: float
) -> torch.optim.AdamW:
    """The encoder learns at ``lr``; classifiers, in the objectives or in a cross-encoder, at ``head_lr``.

    Biases and layer norms (all one-dimensional parameters) are not decayed. Each group keeps its peak rate in
    ``group["peak"]``; the loop multiplies it by learning_rate_factor.
    """
    own_head = encoder.head_parameters() if isinstance(encoder, CrossEncoder) else []
    head_ids = {id(p) for p in own_head}
    body = [p for p in encoder.parameters() if id(p) not in head_ids]
    inside = {id(p) for p in body}
    heads = {id(p): p for objective in objectives for p in objective.parameters() if id(p) not in inside}
    groups = []
    for parameters, rate in ((body, lr), (list(heads.values()), head_lr)):
        trained = [p for p in parameters if p.requires_grad]
        for decay, chosen in (
            (weight_decay, [p for p in trained if p.dim() > 1]),
            (0.0, [p for p in trained if p.dim() <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "lr": rate, "peak": rate})
    return torch.optim.AdamW(groups, lr=lr, fused=True)
