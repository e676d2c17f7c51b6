"""Gradient cache: the exact gradient of a big in-batch loss in the memory of a small batch (Gao et al. 2021, arXiv
2101.06983).

A loss over a batch needs all its vectors at once, but not all the activations behind them. So: encode everything in
small parts without a graph; compute the loss and its gradient by every vector; encode each part again, now with a graph,
and push its vectors' gradients through. Dropout is drawn the same way both times. One more forward pass is the price.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from sbert import distributed
from sbert.chunks import Features
from sbert.objectives import Objective


def cached_backward(
    objective: Objective,
    features: Features,
    answer: Tensor | None,
    rows: int,
    backward: Callable[[Tensor], None],
    autocast: Callable[[], AbstractContextManager],
) -> Tensor:
    """Accumulates the gradients of ``objective(features, answer)["loss"]`` and returns the loss, without its graph.

    rows: texts that go through the encoder at a time. backward: what is done with the loss, such as scaling it and then
    ``.backward()``; called once. autocast: makes the context of the forward passes; each pass has its own, since weights
    that were cast without a graph must not be used again with one.
    """
    plan = objective.plan(distributed.share(features), rows)
    jobs = [(encode, part) for encode, chunks in plan for part in chunks.parts]
    device = next(iter(features))["input_ids"].device
    states, vectors = [], []
    with torch.no_grad(), autocast():
        for encode, part in jobs:
            states.append(_random_state(device))
            vectors.append(encode(part).detach().requires_grad_())
    given = iter(vectors)
    with autocast():
        representations = [
            column for _, chunks in plan for column in chunks.restore([next(given) for _ in chunks.parts])
        ]
        loss = objective.score(distributed.gather(representations, features), answer)["loss"]
    backward(loss)
    after = _random_state(device)
    for (encode, part), state, vector in zip(jobs, states, vectors, strict=True):
        _set_random_state(state, device)
        with autocast():
            again = encode(part)
        torch.autograd.backward(again, vector.grad)
    _set_random_state(after, device)
    return loss.detach()


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
