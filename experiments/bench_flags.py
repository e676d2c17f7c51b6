"""The flags of experiments.bench, and what can be known to be wrong before anything is loaded. Torch-free."""

import argparse
import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import bench_applications, bench_search
from sbert.errors import UsageError
from sbert.flag_parser import Parser

ROOT = Path(__file__).resolve().parents[1]
PURPOSE = "Speed beside sentence-transformers: same rows, same settings, in turn, in fresh processes."
HINT = "make bench-peers builds one in .venv-peers"
BACKEND_HINT = "make bench-backends builds them in .venv-openvino and .venv-onnx"
PEER_PACKAGES = ("sentence-transformers", "accelerate", "datasets")
BACKENDS = {
    "openvino": "openvino",
    "onnx": "onnxruntime",
    "onnx-int8": "onnxruntime",
}  # the package each needs


@dataclass(frozen=True)
class Task:
    """What is trained on, and the STS set whose dev or test split tells the quality."""

    train: str
    sts: str
    passages: str = ""  # of encode, rerank: a retrieval set whose passages stand in place of the sentences


TASKS = {
    "stsb": Task("stsb", "stsb"),
    "nli": Task("nli-en", "stsb"),
    "squad-passages": Task("", "stsb", "squad"),
    "samples-sts": Task("samples-sts-en", "samples-sts-en"),  # embedded: for trying the benchmark out
    "samples-nli": Task("samples-nli-en", "samples-sts-en"),
    "samples-passages": Task("", "samples-sts-en", "samples-mrc-en"),
}


def build_parser() -> Parser:
    parser = Parser(prog="experiments.bench", allow_abbrev=False, description=PURPOSE)
    parser.add_argument("what", choices=("encode", "train", "rerank", "search", "applications"))
    parser.add_argument(
        "--peer-python", help="Python that has sentence-transformers; default: ours runs alone"
    )
    parser.add_argument(
        "--data-dir", help="folder with the publishers' files; default: $SBERT_DATA, then downloads"
    )
    parser.add_argument("--model", default="minilm", help="minilm, a directory, or a hub id [minilm]")
    parser.add_argument(
        "--task",
        nargs="+",
        choices=tuple(TASKS),
        default=["stsb"],
        help="the rows; rerank squad-passages: 20 passages of BM25 for every question, 200,000 pairs without --limit [stsb]",
    )
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32"], help="[fp32]")
    parser.add_argument(
        "--backend",
        nargs="+",
        default=[],
        metavar="NAME=PYTHON",
        help=f"of encode, the peer's other backends and an interpreter for each: {', '.join(BACKENDS)}",
    )
    parser.add_argument("--rounds", type=_at_least(1), default=3, help="measurements of each side [3]")
    parser.add_argument("--updates", type=_at_least(0), default=300, help="of training; 0: one epoch [300]")
    parser.add_argument(
        "--batch-size", type=_at_least(1), default=32, help="of training, and of the peer's encode [32]"
    )
    parser.add_argument("--num-layers", type=_at_least(1), help="keep only the first N encoder layers")
    parser.add_argument("--lr", type=float, default=2e-5, help="peak learning rate of all parameters [2e-5]")
    parser.add_argument("--seed", type=_at_least(0), default=42, help="[42]")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="[cpu]")
    parser.add_argument(
        "--unpadded", choices=("auto", "on", "off"), default="auto", help="of ours, as train.py has it [auto]"
    )
    parser.add_argument(
        "--threads", type=_at_least(0), default=0, help="CPU threads of both sides (0: all) [0]"
    )
    parser.add_argument(
        "--limit",
        type=_at_least(0),
        default=0,
        help="only so many sentences, pairs or training rows (0: all) [0]",
    )
    parser.add_argument(
        "--no-limit", action="store_true", help="leave out the limit of the machine and the profile"
    )
    parser.add_argument(
        "--data", help="set that search repeats [squad], or whose sentences applications take [nli-en-train]"
    )
    parser.add_argument(
        "--sentences",
        type=_at_least(2),
        default=bench_applications.SENTENCES,
        help="of applications [50000]",
    )
    parser.add_argument(
        "--passages", type=_at_least(1), default=bench_search.PASSAGES, help="of search [100000]"
    )
    parser.add_argument(
        "--queries", type=_at_least(1), default=bench_search.QUERIES, help="of search [10000]"
    )
    parser.add_argument("--output", help="[experiments/results/bench/WHAT-TASK.json]")
    return parser


