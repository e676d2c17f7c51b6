"""How long commands take to start: --help, and the evaluation of one small set beside what no program can avoid.

    python -m experiments.bench_start --rounds 5

The yardstick is a process that imports torch and loads the same weights, and nothing else; a second one does what no
program with a transformers encoder can avoid, AutoModel and AutoTokenizer. The evaluation is ``train.py --eval-only`` of the
embedded Korean and English sentence pairs, --help is train.py's. They take turns; ratios are taken round by round.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import write_text_atomically
from experiments.bench import environment_of, processor, shown
from experiments.bench_flags import ROOT, cores
from experiments.bench_summary import summary
from sbert.errors import RunError
from sbert.flag_parser import Parser
from sbert.report import table

OUTPUT = ROOT / "experiments" / "results" / "bench" / "start.json"
YARDSTICK = "import sys, torch; from safetensors.torch import load_file; load_file(sys.argv[1])"
LIBRARY = (
    "import sys; from transformers import AutoModel, AutoTokenizer; "
    "AutoModel.from_pretrained(sys.argv[1], trust_remote_code=False); "
    "AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=False)"
)
SET = "samples-sts"


def build_parser() -> Parser:
    parser = Parser(prog="experiments.bench_start", allow_abbrev=False, description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", default="minilm", help="[minilm]")
    parser.add_argument("--rounds", type=int, default=5, help="[5]")
    parser.add_argument("--threads", type=int, default=0, help="(0: all) [0]")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    return parser


def commands(model: Path) -> dict[str, list[str]]:
    """What is timed, in the order in which it takes turns."""
    evaluation = ["train.py", "--eval-only", "--model", str(model), "--eval-data", SET]
    return {
        "--help": [sys.executable, "train.py", "--help"],
        "import torch and load the weights": [
            sys.executable,
            "-c",
            YARDSTICK,
            str(model / "model.safetensors"),
        ],
        "transformers loads the model": [sys.executable, "-c", LIBRARY, str(model)],
        f"evaluate {SET}": [sys.executable, *evaluation],
    }


def seconds_of(words: Sequence[str], threads: int) -> float:
    """Raises RunError, with its last words, when a process fails."""
    started = time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, env=environment_of(threads), capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise RunError(f"{' '.join(words[1:4])} ended with {done.returncode}: {last}")
    return seconds


def run(args: argparse.Namespace, argv: Sequence[str]) -> str:
    from sbert.encoder import find_model
    from sbert.run import environment

    threads = args.threads or cores()
    timed = commands(Path(find_model(args.model)).resolve())
    rounds = [{name: seconds_of(words, threads) for name, words in timed.items()} for _ in range(args.rounds)]
    _, yardstick, library, evaluation = timed
    found = {name: summary([one[name] for one in rounds]) for name in timed}
    ratios = {
        name: summary([one[evaluation] / one[other] for one in rounds])
        for name, other in (("evaluation_over_yardstick", yardstick), ("evaluation_over_library", library))
    }
    record = {
        "command": ["python", "-m", "experiments.bench_start", *shown(argv)],
        "environment": environment(),
        "processor": processor(),
        "threads": threads,
        "seconds": found,
        **ratios,
        "rounds": rounds,
    }
    write_text_atomically(args.output, json.dumps(record, indent=1) + "\n")
    return f"{start_table(record)}\n\nwritten to {args.output}"


def start_table(record: Mapping[str, Any]) -> str:
    """Seconds of each command, then the ratios."""
    ratios = {
        name.replace("_", " "): one for name, one in record.items() if name.startswith("evaluation_over")
    }
    rows = [
        [name, *(f"{one[part]:.2f}" for part in ("median", "min", "max"))]
        for name, one in {**record["seconds"], **ratios}.items()
    ]
    return table(["seconds", "median", "min", "max"], rows)


def main(argv: Sequence[str]) -> int:
    args = build_parser().parse_args(argv)
    if args.rounds < 1:
        print("experiments.bench_start: error: --rounds: must be at least 1", file=sys.stderr)
        return 2
    try:
        print(run(args, argv))
    except (RunError, OSError) as error:
        print(f"experiments.bench_start: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
