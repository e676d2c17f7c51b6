"""Sentences a second with and without smart batching (SBERT paper, section 7, table 7).

    python -m experiments.throughput --model minilm --output-dir runs/throughput
    python -m experiments.throughput --model bert-base-uncased --device cuda --no-smart-batching --output-dir runs/plain

The sentences of all splits of an STS set in the order of its files, every occurrence, go through the encoder in batches
of 32, each padded to its longest: as they come, or sorted by length first (smart batching). Both ways are measured in
turn, ROUNDS times, and the medians reported; --no-smart-batching measures the first way alone. Timed is everything from
texts to vectors on the CPU: tokenizing, sorting, encoder, pooling; not loading the model, and after a warm-up.

metrics.json: sentences_per_second and padding_share (padding among the tokens computed) of the way asked for; with smart
batching also those of the plain way under plain/, and speedup, the median over the rounds of the ratio of the two.
sbert.encode is faster still: it encodes a repeated text once, and cuts its batches by tokens.
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.examples import DataError
from data.tasks import is_local, splits_of, task_of
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser

if TYPE_CHECKING:
    import numpy as np

    from sbert.model import modelWithPooling

WARM_UP = 256  # sentences, encoded both ways before anything is timed


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", default="minilm", help="minilm, directory, hub id, word vectors [minilm]")
    parser.add_argument("--num-layers", type=int, metavar="N", help="keep only the first N encoder layers")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 [auto]")
    parser.add_argument("--data", default="stsb", help="an STS set, or a file of pairs [stsb]")
    parser.add_argument("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA")
    parser.add_argument("--no-smart-batching", action="store_true", help="only batches in the files' order")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="sentences a batch [32]")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the encoder [fp32]")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (0: all) [0]")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="measurements of each way [3]")
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="only the first N sentences (0: all)"
    )
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="config.json and metrics.json")
    return parser


def check(args: argparse.Namespace) -> None:
    """What can be known to be wrong before anything is loaded. Raises UsageError."""
    for name, least in {"num_layers": 1, "batch_size": 1, "rounds": 1, "threads": 0, "limit": 0}.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", args.device):
        raise UsageError(f"--device {args.device}: allowed are auto, cpu, cuda, cuda:N")
    try:
        task = task_of(args.data)
    except DataError as error:
        raise UsageError(str(error)) from None
    if task not in (None, "sts"):
        raise UsageError(f"--data {args.data} is {task} data: allowed are sts sets")


@dataclass(frozen=True)
class Pass:
    """vectors: (N, D) fp32 in the order of the texts; tokens: real ones, and computed ones with their padding."""

    vectors: "np.ndarray"
    real: int
    computed: int
    seconds: float

    @property
    def padding_share(self) -> float:
        return 1 - self.real / self.computed


def encode_in_batches(
    model: "modelWithPooling",
    texts: Sequence[str],
    batch_size: int,
    *,
    smart: bool,
    precision: str = "fp32",
) -> Pass:
    """Batches of so many texts, each padded to its longest: in the given order, or (smart) the longest texts first."""
    import torch

    from sbert.encode import pad, tokenize
    from sbert.precision import DTYPES, with_half_encoder

    assert model.tokenizer is not None
    network: Any = model if precision == "fp32" else with_half_encoder(model, DTYPES[precision])
    pad_id, side = model.tokenizer.pad_token_id or 0, model.tokenizer.padding_side
    out, computed = torch.empty(len(texts), model.width), 0
    started = time.perf_counter()
    with torch.inference_mode():
        lower = model.description.do_lower_case
        ids = tokenize(model.tokenizer, texts, model.max_length, lower=lower).ids
        order = list(range(len(texts)))
        if smart:
            order.sort(key=lambda i: -len(ids[i]))
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            padded = pad([ids[i] for i in rows], pad_id, side)
            features = {name: tensor.to(model.device) for name, tensor in padded.items()}
            computed += features["input_ids"].numel()
            out[rows] = network(**features)["sentence_embedding"].cpu()  # waits for the card
    seconds = time.perf_counter() - started
    return Pass(out.numpy(), sum(map(len, ids)), computed, seconds)


def sentences_of(args: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    """The sentences, train, dev, test in their files' order with every repetition, and the files' sha256."""
    import data

    splits = [None] if is_local(args.data) else splits_of(args.data)
    sets = [data.load(args.data, split, data_dir=args.data_dir) for split in splits]
    for dataset in sets:
        if dataset.task != "sts":
            raise RunError(f"--data {args.data} is {dataset.task} data: allowed are sts sets")
    texts = [text for dataset in sets for example in dataset.examples for text in example.texts]
    return texts[: args.limit or None], {name: sha for s in sets for name, sha in s.files.items()}


def measure(model: "modelWithPooling", texts: Sequence[str], args: argparse.Namespace) -> dict[str, float]:
    """What metrics.json holds."""
    ways = {"plain": False} if args.no_smart_batching else {"plain": False, "smart": True}
    passes: dict[str, list[Pass]] = {name: [] for name in ways}
    for smart in ways.values():
        encode_in_batches(model, texts[:WARM_UP], args.batch_size, smart=smart, precision=args.precision)
    for number in range(args.rounds):
        for name, smart in ways.items():
            found = encode_in_batches(model, texts, args.batch_size, smart=smart, precision=args.precision)
            passes[name].append(found)
            print(
                f"round {number + 1}, {name}: {len(texts) / found.seconds:,.1f} sentences/s", file=sys.stderr
            )
    rates = {name: statistics.median(len(texts) / p.seconds for p in found) for name, found in passes.items()}
    asked = list(ways)[-1]
    metrics: dict[str, float] = {
        "sentences": len(texts),
        "sentences_per_second": rates[asked],
        "padding_share": passes[asked][0].padding_share,
    }
    if asked == "smart":
        ratios = [a.seconds / b.seconds for a, b in zip(passes["plain"], passes["smart"], strict=True)]
        metrics["plain/sentences_per_second"] = rates["plain"]
        metrics["plain/padding_share"] = passes["plain"][0].padding_share
        metrics["speedup"] = statistics.median(ratios)
    return metrics


def run(args: argparse.Namespace, argv: Sequence[str]) -> str:
    """Measures, writes config.json and metrics.json, returns the table to print."""
    import torch

    from sbert.build import resolve_device
    from sbert.model import modelWithPooling
    from sbert.run import RunDirectory, environment, set_up_logging

    set_up_logging()
    directory = RunDirectory(Path(args.output_dir))
    directory.refuse_second_run()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = resolve_device(args.device)
    texts, files = sentences_of(args)
    if not texts:
        raise RunError(f"--data {args.data}: no sentences")
    model = modelWithPooling.from_pretrained(args.model, num_layers=args.num_layers, device=device)
    metrics = measure(model, texts, args)
    directory = RunDirectory.create(directory.path)
    config = {
        "argv": list(argv),
        "flags": vars(args),
        "environment": environment(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "precision": args.precision,
        "data": files,
    }
    directory.write(directory.config_path, config)
    directory.write(directory.metrics_path, metrics)
    return f"{table_of(metrics)}\n\n{args.precision} on {config['device_name']}, {config['threads']} threads, medians of {args.rounds} rounds; written to {directory.metrics_path}"


def table_of(metrics: dict[str, float]) -> str:
    from sbert.report import table

    def cells(name: str, prefix: str = "") -> list[str]:
        rate, share = metrics[f"{prefix}sentences_per_second"], metrics[f"{prefix}padding_share"]
        return [name, f"{metrics['sentences']:,}", f"{rate:,.1f}", f"{100 * share:.1f}"]

    header = ["batches", "sentences", "a second", "padding, %"]
    if "speedup" not in metrics:
        return table(header, [cells("in the files' order")])
    rows = [cells("in the files' order", "plain/"), cells("sorted by length")]
    return f"{table(header, rows)}\n\nsmart batching: {metrics['speedup']:.2f} times as fast"


def main(argv: Sequence[str]) -> int:
    try:
        args = build_parser().parse_args(argv)
        check(args)
        print(run(args, argv))
    except UsageError as error:
        print(f"throughput: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"throughput: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
