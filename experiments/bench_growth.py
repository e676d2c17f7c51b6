"""How cost grows: time of encoding and of training against the number and the length of texts, memory against the batch.

    python -m experiments.bench_growth --threads 2
    python -m experiments.bench_growth --data samples-mrc-en --texts 50 100 --pairs 32 64 --lengths 8 16 --repeats 1   # to try

Texts are windows of a retrieval set's passages, each of exactly so many tokens (passages that are shorter are joined to
the next ones). Encoding takes every text once, training every pair, in batches of --batch-size, regression objective,
AdamW, unpadded as train.py does; where the length grows, it is one update. The best of --repeats counts. The memory of a big
in-batch loss, plainly and through the gradient cache, is taken from the record of experiments.bench_memory. Writes NAME.json
and NAME.png, both axes of which are logarithmic.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.examples import DataError
from data.files import write_text_atomically
from experiments.bench import processor, shown
from experiments.bench_flags import ROOT, cores
from experiments.bench_memory import OUTPUT as MEMORY
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser
from sbert.jsonfile import read_json
from sbert.report import table

OUTPUT = ROOT / "experiments" / "results" / "bench" / "growth.json"
TYPICAL = 16  # tokens of the texts whose number grows
SHORT = 256  # texts whose length grows


def build_parser() -> Parser:
    parser = Parser(prog="experiments.bench_growth", allow_abbrev=False, description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", default="squad", help="a retrieval set [squad]")
    parser.add_argument("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA")
    parser.add_argument("--model", default="minilm", help="[minilm]")
    parser.add_argument("--texts", type=int, nargs="+", default=[250, 500, 1000, 2000, 4000, 8000])
    parser.add_argument("--pairs", type=int, nargs="+", default=[32, 64, 128, 256, 512, 1024])
    parser.add_argument("--lengths", type=int, nargs="+", default=[8, 16, 32, 64, 128, 256], help="tokens")
    parser.add_argument("--batch-size", type=int, default=32, help="pairs of an update [32]")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="[fp32]")
    parser.add_argument("--repeats", type=int, default=3, help="[3]")
    parser.add_argument("--threads", type=int, default=0, help="(0: all) [0]")
    parser.add_argument("--memory", type=Path, default=MEMORY, help="record of experiments.bench_memory")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    return parser


def check(args: argparse.Namespace) -> None:
    """Raises UsageError."""
    for flag, values in (("--texts", args.texts), ("--pairs", args.pairs), ("--lengths", args.lengths)):
        if min(values) < 1:
            raise UsageError(f"{flag} {min(values)}: must be at least 1")
    if min(args.lengths) < 3:
        raise UsageError(
            f"--lengths {min(args.lengths)}: two tokens are the special ones; must be at least 3"
        )
    if args.repeats < 1 or args.batch_size < 1:
        raise UsageError("--repeats and --batch-size: must be at least 1")
    if args.output.suffix != ".json":
        raise UsageError(f"--output {args.output}: must end in .json")


# ---------------------------------------------------------------- what is measured


def texts_of(tokenizer: Any, passages: Sequence[str], tokens: int, count: int) -> list[str]:
    """``count`` distinct texts of exactly ``tokens`` tokens each, the two special ones included, cut from the passages one
    after the other. A window whose text is tokenized otherwise than it was cut is left out. Raises RunError."""
    words: list[str] = [word for text in passages for word in text.split()]
    found: dict[str, None] = {}
    start = 0
    while len(found) < count and start < len(words):
        piece = words[start : start + tokens]
        while piece and (length := len(tokenizer(" ".join(piece))["input_ids"])) > tokens:
            piece = piece[: len(piece) - max(1, (length - tokens) // 4)]
        if piece and len(tokenizer(" ".join(piece))["input_ids"]) == tokens:
            found[" ".join(piece)] = None
        start += max(1, len(piece))
    if len(found) < count:
        raise RunError(f"the passages give {len(found)} texts of {tokens} tokens, {count} are asked for")
    return list(found)


def best_of(repeats: int, run: Callable[[], object]) -> float:
    """Seconds of the fastest."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)


def measure_encoding(model: Any, texts: Sequence[str], args: argparse.Namespace) -> float:
    from sbert.encode import encode

    return best_of(args.repeats, lambda: encode(model, texts, precision=args.precision))


def measure_training(model: Any, texts: Sequence[str], pairs: int, args: argparse.Namespace) -> float:
    """Seconds of one epoch of ``pairs`` pairs of the texts, in batches of ``--batch-size``."""
    from data import DataSet, Example
    from sbert.loop import Settings, fit
    from sbert.objectives import modelForRegressionTraining
    from sbert.source import Source

    examples = [Example((texts[i], texts[-1 - i]), i / pairs) for i in range(pairs)]
    objective = modelForRegressionTraining(model)
    source = Source.build(DataSet("growth", "train", "sts", "unknown", examples, {}), objective, model)
    settings = Settings(batch_size=args.batch_size, precision=args.precision)
    return best_of(args.repeats, lambda: fit(model, [source], settings))


