"""Labels of one encoder for another: silver pairs (Augmented SBERT), or margins of triplets.

    python -m experiments.augment pairs --teacher runs/cross/model --data stsb --output silver.jsonl
    python train.py --train-data stsb silver.jsonl --select-on stsb-dev/spearman_cosine --eval-data stsb

    python -m experiments.augment margins --teacher runs/cross/model --data nli-en --output margins.jsonl
    python train.py --train-data margins.jsonl --eval-data stsb

    python -m experiments.augment pairs --teacher-arch bi --teacher runs/bi/model --data nli-en --samplers own --output silver.jsonl
    python train.py --arch cross --train-data silver.jsonl --objective bce          # a cross-encoder's first lesson

Sentences of the gold pairs are paired anew by BM25, by embedding or at random; gold pairs are never among them. The sampler
``own`` takes the pairs as they stand, of a set that has no scores of its own (NLI). What was done, with data hashes and how the scores are spread, is written beside the output as OUTPUT.info.json.
"""

import argparse
import json
import math
import random
import sys
from pathlib import Path
from typing import Any

from data.examples import DataError, DataSet
from data.files import sha256_of, write_text_atomically
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser
from sbert.jsonfile import to_json

BINS = 5


def sample(args: argparse.Namespace, dataset: DataSet) -> list[tuple[str, str]]:
    """New pairs of the sentences of a set, at most ``--limit`` of them, drawn with ``--seed``."""
    from sbert import augment
    from sbert.model import modelWithPooling

    if args.samplers == ["own"]:
        pairs = list(dict.fromkeys((e.texts[0], e.texts[1]) for e in dataset.examples))
        return drawn(pairs, args)
    gold = [(e.texts[0], e.texts[1]) for e in dataset.examples]
    texts = list(dict.fromkeys(text for pair in gold for text in pair))
    lists = []
    for sampler in args.samplers:
        if sampler == "bm25":
            lists.append(augment.bm25_neighbours(texts, args.per_sentence, args.analyzer))
        elif sampler == "embedding":
            student = modelWithPooling.from_pretrained(args.student)
            lists.append(
                augment.embedding_neighbours(student.encode(texts, progress=True), args.per_sentence)
            )
        else:
            lists.append(augment.random_neighbours(len(texts), args.per_sentence, args.seed))
    pairs = drawn(augment.new_pairs(texts, lists, gold), args)
    if not pairs:
        raise RunError(f"{dataset.key}: no new pairs of its {len(texts)} sentences")
    return pairs


def drawn(rows: list[Any], args: argparse.Namespace) -> list[Any]:
    """``--limit`` of the rows (0: all), drawn with ``--seed``, in their order."""
    if not 0 < args.limit < len(rows):
        return rows
    return [rows[i] for i in sorted(random.Random(args.seed).sample(range(len(rows)), args.limit))]


def load_teacher(args: argparse.Namespace) -> Any:
    """A trained cross-encoder of one score a pair, or, with ``--teacher-arch bi``, a bi-encoder."""
    from sbert.cross_encoder import CrossEncoder
    from sbert.model import modelWithPooling

    if args.teacher_arch == "bi":
        return modelWithPooling.from_pretrained(args.teacher)
    teacher = CrossEncoder.from_pretrained(args.teacher)
    if teacher.fresh or teacher.num_labels != 1:
        raise RunError(f"--teacher {args.teacher}: not a trained cross-encoder of one score a pair")
    return teacher