def _at_least(low: int) -> Any:
    def count(text: str) -> int:
        if int(text) < low:
            raise ValueError
        return int(text)

    count.__name__ = f"whole number of at least {low}"  # argparse: "invalid NAME value: 'x'"
    return count


def check(args: argparse.Namespace) -> None:
    """What can be known to be wrong before anything is loaded. Raises UsageError."""
    defaults = vars(build_parser().parse_args([args.what]))
    args.data = args.data or {"search": bench_search.DATA, "applications": bench_applications.DATA}.get(
        args.what
    )
    bench_search.check(args, defaults)
    bench_applications.check(args, defaults)
    if args.what == "rerank" and args.model == "minilm":
        raise UsageError("rerank needs --model, the directory of a trained cross-encoder of one label")
    check_tasks(args)
    if not (0 < args.lr < math.inf):
        raise UsageError(f"--lr {args.lr}: must be above 0")
    args.threads = args.threads or cores()
    args.output = Path(args.output or default_output(args))
    if args.output.suffix != ".json":
        raise UsageError(f"--output {args.output}: must end in .json")
    if args.peer_python:
        args.peer_python = interpreter("--peer-python", args.peer_python, PEER_PACKAGES, HINT)
    backends = dict(word.partition("=")[::2] for word in args.backend)
    for name, python in backends.items():
        if name not in BACKENDS or not python or args.what != "encode":
            raise UsageError(
                f"--backend {name}={python}: allowed are {', '.join(BACKENDS)}, of encode, each =PYTHON"
            )
        packages = ("sentence-transformers", BACKENDS[name])
        backends[name] = interpreter(f"--backend {name}", python, packages, BACKEND_HINT)
    args.backend = backends


def check_tasks(args: argparse.Namespace) -> None:
    """Raises UsageError where a task has not what is measured."""
    for name in args.task:
        task = TASKS[name]
        nli = args.what != "train" and task.train.startswith(("nli", "samples-nli"))
        if nli or (args.what == "train" and not task.train):
            more = ", nli, samples-nli" if args.what == "train" else ", squad-passages, samples-passages"
            allowed = f"stsb, samples-sts{more}"
            raise UsageError(f"--task {name}: of {args.what}, allowed are {allowed}")


def interpreter(flag: str, python: str, packages: Sequence[str], hint: str) -> str:
    """The absolute path of an interpreter that has the packages. Raises UsageError."""
    found = shutil.which(python)
    if found is None:
        raise UsageError(f"{flag} {python}: no such interpreter ({hint})")
    probe = f"from importlib.metadata import version as v; [v(p) for p in {tuple(packages)}]"
    path = os.path.abspath(found)  # not resolved: a venv's python is a link
    if subprocess.run([path, "-c", probe], capture_output=True).returncode:
        raise UsageError(f"{flag} {python}: has not all of {', '.join(packages)} ({hint})")
    return path


def default_output(args: argparse.Namespace) -> Path:
    if args.what == "search":
        return ROOT / "experiments/results/bench" / bench_search.default_name(args.data)
    if args.what == "applications":
        return ROOT / "experiments/results/bench/applications.json"
    layers = f"-{args.num_layers}-layers" if args.num_layers else ""
    return ROOT / "experiments/results/bench" / f"{args.what}-{'+'.join(args.task)}{layers}.json"


def cores() -> int:
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