def measure(args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    import torch

    import data
    from sbert.model import modelWithPooling
    from sbert.unpadded import pack_for_training

    torch.set_num_threads(args.threads or cores())
    pool = data.load_retrieval(args.data, "test", data_dir=args.data_dir)
    passages = [passage.text for passage in pool.passages]
    model, trained = (modelWithPooling.from_pretrained(args.model) for _ in range(2))
    assert model.tokenizer is not None
    if max(args.lengths) > model.max_length:
        raise RunError(f"--lengths {max(args.lengths)}: the model takes {model.max_length} tokens")
    pack_for_training(trained, "auto", args.precision)
    found: dict[str, list[dict[str, float]]] = {name: [] for name, *_ in PANELS}

    def keep(name: str, **cell: float) -> None:
        found[name].append(cell)
        print(", ".join(f"{key} {value:.4g}" for key, value in cell.items()), file=sys.stderr)

    many = texts_of(model.tokenizer, passages, TYPICAL, max(*args.texts, *(2 * n for n in args.pairs)))
    measure_encoding(model, many[:64], args)
    for texts in args.texts:
        keep("encode_texts", texts=texts, tokens=TYPICAL, seconds=measure_encoding(model, many[:texts], args))
    for pairs in args.pairs:
        seconds = measure_training(trained, many[: 2 * pairs], pairs, args)
        keep("train_pairs", pairs=pairs, tokens=TYPICAL, seconds=seconds)
    few = max(2 * args.batch_size, min(SHORT, max(args.texts)))
    for tokens in args.lengths:
        chosen = texts_of(model.tokenizer, passages, tokens, few)
        keep("encode_length", texts=few, tokens=tokens, seconds=measure_encoding(model, chosen, args))
        seconds = measure_training(trained, chosen, args.batch_size, args)
        keep("train_length", pairs=args.batch_size, tokens=tokens, seconds=seconds)
    return found


def exponent(cells: Sequence[Mapping[str, float]], by: str) -> float:
    """Slope of log(seconds) over log(``by``), least squares: 1 where cost grows in proportion. NaN of fewer than two."""
    x, y = ([math.log(cell[name]) for cell in cells] for name in (by, "seconds"))
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    above = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return above / spread if spread else math.nan


# ---------------------------------------------------------------- what is shown

PANELS = (
    ("encode_texts", "texts", f"encoding texts of {TYPICAL} tokens", "texts"),
    ("encode_length", "tokens", "encoding", "tokens a text"),
    ("train_pairs", "pairs", f"training on texts of {TYPICAL} tokens", "pairs"),
    ("train_length", "tokens", "an update of training", "tokens a text"),
)


def draw(found: Mapping[str, Any]) -> Any:
    """A matplotlib Figure of five panels, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 10), layout="constrained")
    for number, (name, by, title, label) in enumerate(PANELS, 1):
        cells = found[name]
        axes = figure.add_subplot(3, 2, number, title=f"{title}: exponent {exponent(cells, by):.2f}")
        axes.loglog([cell[by] for cell in cells], [cell["seconds"] for cell in cells], marker="o")
        axes.set(xlabel=label, ylabel="seconds")
        axes.set_xticks([cell[by] for cell in cells], labels=[f"{cell[by]:,}" for cell in cells])
        axes.minorticks_off()
        axes.grid(alpha=0.3, which="both")
    axes = figure.add_subplot(3, 2, 5, title="memory of an in-batch loss")
    for cached in (False, True):
        cells = [cell for cell in found["memory"] if bool(cell["cache_rows"]) == cached]
        label = f"gradient cache of {cells[0]['cache_rows']} texts" if cached and cells else "plain"
        above = [cell["peak_mib"] - cell["before_mib"] for cell in cells]
        axes.loglog([cell["batch_size"] for cell in cells], above, marker="o", label=label)
    axes.set(xlabel="questions a batch", ylabel="MiB above the loaded model")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    return figure


def growth_table(record: Mapping[str, Any]) -> str:
    """One row a point, then the exponents: of a cost that grows as the p-th power of its axis, p."""
    rows = [
        [title, f"{cell[by]:,}", f"{cell['seconds']:.3f}", f"{1000 * cell['seconds'] / cell[unit]:.2f}"]
        for name, by, title, _ in PANELS
        for cell in record[name]
        for unit in ("pairs" if "pairs" in cell else "texts",)
    ]
    exponents = ", ".join(f"{name} {slope:.2f}" for name, slope in record["exponents"].items())
    return f"{table(['', 'texts or tokens', 'seconds', 'ms a text or pair'], rows)}\n\nexponents: {exponents}"


def run(args: argparse.Namespace, argv: Sequence[str]) -> int:
    from sbert.run import environment

    check(args)
    memory = read_json(args.memory)["cells"] if args.memory.is_file() else []
    found: dict[str, Any] = {**measure(args), "memory": memory}
    slopes = {name: exponent(found[name], by) for name, by, *_ in PANELS}
    record = {
        "command": ["python", "-m", "experiments.bench_growth", *shown(argv)],
        "environment": environment(),
        "processor": processor(),
        "threads": args.threads or cores(),
        "precision": args.precision,
        "exponents": slopes,
        **found,
    }
    write_text_atomically(args.output, json.dumps(record, indent=1) + "\n")
    print(growth_table(record))
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        print(f"no picture: it needs matplotlib (pip install matplotlib); written to {args.output}")
        return 0
    draw(found).savefig(args.output.with_suffix(".png"), dpi=110)
    print(f"written to {args.output} and {args.output.with_suffix('.png').name}")
    return 0


def main(argv: Sequence[str]) -> int:
    args = build_parser().parse_args(argv)
    try:
        return run(args, argv)
    except UsageError as error:
        print(f"experiments.bench_growth: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"experiments.bench_growth: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