def run(args: argparse.Namespace) -> str:
    """Writes the labelled file and its info; returns the table to print."""
    import data
    from sbert.augment import cosines, margins
    from sbert.cross_encoder import IDENTITY
    from sbert.run import environment, set_up_logging

    set_up_logging()
    dataset = data.load(args.data, data.split_for(args.data, "train"), data_dir=args.data_dir)
    teacher = load_teacher(args)
    options: dict[str, Any] = {"progress": True, "precision": args.precision}
    scored = {**options, "activation": IDENTITY if args.scores == "logit" else None}
    rows: list[dict[str, Any]]
    clipped = 0
    if args.what == "pairs":
        own = args.samplers == ["own"]
        if dataset.task not in (("nli", "sts") if own else ("sts",)):
            raise UsageError(
                f"--data {args.data} is {dataset.task} data; pairs need sts data, or --samplers own"
            )
        pairs = sample(args, dataset)
        given = (
            cosines(teacher, pairs, **options)
            if args.teacher_arch == "bi"
            else teacher.predict(pairs, **scored)
        )
        raw = check_finite([float(x) for x in given])
        values = [min(1.0, max(0.0, x)) for x in raw]  # a teacher without a sigmoid
        clipped = sum(x != y for x, y in zip(raw, values, strict=True))
        rows = [
            {"sentence1": a, "sentence2": b, "score": round(x, 6)}
            for (a, b), x in zip(pairs, values, strict=True)
        ]
    else:
        triplets = data.triplets(dataset) if dataset.task == "nli" else dataset
        if triplets.task != "triplet":
            raise UsageError(f"--data {args.data} is {dataset.task} data; margins need triplets or nli data")
        texts = [e.texts for e in triplets.examples]
        texts = drawn(texts, args)
        values = check_finite(margins(teacher, texts, **scored))  # type: ignore[arg-type]
        rows = [
            {"anchor": a, "positive": p, "negative": n, "margin": round(x, 6)}
            for (a, p, n), x in zip(texts, values, strict=True)
        ]
    write_text_atomically(args.output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    gold = [e.label for e in dataset.examples] if args.what == "pairs" and dataset.task == "sts" else []
    spread = {"labelled": histogram(values), **({"gold": histogram(gold)} if gold else {})}  # type: ignore[arg-type]
    info = {
        "argv": args.argv,
        "rows": len(rows),
        "clipped": clipped,
        "sha256": sha256_of(args.output),
        "data": dataset.files,
        "spread": spread,
        "teacher": teacher.facts,
        "environment": environment(),
    }
    write_text_atomically(args.output.with_name(args.output.name + ".info.json"), to_json(info))
    note = f", {clipped:,} of them with a score outside 0..1 put to the nearer end" if clipped else ""
    return table_of(spread) + f"\n\n{len(rows):,} rows{note} written to {args.output}"


def check_finite(values: list[float]) -> list[float]:
    if not all(map(math.isfinite, values)):
        raise RunError("the teacher gives scores that are not finite: nothing written")
    return values


def histogram(values: list[float]) -> dict[str, int]:
    """Counts in BINS equal bins between the smallest and the largest value (0..1 for scores)."""
    low, high = min(0.0, *values), max(1.0, *values)
    step = (high - low) / BINS
    out = {f"{low + i * step:.1f} to {low + (i + 1) * step:.1f}": 0 for i in range(BINS)}
    names = list(out)
    for value in values:
        out[names[min(BINS - 1, int((value - low) / step))]] += 1
    return out


def table_of(spread: dict[str, dict[str, int]]) -> str:
    from sbert.report import table

    rows = [[name, str(count), bin_] for name, bins in spread.items() for bin_, count in bins.items()]
    return table(["pairs", "count", "score"], rows)


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.augment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("what", choices=("pairs", "margins"))
    parser.add_argument("--teacher", required=True, help="directory of a trained cross-encoder of one label")
    parser.add_argument(
        "--teacher-arch", choices=("cross", "bi"), default="cross", help="bi: its cosine is the label [cross]"
    )
    parser.add_argument("--data", default="stsb", help="the gold set (its train split), or a file [stsb]")
    parser.add_argument("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA")
    parser.add_argument("--output", type=Path, required=True, help="the .jsonl file to write")
    parser.add_argument(
        "--samplers", nargs="+", choices=("bm25", "embedding", "random", "own"), default=["bm25", "embedding"]
    )
    parser.add_argument(
        "--analyzer",
        choices=("words", "bigrams"),
        default="words",
        help="of bm25; bigrams suit Korean [words]",
    )
    parser.add_argument("--per-sentence", type=int, default=3, metavar="N", help="neighbours a sentence [3]")
    parser.add_argument("--student", default="minilm", help="bi-encoder of the embedding sampler [minilm]")
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="rows kept, drawn at random (0: all)"
    )
    parser.add_argument(
        "--scores", choices=("activation", "logit"), default="activation", help="what is kept"
    )
    parser.add_argument(
        "--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="the teacher reads in [fp32]"
    )
    parser.add_argument("--seed", type=int, default=42)
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    args.argv = argv
    try:
        if args.output.suffix != ".jsonl":
            raise UsageError(f"--output {args.output}: must end in .jsonl")
        if args.per_sentence < 1 or args.limit < 0:
            raise UsageError("--per-sentence must be at least 1 and --limit at least 0")
        if "own" in args.samplers and len(args.samplers) > 1:
            raise UsageError("--samplers own takes the pairs as they stand: no other sampler goes with it")
        if args.teacher_arch == "bi" and (args.what == "margins" or args.scores == "logit"):
            raise UsageError(
                "--teacher-arch bi labels pairs with its cosine: not for margins, nor --scores logit"
            )
        if args.what == "pairs" and args.scores == "logit":
            raise UsageError("--scores logit is for margins: the score of a pair lies in 0..1")
        print(run(args))
    except UsageError as error:
        print(f"augment: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"augment: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
