"""Hard negatives of a retrieval set: for each question, passages that search finds and that do not answer it.

    python -m experiments.mine --data squad --split train --source bm25 dense --model minilm --num-negatives 4 \\
        --relative-margin 0.05 --output mined.jsonl
    python train.py --train-data mined.jsonl --eval-data squad

Only passages of the split's own articles are searched, so that no text of a dev or test article is trained on. The
passages of several --source are taken in turn. Never a negative: a passage known to be relevant, one with the same text,
and (unless --answers keep) one that contains an answer. --absolute-margin, --relative-margin, --max-score and --min-score
look at the similarity under --model, of what BM25 found as well, or with --teacher at its score; it also sets the order.

A row is {"query", "positive": [one text], "negative": [texts]} with the ids of their "passages" and of all "relevant" ones; a passage longer than --max-length is represented by a
window of it: the positive by the one that holds the answer, a negative by the one most similar to the question under
--model, or by the first one where nothing needs its vectors (BM25 alone, with no margin or score limit, or a --teacher's).
What was done, and how many candidates each filter removed, is written beside the output as OUTPUT.info.json.
"""

import argparse
import importlib.metadata
import json
import logging
import re
import sys
import tempfile
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import data
from data.examples import DataError, UnknownName
from data.files import sha256_of, write_text_atomically
from data.registry import SPLITS
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser
from sbert.jsonfile import to_json
from sbert.retrieval.mining import ANSWERS, SAMPLING, Rules, mine, relevant_passages
from sbert.retrieval.sparse import ANALYZERS

if TYPE_CHECKING:
    from sbert.cross_encoder import CrossEncoder
    from sbert.retrieval.dense import BiEncoder

log = logging.getLogger("sbert")

MIN_LENGTH = 8  # tokens of a window


def load_set(args: argparse.Namespace) -> data.RetrievalSet:
    """The split, its pool cut down to its own articles unless --pool all. Default split: the name's own, else train."""
    stem, _, own = args.data.rpartition("-")
    named = own in SPLITS and stem in data.retrieval_names()
    file = args.data.removesuffix(".gz").endswith(".json")  # has no splits
    split = args.split or (None if named or file else "train")
    dataset = data.load_retrieval(args.data, split, data_dir=args.data_dir)
    if dataset.split == "test":
        log.warning(
            "%s is a test split: a model trained on this file has seen what it is tested on", dataset.key
        )
    if args.pool == "all":
        return dataset
    # a paragraph that stands in two articles has the title of one of them
    known = {identity for grades in dataset.relevant.values() for identity in grades}
    kept = set(dataset.split_passages)
    passages = [p for i, p in enumerate(dataset.passages) if i in kept or p.id in known]
    return replace(dataset, passages=passages)


def load_model(args: argparse.Namespace) -> "BiEncoder":
    """--model, whose limit becomes the width of a window: --max-length (default: its own) less --reserve."""
    from sbert.build import resolve_device
    from sbert.towers import load_bi_encoder

    model = load_bi_encoder(args.model, max_length=args.max_length, device=resolve_device(args.device))
    if args.reserve:
        width = model.max_length - args.reserve
        if width < MIN_LENGTH:
            raise RunError(
                f"--reserve {args.reserve}: leaves fewer than {MIN_LENGTH} of {model.max_length} tokens"
            )
        model.max_length = width
    return model


def load_teacher(args: argparse.Namespace) -> "CrossEncoder":
    from sbert.build import resolve_device
    from sbert.cross_encoder import CrossEncoder

    teacher = CrossEncoder.from_pretrained(args.teacher, device=resolve_device(args.device))
    if teacher.fresh or teacher.num_labels != 1:
        raise RunError(f"--teacher {args.teacher}: not a trained cross-encoder of one score a pair")
    return teacher


