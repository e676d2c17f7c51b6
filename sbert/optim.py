"""AdamW in four groups, the learning rate as a pure function of the step (SBERT paper, section 3.1), and the gradient of
a vocabulary, kept in one place."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from sbert import distributed
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


class TableGradient:
    """The ``.grad`` of an embedding table, kept between updates, of which only the rows in use are read and written.

    A batch looks up a few hundred of tens of thousands of rows, yet each backward pass through a table makes a gradient
    of its whole size (47 MB for MiniLM), fills it with zeros and adds it up, which on a CPU takes long
    (experiments/LOG.md). With ``sparse`` lookups only the rows that were used are added, to a gradient that is there
    already. The sums are the same.
    """

    def __init__(self, tables: Sequence[nn.Embedding]) -> None:
        """tables: the modules that look up in it; they share one weight."""
        self.tables, self.weight = tables, tables[0].weight
        self.seen: list[torch.Tensor] = []  # rows that came in since the last zero_, with repetitions
        self.dense = False  # something else than lookups came in
        for table in tables:
            table.sparse = True
        self.weight.grad = torch.zeros_like(self.weight)
        self._hook = self.weight.register_hook(self._note)

    def _note(self, gradient: torch.Tensor) -> None:
        if gradient.is_sparse:
            self.seen.append(gradient._indices()[0])
        else:
            self.dense = True

    @property
    def grad(self) -> torch.Tensor:
        assert self.weight.grad is not None
        return self.weight.grad

    def rows(self) -> torch.Tensor | slice:
        """Which may be other than 0: all where something else than lookups, or another process, added to them."""
        if self.dense or distributed.count() > 1:
            return slice(None)
        return torch.cat(self.seen).unique() if self.seen else slice(0)

    def scale_(self, factor: float) -> None:
        rows = self.rows()
        self.grad[rows] = self.grad[rows] * factor

    def zero_(self) -> None:
        self.grad[self.rows()] = 0
        self.seen, self.dense = [], False

    def release(self) -> None:
        for table in self.tables:
            table.sparse = False
        self.weight.grad = None
        self._hook.remove()


@contextmanager
def table_gradients(encoder: nn.Module, device: torch.device) -> Iterator[list[TableGradient]]:
    """A TableGradient of every trained table of VOCABULARY rows or more, for as long as this is entered. Elsewhere than on
    a CPU nothing is changed and the list is empty."""
    sharing: dict[int, list[nn.Embedding]] = {}
    for module in encoder.modules():
        if isinstance(module, nn.Embedding) and module.num_embeddings >= VOCABULARY:
            sharing.setdefault(id(module.weight), []).append(module)
    kept = [
        TableGradient(tables)
        for tables in sharing.values()
        if device.type == "cpu" and tables[0].weight.requires_grad and not any(m.sparse for m in tables)
    ]
    try:
        yield kept
    finally:
        for one in kept:
            one.release()


def clip_gradients(
    parameters: Iterable[torch.Tensor], max_norm: float, kept: Sequence[TableGradient] = ()
) -> float:
    """Norm of all gradients together, before they are scaled down to ``max_norm`` where it is above: what torch's
    clip_grad_norm_ does, without the rows of ``kept`` tables that are 0 anyway."""
    apart = {id(one.weight) for one in kept}
    whole = [p for p in parameters if p.grad is not None and id(p) not in apart]
    parts = [p.grad for p in whole if p.grad is not None] + [one.grad[one.rows()] for one in kept]
    norm = nn.utils.get_total_norm(parts)
    factor = max_norm / (norm.item() + 1e-6)
    if factor < 1:
        nn.utils.clip_grads_with_norm_(whole, max_norm, norm)
        for one in kept:
            one.scale_(factor)
    return norm.item()


def zero_gradients(optimizer: torch.optim.Optimizer, kept: Iterable[TableGradient]) -> None:
    """Frees every gradient but those of ``kept``, which become zero where they are."""
    held = [(one, one.grad) for one in kept]
    optimizer.zero_grad(set_to_none=True)
    for one, gradient in held:
        one.weight.grad = gradient
        one.zero_()
