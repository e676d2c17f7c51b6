"""Are the gradients of several processes those of one process with the whole batch? For every objective.

    python -m experiments.ranks                       # starts two processes by torchrun
    python -m experiments.ranks --processes 3 --model minilm --num-layers 2

Embedded samples, one batch, dropout off, gloo. A difference is the norm of (gradients of the processes, summed - gradients
of one) over the norm of the latter, all parameters together: with an encoder in fp32, in fp64, and in fp64
through the gradient cache. classificationHead and losses are fp32 always.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data
from data.examples import DataSet, Example
from data.files import write_text_atomically
from sbert import ranks
from sbert.errors import RunError
from sbert.flag_parser import Parser
from sbert.flags import Flags
from sbert.report import table

if TYPE_CHECKING:
    import torch

    from sbert.build import AnySet
    from sbert.objectives import Objective
    from sbert.source import Batch, TrainingSource

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "experiments" / "results" / "reliability" / "ranks.json"
ROWS = 13  # of the batch: no number of processes that is likely divides it
LIMIT = 1e-6  # a larger difference in fp64 is an error; fp32 rounds, and some losses magnify it


@dataclass(frozen=True)
class Case:
    """One objective on one kind of data, with flags other than the defaults."""

    arch: str
    objective: str
    made_of: Callable[[], "AnySet"]
    flags: dict[str, Any]

    @property
    def name(self) -> str:
        options = " ".join(f"{key.replace('_', '-')}={value}" for key, value in self.flags.items())
        return f"{self.arch} {self.objective} {options}".strip()


def nli() -> DataSet:
    return data.load("samples-nli-en", "train")


def sts() -> DataSet:
    return data.load("samples-sts-en", "train")


def triplets() -> DataSet:
    return data.triplets(nli())


def margins() -> DataSet:
    """Triplets with made-up margins of a teacher."""
    rows = [Example(e.texts, float(i % 5) - 1) for i, e in enumerate(triplets().examples)]
    return replace(triplets(), task="margin", examples=rows)


def parallel() -> DataSet:
    """Pairs of sentences as if they were translations of one another."""
    return replace(sts(), task="parallel", examples=[Example(e.texts, None) for e in sts().examples])


def rankings() -> DataSet:
    """Lists of two or three documents with graded relevance."""
    rows = triplets().examples
    made = [
        Example((*e.texts, other.texts[1])[: 3 + i % 2], (2.0, 0.0, 1.0)[: 2 + i % 2])
        for i, (e, other) in enumerate(zip(rows, [*rows[1:], rows[0]], strict=True))
    ]
    return replace(triplets(), task="ranking", examples=made)


def texts() -> DataSet:
    """Texts without labels."""
    return data.unlabeled(sts())


def passages() -> data.RetrievalSet:
    return data.load_retrieval("samples-mrc-en", "train")


CASES = (
    Case("bi", "classification", nli, {}),
    Case("bi", "regression", sts, {}),
    Case("bi", "cosent", sts, {}),
    Case("bi", "triplet", triplets, {}),
    Case("bi", "margin-mse", margins, {}),
    Case("bi", "distill", parallel, {}),
    Case("bi", "ranking", passages, {}),
    Case("bi", "ranking", triplets, {"symmetric": True, "matryoshka": [16, 8]}),
    Case("bi", "ranking", passages, {"towers": "separate"}),
    Case("bi", "mega-batch-margin", passages, {}),
    Case("bi", "simcse", texts, {}),
    Case("bi", "tsdae", texts, {}),
    Case("cross", "classification", nli, {"head": "native"}),
    Case("cross", "regression", sts, {"head": "native"}),
    Case("cross", "bce", sts, {"head": "native"}),
    Case("cross", "ranking", triplets, {"head": "native"}),
    Case("cross", "margin-mse", margins, {"head": "native"}),
    Case("cross", "listnet", rankings, {"head": "native"}),
    Case("cross", "lambda", rankings, {"head": "native"}),
    Case("cross", "classification", nli, {"head": "classification"}),
)


def build(case: Case, model: str, num_layers: int | None) -> "TrainingSource":
    """The case's training set with its objective, dropout off."""
    import torch

    from sbert.build import build_model, build_objective, build_source
    from sbert.unpadded import pack_for_training

    teacher = model if case.objective == "distill" else None
    flags = Flags(arch=case.arch, model=model, num_layers=num_layers, teacher=teacher, **case.flags)
    torch.manual_seed(1)  # of new heads
    built = build_model(flags, torch.device("cpu"), [case.objective])
    pack_for_training(built, "auto", "fp32")  # as train.py does
    source = build_source(case.made_of(), build_objective(case.objective, built, flags), built, flags)
    source.objective.eval()
    return source