def rows_of(
    dataset: data.RetrievalSet, texts: list[dict[int, str]], negatives: list[list[int]]
) -> list[dict[str, Any]]:
    """What is written: questions with a negative. The positive is the relevant passage of the highest grade."""
    rows = []
    for question, relevant, own, mined in zip(
        dataset.questions, relevant_passages(dataset), texts, negatives, strict=True
    ):
        positive = [own[passage] for passage in relevant if own[passage].strip()][:1]
        if positive and mined:
            right = next(passage for passage in relevant if own[passage].strip())
            rows.append(
                {
                    "query": question.text,
                    "positive": positive,
                    "negative": [own[passage] for passage in mined],
                    "passages": [dataset.passages[passage].id for passage in (right, *mined)],
                    "relevant": [dataset.passages[passage].id for passage in relevant],
                }
            )
    return rows


def check_place(output: Path) -> None:
    """Raises RunError where --output could not be written after all the work. A file that is there is replaced, at the end."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise RunError(f"--output {output}: cannot be written: {error.strerror or error}") from None
    if output.is_dir():
        raise RunError(f"--output {output}: is a folder, a file is wanted")


def run(args: argparse.Namespace, rules: Rules) -> str:
    """Writes the mined file and its info; returns the table to print."""
    from sbert.retrieval.candidates import Searcher, gather, judge
    from sbert.run import environment, set_up_logging

    set_up_logging()
    check_place(args.output)
    dataset = load_set(args)
    model = load_model(args)
    teacher = load_teacher(args) if args.teacher else None
    analyzer = args.analyzer or ("bigrams" if "ko" in dataset.language else "words")
    searcher = Searcher.build(
        dataset,
        model,
        sources=args.source,
        depth=rules.depth,
        scored=rules.scored and not args.teacher,
        analyzer=analyzer,
        precision=args.precision,
    )
    found = gather(searcher, dataset)
    if teacher is not None:
        found = judge(teacher, dataset, found, searcher.depth, precision=args.precision)
    mined = mine(dataset, [found.ranking], rules, found.positive_scores, found.texts)
    rows = rows_of(dataset, found.texts, mined.negatives)
    if not rows:
        counts = ", ".join(f"{count} by {name}" for name, count in mined.removed.items() if count) or "none"
        raise RunError(
            f"{dataset.key}: no negative for any question; {mined.candidates} candidates, removed: {counts}"
        )
    write_text_atomically(args.output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    info = {
        "argv": args.argv,
        "data": {"set": dataset.key, "pool": args.pool, "files": dataset.files},
        "rules": asdict(rules),
        "sources": args.source,
        "analyzer": analyzer if "bm25" in args.source else None,
        "model": {**model.facts, "max_length": model.max_length, "similarity": searcher.pool.similarity},
        "teacher": args.teacher,
        "questions": len(dataset.questions),
        "passages": len(dataset.passages),
        "windows": len(searcher.pool.windows),
        "candidates": mined.candidates,
        "removed": mined.removed,
        "left": mined.left,
        "rows": len(rows),
        "negatives": sum(len(row["negative"]) for row in rows),
        "fewer_than_asked": sum(len(row["negative"]) < rules.num_negatives for row in rows),
        "left_out": len(dataset.questions) - len(rows),
        "sha256": sha256_of(args.output),
        "environment": {**environment(), "bm25s": importlib.metadata.version("bm25s")},
    }
    write_text_atomically(args.output.with_name(args.output.name + ".info.json"), to_json(info))
    return report(info, args.output)


def report(info: dict[str, Any], output: Path) -> str:
    from sbert.report import table

    counts = {
        "found": info["candidates"],
        **{f"- {k}": n for k, n in info["removed"].items()},
        "left": info["left"],
    }
    asked = info["rules"]["num_negatives"]
    return (
        table(["candidates", "count"], [[name, f"{count:,}"] for name, count in counts.items()])
        + f"\n\n{info['rows']:,} of {info['questions']:,} questions written to {output} with {info['negatives']:,} "
        f"negatives; {info['fewer_than_asked']:,} with fewer than {asked}, {info['left_out']:,} left out, having none"
    )


def build_parser() -> Parser:
    parser = Parser(
        allow_abbrev=False,
        prog="python -m experiments.mine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--data",
        default="squad",
        help="a retrieval set, a .json of SQuAD layout, a folder of BEIR layout [squad]",
    )
    add("--split", choices=("train", "dev", "test"), help="default: the one in the set's name, else train")
    add("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA, then downloads")
    add(
        "--pool",
        choices=("split", "all"),
        default="split",
        help="articles searched: the split's own, or all [split]",
    )
    add("--source", nargs="+", choices=("bm25", "dense"), default=["bm25", "dense"], help="[bm25 dense]")
    add("--analyzer", choices=ANALYZERS, help="of bm25; default: bigrams for Korean, else words")
    add(
        "--model",
        default="minilm",
        help="bi-encoder that searches and scores; its tokenizer cuts windows [minilm]",
    )
    add("--max-length", type=int, metavar="N", help="tokens of a window; default: the model's limit")
    add(
        "--reserve",
        type=int,
        default=0,
        metavar="N",
        help="tokens a window leaves free: for the question, where a cross-encoder of that limit trains on the file [0]",
    )
    add(
        "--teacher",
        help="cross-encoder whose scores margins and score limits then look at; it reads every candidate",
    )
    add("--num-negatives", type=int, default=4, metavar="N", help="at most so many a question [4]")
    add("--range-min", type=int, default=0, metavar="R", help="skip the first R candidates [0]")
    add(
        "--range-max",
        type=int,
        metavar="R",
        help="look at no more than R; default: range-min + 10 * num-negatives",
    )
    add("--absolute-margin", type=float, metavar="M", help="discard where score + M > the positive's score")
    add("--relative-margin", type=float, metavar="M", help="discard where score > positive - |positive| * M")
    add("--max-score", type=float, metavar="S", help="discard where score > S")
    add("--min-score", type=float, metavar="S", help="discard where score < S")
    add(
        "--sampling",
        choices=SAMPLING,
        default="top",
        help="the first ones left, or drawn from all left [top]",
    )
    add("--answers", choices=ANSWERS, default="exclude", help="passages that contain an answer [exclude]")
    add("--seed", type=int, default=42, help="of --sampling random [42]")
    add("--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of the encoders [fp32]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 [auto]")
    add(
        "--output",
        type=Path,
        required=True,
        help="the .jsonl file to write; replaced at the end if there is one",
    )
    return parser


def checked_rules(args: argparse.Namespace) -> Rules:
    """The rules of the flags. Raises UsageError for flags that do not fit together."""
    rules = Rules(**{field.name: getattr(args, field.name) for field in fields(Rules)})
    if args.output.suffix != ".jsonl":
        raise UsageError(f"--output {args.output}: must end in .jsonl")
    if len(set(args.source)) != len(args.source):
        raise UsageError(f"--source {' '.join(args.source)}: names one twice")
    if args.analyzer and "bm25" not in args.source:
        raise UsageError("--analyzer is of bm25, which is not among --source")
    if args.teacher and not rules.scored:
        raise UsageError("--teacher only scores: give a margin, --max-score or --min-score as well")
    if (args.max_length is not None and args.max_length < MIN_LENGTH) or args.reserve < 0:
        raise UsageError(f"--max-length must be at least {MIN_LENGTH} and --reserve at least 0")
    if args.device != "auto" and not re.fullmatch(r"cpu|cuda(:\d+)?", args.device):
        raise UsageError(f"--device {args.device!r}: allowed are auto, cpu, cuda, cuda:N")
    return rules


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    args.argv = argv
    try:
        print(run(args, checked_rules(args)))
    except (UsageError, UnknownName) as error:
        print(f"mine: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"mine: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
