"""AdamW in four groups, the learning rate as a pure function of the step (SBERT paper, section 3.1), and the gradient of
a vocabulary kept in one place."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

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


VOCABULARY = 4096  # rows of an embedding table from which on its gradient is worth keeping


@contextmanager
def vocabulary_gradients(encoder: nn.Module, device: torch.device) -> Iterator[list[torch.Tensor]]:
    """Word-embedding weights whose ``.grad`` is kept between updates (zeroed, never freed), for as long as this is entered.

    A batch looks up a few hundred of tens of thousands of rows, yet each backward pass through a table makes a gradient
    of its whole size (47 MB for MiniLM), fills it with zeros and adds it up, which on a CPU takes long
    (experiments/LOG.md). With ``sparse`` lookups only the rows that were used are added, to a gradient that is there
    already. The sums are the same. Elsewhere than on a CPU nothing is changed and the list is empty.
    """
    embeddings = [m for m in encoder.modules() if isinstance(m, nn.Embedding) and device.type == "cpu"]
    tables = [
        m for m in embeddings if m.num_embeddings >= VOCABULARY and m.weight.requires_grad and not m.sparse
    ]
    for table in tables:
        table.sparse, table.weight.grad = True, torch.zeros_like(table.weight)
    try:
        yield [table.weight for table in tables]
    finally:
        for table in tables:
            table.sparse, table.weight.grad = False, None


def zero_gradients(optimizer: torch.optim.Optimizer, kept: Iterable[torch.Tensor]) -> None:
    """Frees every gradient but those of ``kept``, which become zero where they are."""
    held = [(p, p.grad) for p in kept]
    optimizer.zero_grad(set_to_none=True)
    for p, gradient in held:
        assert gradient is not None
        p.grad = gradient.zero_()
