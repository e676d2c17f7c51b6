"""What a big in-batch loss costs: peak memory and time of an update, plainly and through the gradient cache.

    python -m experiments.bench_memory --data squad --batch-size 32 64 128 --cached 128 1024 --threads 2

Questions and passages of a retrieval set, in-batch ranking objective, dropout on, one AdamW update after one of a few questions
that warms up. Every cell is a process of its own, whose peak resident memory the operating system tells. The gradients of the smallest cached
batch are compared with those of the same batch without a cache (dropout off).
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data.examples import DataError
from data.files import write_text_atomically
from experiments.bench import measure, processor, shown
from experiments.bench_flags import ROOT, cores
from sbert.errors import RunError
from sbert.flag_parser import Parser
from sbert.report import table

OUTPUT = ROOT / "experiments" / "results" / "bench" / "gradient-cache.json"


def main(argv: Sequence[str]) -> int:
    args = build_parser().parse_args(argv)
    try:
        if args.worker:
            print(json.dumps(work(args)))
            return 0
        return run(args, argv)
    except (RunError, DataError) as error:
        print(f"experiments.bench_memory: error: {error}", file=sys.stderr)
        return 1


def build_parser() -> Parser:
    parser = Parser(prog="experiments.bench_memory", allow_abbrev=False, description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", default="squad", help="a retrieval set with a train split [squad]")
    parser.add_argument("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA")
    parser.add_argument("--model", default="minilm", help="[minilm]")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32], help="plain batches [32]")
    parser.add_argument(
        "--cached", type=int, nargs="+", default=[32, 1024], help="through the cache [32 1024]"
    )
    parser.add_argument("--cache-rows", type=int, default=32, help="texts encoded at a time [32]")
    parser.add_argument("--threads", type=int, default=0, help="(0: all) [0]")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--worker", choices=("measure", "compare"), help=argparse.SUPPRESS)
    return parser


def run(args: argparse.Namespace, argv: Sequence[str]) -> int:
    from sbert.run import environment

    threads = args.threads or cores()
    common = ["--data", args.data, "--model", args.model]
    common += ["--data-dir", args.data_dir] if args.data_dir else []
    base = [sys.executable, "-m", "experiments.bench_memory", *common]
    cells = []
    for size, rows in [*((n, 0) for n in args.batch_size), *((n, args.cache_rows) for n in args.cached)]:
        words = [*base, "--worker", "measure", "--batch-size", str(size), "--cache-rows", str(rows)]
        cells.append(measure(words, threads, str(ROOT)))
        print(
            f"batch {size}, {f'cache of {rows}' if rows else 'plain'}: {_words(cells[-1])}", file=sys.stderr
        )
    words = [
        *base,
        "--worker",
        "compare",
        "--batch-size",
        str(min(args.cached)),
        "--cache-rows",
        str(args.cache_rows),
    ]
    equal = measure(words, threads, str(ROOT))
    record = {
        "command": ["python", "-m", "experiments.bench_memory", *shown(argv)],
        "environment": environment(),
        "processor": processor(),
        "threads": threads,
        "cells": cells,
        "gradients": equal,
    }
    write_text_atomically(args.output, json.dumps(record, indent=1) + "\n")
    print(f"{memory_table(record)}; written to {args.output}")
    return 0


def memory_table(record: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{cell['batch_size']:,} {'cached' if cell['cache_rows'] else 'plain'}",
            f"{cell['peak_mib'] - cell['before_mib']:,.0f}",
            f"{cell['seconds']:.1f}",
            f"{1000 * cell['seconds'] / cell['batch_size']:.0f}",
        ]
        for cell in record["cells"]
    ]
    equal = record["gradients"]
    return (
        table(["batch", "MiB above the loaded model", "s an update", "ms a question"], rows)
        + f"\n\ngradients of a batch of {equal['batch_size']}, cached against plain: {equal['relative']:.1e} of their norm"
    )


def _words(cell: dict[str, Any]) -> str:
    return f"{cell['peak_mib']:,.0f} MiB, {cell['seconds']:.1f} s an update"


def work(args: argparse.Namespace) -> dict[str, Any]:
    """One cell, in a process of its own."""
    import torch

    import data
    from sbert.dense_objectives import DenseRanking
    from sbert.dense_source import DenseSource
    from sbert.gradient_cache import cached_backward
    from sbert.loop import Settings
    from sbert.model import modelWithPooling
    from sbert.optim import build_optimizer
    from sbert.precision import autocast
    from sbert.source import Batch

    (size,) = args.batch_size
    device = torch.device("cpu")
    model = modelWithPooling.from_pretrained(args.model)
    objective = DenseRanking(model)
    source = DenseSource.build(data.load_retrieval(args.data, "train", data_dir=args.data_dir), objective)
    batches = Settings(batch_size=size, seed=0).batches([source], 0)
    _, rows = max(batches, key=lambda batch: len(batch[1]))
    if len(rows) < size:
        raise RunError(f"{args.data}: the largest batch without a passage twice has {len(rows)} rows")
    batch, warm_up = source.batch(rows, device), source.batch(rows[:4], device)
    casting = partial(autocast, device, "fp32")

    def backward(cache_rows: int, batch: Batch = batch) -> float:
        if cache_rows:
            loss = cached_backward(
                objective, batch.features, batch.answer, cache_rows, lambda x: x.backward(), casting
            )
        else:
            loss = objective(batch.features, batch.answer)["loss"]
            loss.backward()
        return loss.item()

    facts = {"batch_size": size, "cache_rows": args.cache_rows, "tokens": batch.real_tokens}
    if args.worker == "compare":
        objective.eval()
        backward(0)
        plain = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        model.zero_grad()
        backward(args.cache_rows)
        cached = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        return facts | {"relative": ((cached - plain).norm() / plain.norm()).item()}
    objective.train()
    optimizer = build_optimizer(model, [objective], lr=2e-5, head_lr=2e-5, weight_decay=0.01)
    before, seconds, loss = peak_bytes() / 2**20, 0.0, 0.0
    for given in (warm_up, batch):
        started = time.perf_counter()
        loss = backward(args.cache_rows, given)
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.perf_counter() - started
    return facts | {"seconds": seconds, "before_mib": before, "peak_mib": peak_bytes() / 2**20, "loss": loss}


def peak_bytes() -> int:
    """Most memory this process has held so far. Not ru_maxrss where it can be helped: on Linux that begins with what the parent
    held when it started this process."""
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
