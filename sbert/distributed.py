"""Several processes for one run: what they share out and what they tell one another (torch.distributed).

    torchrun --nproc-per-node 2 train.py --train-data stsb ...

Every process plans the same batches. Of a batch each encodes its share of the texts; the vectors are gathered, so that
each computes the loss of the whole batch, negatives of all processes included, and pushes the gradient of its own vectors
back through the encoder. Summed over the processes, those are the gradients of one process with the whole batch, for
every objective alike: the loss never knows. Encoding for evaluation and search is shared out by batches.

Without ``start`` every function here does nothing and costs nothing. The first process alone writes (sbert/ranks.py).
"""

import atexit
import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from sbert import ranks
from sbert.errors import RunError

if TYPE_CHECKING:
    from sbert.objectives import Objective

TIMEOUT = timedelta(minutes=30)  # of waiting for another process, which may be saving or downloading
Features = Sequence[dict[str, Tensor]]
T = TypeVar("T")
_started = False


# ---------------------------------------------------------------- beginning and end


def start(device: torch.device, timeout: timedelta = TIMEOUT) -> None:
    """Joins the processes that torchrun started; nothing without torchrun, or where it started one alone.

    What is on the CPU goes through gloo, what is on a card through NCCL. Raises RunError when not all of them come.
    """
    global _started
    if ranks.count() == 1:
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _contact():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=timeout)
    _started = True
    atexit.register(stop)  # torch aborts a process that ends in a group
    if not ranks.is_first():
        sys.stdout = open(os.devnull, "w")


def stop() -> None:
    """Parts from the others; the rest is done alone. At the end of a process this happens by itself."""
    global _started
    if _started:
        dist.destroy_process_group()
    _started = False


def count() -> int:
    """How many processes share the work."""
    return ranks.count() if _started else 1


def rank() -> int:
    return ranks.rank() if _started else 0


@contextlib.contextmanager
def _contact() -> Iterator[None]:
    """What torch says when another process has ended or does not answer, as a RunError."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[\S+:\d+\] ", "", str(error).strip().splitlines()[0]).split(". ")[0]
        raise RunError(
            f"one of the {ranks.count()} processes has ended or does not answer ({reason})"
        ) from error


# ---------------------------------------------------------------- agreement


def most(value: int) -> int:
    """The largest of what the processes bring; all wait for one another."""
    if count() == 1:
        return value
    held = torch.tensor(value)
    with _contact():
        dist.all_reduce(held, dist.ReduceOp.MAX)
    return int(held)


def wait() -> None:
    """Until all processes are here."""
    most(0)


def from_first(value: T, source: int = 0) -> T:
    """What the first process brings, or another one, to all of them: anything JSON can hold."""
    if count() == 1:
        return value
    text = json.dumps(value).encode()
    size = torch.tensor(len(text))
    with _contact():
        dist.broadcast(size, source)
        held = torch.zeros(int(size), dtype=torch.uint8)
        if rank() == source:
            held = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).copy())
        dist.broadcast(held, source)
    return json.loads(held.numpy().tobytes())


def check_alike(values: Mapping[str, Any]) -> None:
    """Raises RunError, in all processes, where one of them has other ``values`` (anything JSON can hold) than the first:
    on several machines each is started by its own command, on its own files."""
    if count() == 1:
        return
    mine = json.loads(json.dumps(dict(values)))
    first = from_first(mine)
    different = [name for name in {**first, **mine} if mine.get(name) != first.get(name)]
    if which := most(rank() if different else 0):
        others = from_first({name: mine.get(name) for name in different}, which)
        name = next(iter(others))
        raise RunError(f"process {which} has {name} {others[name]!r}, the first one {first.get(name)!r}")


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """The first process of every machine before its others, which find what it has downloaded. Where it fails, it says
    why and they leave without a word."""
    if count() == 1:
        yield
        return
    if ranks.local_rank():
        if most(0):
            raise SystemExit(1)
        yield
        return
    try:
        yield
    except BaseException:
        most(1)
        raise
    if most(0):
        raise SystemExit(1)


# ---------------------------------------------------------------- training


def copy_weights(module: nn.Module) -> None:
    """The first process's parameters, to all."""
    if count() > 1:
        with _contact(), torch.no_grad():
            for parameter in module.parameters():
                dist.broadcast(parameter, 0)


