"""The search benchmark's flags, its process and its tables; what is measured is in bench_search_worker.

    python -m experiments.bench search                                # 100,000 passages, 10,000 questions of SQuAD
    python -m experiments.bench search --data korquad --passages 20000 --queries 1000
    python -m experiments.bench search --data samples-mrc-en --passages 500 --queries 20 --rounds 1   # to try it out

The pool is the set's own passages, repeated with every tenth word replaced until it is large enough. Only the set's
own passages are encoded; a repeated one gets the vector of its original with noise, so quality means nothing here.
Searches that are compared take turns in one process; the ratio is taken round by round, above 1 where ours is faster.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.examples import DataError
from data.retrieval import is_own, parse_retrieval_name
from sbert.errors import RunError, UsageError
from sbert.report import table

PASSAGES, QUERIES, DATA = 100_000, 10_000, "squad"
SETTINGS = ("data", "passages", "queries", "model", "rounds", "seed")
ELSEWHERE = (
    "peer_python",
    "task",
    "precision",
    "updates",
    "batch_size",
    "num_layers",
    "lr",
    "device",
    "unpadded",
    "limit",
    "backend",
    "no_limit",
)


def check(args: argparse.Namespace, defaults: Mapping[str, Any]) -> None:
    """Flags of search only, and those that search does not have. defaults: of every flag. Raises UsageError."""
    foreign = ELSEWHERE if args.what == "search" else ("passages", "queries")
    if args.what not in ("search", "applications"):
        foreign = ("data", *foreign)
    for name in foreign:
        if getattr(args, name) != defaults[name]:
            raise UsageError(f"--{name.replace('_', '-')}: not a flag of {args.what}")
    if args.what == "search" and not is_own(args.data):
        try:
            parse_retrieval_name(args.data)
        except DataError as error:
            raise UsageError(f"--data: {error}") from None


def default_name(data: str) -> str:
    """Of the record: search.json for the default set."""
    return "search.json" if data == DATA else f"search-{Path(data).name.partition('.')[0]}.json"


def measure_search(args: argparse.Namespace, env: Mapping[str, str], root: Path) -> dict[str, Any]:
    """What the worker measured. Its progress and its last words go to standard error. Raises RunError if it fails."""
    words = [sys.executable, "-m", "experiments.bench_search_worker"]
    for name in SETTINGS:
        words += [f"--{name}", str(getattr(args, name))]
    if args.data_dir:
        words += ["--data-dir", args.data_dir]
    done = subprocess.run(words, cwd=root, env=dict(env), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RunError(f"bench_search_worker ended with {done.returncode}; what it said stands above")
    return json.loads(done.stdout.strip().splitlines()[-1])


def search_tables(found: Mapping[str, Any]) -> str:
    """Three tables, of stages, indexes and comparisons, and what the numbers are of."""
    stages = [
        [row["stage"], *_milliseconds(row.get("one_ms")), *_milliseconds(row.get("batch_ms"))]
        for row in found["stages"]
    ]
    indexes = [
        [
            row["index"],
            f"{row['build_s']:.1f}",
            f"{row['bytes'] / 1e6:.1f}",
            *(f"{row[name]:.4f}" if name in row else "-" for name in ("recall@10", "recall@100")),
            " ".join(f"{name} {value}" for name, value in row.get("parameters", {}).items()) or "-",
        ]
        for row in found["indexes"]
    ]
    ratios = [
        [
            f"{row['ours']} / {row['peer']}",
            *(f"{row['ratio'][name]:.2f}" for name in ("median", "min", "max")),
        ]
        for row in found["ratios"]
    ]
    parts = [
        table(["ms per question", "one by one", "min", "max", "in a batch", "min", "max"], stages),
        table(["index", "build s", "MB on disk", "recall@10", "recall@100", "parameters"], indexes),
        table(["times as fast", "median", "min", "max"], ratios),
        "\n".join(found["notes"]),
    ]
    return "\n\n".join(parts)


def _milliseconds(summary: Mapping[str, float] | None) -> Sequence[str]:
    if summary is None:
        return ["-"] * 3
    return [f"{summary[name]:.3f}" for name in ("median", "min", "max")]