def differences(source: "TrainingSource", rows: Sequence[int], cache_rows: int = 4) -> dict[str, float]:
    """{"fp32", "fp64", "cached"}: relative differences; every process takes part and comes to the same."""
    import torch
    from transformers import PreTrainedModel

    device, objective = torch.device("cpu"), source.objective
    torch.manual_seed(2)  # of drawn negatives
    batch = source.batch(rows, device)
    out = {}
    for name, double, cached in (("fp32", False, 0), ("fp64", True, 0), ("cached", True, cache_rows)):
        for module in objective.modules():
            if isinstance(module, PreTrainedModel):  # heads and losses are fp32 always
                _ = module.double() if double else module.float()
        objective.zero_grad(set_to_none=True)
        objective(batch.features, batch.answer)["loss"].backward()
        whole, used = _gradients(objective)
        objective.zero_grad(set_to_none=True)
        _backward_together(objective, batch, cached)
        shared, used_here = _gradients(objective)
        if used_here != used:
            raise RunError(
                f"{type(objective).__name__}: other parameters have gradients: {used_here}, {used}"
            )
        out[name] = ((shared - whole).norm() / whole.norm()).item()
    return out


def _backward_together(objective: "Objective", batch: "Batch", cache_rows: int) -> None:
    """What the loop does with a batch (sbert.loop)."""
    from sbert import distributed
    from sbert.loop import Settings, accumulate_gradients
    from sbert.precision import grad_scaler

    scaler = grad_scaler(objective.model.device, "fp32")
    accumulate_gradients(objective, batch, Settings(cache_rows=cache_rows), scaler, 1.0)
    distributed.sum_gradients([objective])


def _gradients(objective: "Objective") -> "tuple[torch.Tensor, list[str]]":
    """All gradients as one vector, and the names of the parameters that have one."""
    import torch

    used = [(name, p.grad) for name, p in objective.named_parameters() if p.grad is not None]
    return torch.cat([gradient.flatten().double() for _, gradient in used]), [name for name, _ in used]


def measured(model: str, num_layers: int | None) -> Iterator[dict[str, Any]]:
    """One dict a case."""
    for case in CASES:
        source = build(case, model, num_layers)
        rows = list(range(min(ROWS, len(source.lengths))))
        yield {"objective": case.name, "set": source.name, "rows": len(rows), **differences(source, rows)}


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    if ranks.count() == 1:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        torchrun += ["--nproc-per-node", str(args.processes), "-m", "experiments.ranks", *argv]
        return subprocess.call(torchrun, cwd=ROOT)
    try:
        return work(args, argv)
    except (RunError, data.DataError) as error:
        print(f"experiments.ranks: error: {error}", file=sys.stderr)
        return 1


def build_parser() -> Parser:
    parser = Parser(prog="experiments.ranks", allow_abbrev=False, description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--processes", type=int, default=2, help="[2]")
    parser.add_argument("--model", default="minilm", help="[minilm]")
    parser.add_argument("--num-layers", type=int, help="encoder layers kept; default: all")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    return parser


def work(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """What each process does; the first one prints and writes. 1 where a difference is above LIMIT."""
    import torch

    from sbert import distributed
    from sbert.run import environment, set_up_logging

    set_up_logging()
    distributed.start(torch.device("cpu"))
    cells = list(measured(args.model, args.num_layers))
    distributed.stop()
    names = ("fp32", "fp64", "cached")
    if ranks.is_first():
        record = {
            "command": ["python", "-m", "experiments.ranks", *argv],
            "environment": environment(),
            "processes": ranks.count(),
            "backend": "gloo",
            "cells": cells,
        }
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(args.output, json.dumps(record, indent=1) + "\n")
    shown = [[c["objective"], c["set"], str(c["rows"]), *(f"{c[name]:.1e}" for name in names)] for c in cells]
    print(table(["objective", "set", "rows", "fp32", "fp64", "fp64, cached"], shown))
    worst = max(max(cell["fp64"], cell["cached"]) for cell in cells)
    print(f"\n{ranks.count()} processes; largest in fp64: {worst:.1e}; written to {args.output}")
    return int(worst > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