@contextlib.contextmanager
def own_randomness(*numbers: int) -> Iterator[None]:
    """Dropout drawn apart on every process, from ``numbers`` and its rank alone; what is drawn for batches stays alike
    on all, and so does the state a checkpoint keeps."""
    if count() == 1:
        yield
        return
    alike = torch.get_rng_state()
    mixed = np.random.SeedSequence([*(number % 2**64 for number in numbers), rank()])
    torch.manual_seed(
        int(mixed.generate_state(1, np.uint64)[0])
    )  # of the cards as well, which nothing else draws from
    try:
        yield
    finally:
        torch.set_rng_state(alike)


def share(features: Features) -> Features:
    """The rows of each column that this process encodes: every count()-th. One without any takes the first row, whose
    vector nobody uses, so that all do the same."""
    if count() == 1:
        return features
    out = []
    for column in features:
        rows = _rows_of(rank(), len(column["input_ids"])) or range(1)
        out.append({key: value[rows.start : rows.stop : rows.step] for key, value in column.items()})
    return out


def gather(representations: Sequence[Tensor], features: Features) -> list[Tensor]:
    """What each process made of its ``share``, fp32 -> of each column all rows (B, D), in order, on every process."""
    if count() == 1:
        return list(representations)
    totals = [len(column["input_ids"]) for column in features]
    return [Gather.apply(own.float(), total) for own, total in zip(representations, totals, strict=True)]


class Gather(torch.autograd.Function):
    """(own rows, D) -> (B, D). All processes go on to the same loss, so each has the whole gradient of it already: its
    own rows are what it has to push back, and nothing needs to be sent."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, total: int) -> Tensor:
        ctx.rows = len(own)
        whole = own.new_empty(total, *own.shape[1:])
        return gather_rows(whole, own, [_rows_of(r, total) for r in range(count())])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        own = gradient[rank() :: count()]
        return (own if len(own) else gradient.new_zeros(ctx.rows, *gradient.shape[1:])), None


def gather_rows(whole: Tensor, own: Tensor, rows_of: Sequence[Sequence[int]]) -> Tensor:
    """Fills ``whole`` (N, ...): rows ``rows_of[r]`` are process r's; ``own`` starts with those of this one."""
    with _contact():
        for r, rows in enumerate(rows_of):
            if len(rows):
                empty = whole.new_empty(len(rows), *whole.shape[1:])
                part = own[: len(rows)].contiguous() if r == rank() else empty
                dist.broadcast(part, r)
                whole[list(rows)] = part
    return whole


def gather_batches(whole: Tensor, batches: Sequence[Sequence[int]]) -> None:
    """Fills ``whole`` (N, ...), of which each process has made the rows of every count()-th batch."""
    if count() > 1:
        rows_of = [[row for batch in batches[r :: count()] for row in batch] for r in range(count())]
        gather_rows(whole, whole[rows_of[rank()]], rows_of)


def sum_gradients(objectives: Iterable["Objective"]) -> None:
    """Gradients of ``objective.encoding()`` are summed over the processes, each of which has those of its rows. Those of
    layers after the gathering (a classifier of vectors) are whole on every process: all take the first one's, so that
    rounding cannot drive the processes apart."""
    if count() == 1:
        return
    objectives = list(objectives)
    inside = {id(p) for objective in objectives for p in objective.encoding().parameters()}
    with _contact():
        jobs: list[Any] = []
        for p in nn.ModuleList(objectives).parameters():
            if p.grad is not None:
                send: Callable[..., Any] = dist.all_reduce if id(p) in inside else _from_first
                jobs.append(send(p.grad, async_op=True))
        for job in jobs:
            job.wait()


def _from_first(tensor: Tensor, async_op: bool) -> Any:
    return dist.broadcast(tensor, 0, async_op=async_op)


def _rows_of(process: int, total: int) -> range:
    return range(process, total, count())
