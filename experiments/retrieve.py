"""Retrieve and re-rank: questions in, the passages that answer them out. Trains nothing.

    python -m experiments.retrieve --data korquad --retriever bm25 dense hybrid
    python -m experiments.retrieve --data squad --retriever bm25 dense hybrid --rerank runs/cross/model --sample 2000
    python -m experiments.retrieve --corpus my.jsonl --query "who built the palace?" --retriever hybrid

A table with a row for each chain of stages: recall at 1 to 100, MRR@10 and nDCG@10, all x 100, and milliseconds a
question of every stage. With --output DIR: results.json, table.md, and a TREC run file for each row. With --query: the
passages themselves, of a person's own text (a .jsonl of {"text", "id", "title"}, the last two optional) or of --data.

bm25      BM25 with Lucene's formula             hybrid    scores of dense and bm25, scaled and weighted
dense     a bi-encoder, passages by best window  rrf       dense and bm25 by reciprocal ranks
x.run     a TREC run file of any system          + rerank  the first --depth passages by a cross-encoder
"""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any

from data.examples import DataError
from data.registry import SPLITS
from data.retrieval import is_own, retrieval_split
from sbert import ranks
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser, suggestion

RETRIEVERS = ("bm25", "dense", "hybrid", "rrf")
RUN_FILES = (".run", ".run.gz")
CHOICES = {
    "split": SPLITS,
    "analyzer": ("auto", "words", "bigrams", "model", "kiwi"),
    "search": ("exact", "flat", "hnsw", "ivfpq"),
    "similarity": ("cosine", "dot"),
    "long": ("windows", "truncate"),
    "precision": ("fp32", "bf16", "fp16"),
}
# flag -> the retrievers of which one must be asked for
OF_DENSE = ("index", "search", "truncate_dim", "similarity", "stride", "long")
NEEDS = {**dict.fromkeys(OF_DENSE, ("dense", "hybrid", "rrf")), "weight": ("hybrid",)}


def build_parser() -> Parser:
    """Flags that were not given are absent from the namespace; DEFAULTS fills them in."""
    parser = Parser(
        prog="python -m experiments.retrieve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for group, flags in FLAGS.items():
        section = parser.add_argument_group(group)
        for name, (default, text, options) in flags.items():
            shown = " ".join(default) if isinstance(default, list) else default
            text += f" ({', '.join(CHOICES[name])})" if name in CHOICES else ""
            text += "" if shown is None else f" [{shown}]"
            section.add_argument("--" + name.replace("_", "-"), help=text.replace("%", "%%"), **options)
    return parser


def _number(kind: type, metavar: str = "N") -> dict[str, Any]:
    return {"type": kind, "metavar": metavar}


FLAGS: dict[str, dict[str, tuple[Any, str, dict[str, Any]]]] = {
    "what is searched": {
        "data": (
            "samples-mrc",
            "a retrieval set, a .json of SQuAD layout, a folder or .zip of BEIR layout",
            {},
        ),
        "split": (None, "default: the one in the set's name, else the one it is tested on", {}),
        "data_dir": (None, "folder with the publishers' files; default: $SBERT_DATA, then downloads", {}),
        "corpus": (None, "a person's own text, searched with --query", {"metavar": "FILE.jsonl"}),
        "query": (None, "print the passages found for these questions", {"nargs": "+", "metavar": "TEXT"}),
        "show": (5, "passages printed for each of --query", _number(int)),
        "sample": (None, "only N of the questions, drawn once with a fixed seed", _number(int)),
    },
    "stages": {
        "retriever": (
            ["bm25", "dense", "hybrid"],
            "bm25, dense, hybrid, rrf, and TREC run files that end in .run or .run.gz",
            {"nargs": "+", "metavar": "X"},
        ),
        "k": (100, "passages that each retriever finds, and that hybrid and rrf combine", _number(int)),
        "analyzer": ("auto", "terms of bm25; auto: bigrams for Korean, else words", {}),
        "weight": (
            "auto",
            "of dense in hybrid, 0 to 1; auto: best MRR@10 on the dev split",
            {"metavar": "W"},
        ),
        "rerank": (None, "a cross-encoder: every retriever gets a further row", {"metavar": "MODEL"}),
        "depth": (20, "passages that --rerank reads", _number(int)),
        "blend": (
            None,
            "a further row: W of the re-ranker and 1 - W of what it re-ranks; auto: best MRR@10 on dev",
            {"metavar": "W"},
        ),
    },
    "dense search": {
        "model": ("minilm", "bi-encoder, one or two towers: a directory, a hub id, minilm", {}),
        "max_length": (None, "tokens of a text; default: the model's", _number(int)),
        "long": ("windows", "passages longer than that: overlapping windows, or cut off as BEIR does", {}),
        "stride": (None, "tokens from window to window; default: half of one", _number(int)),
        "similarity": (None, "default: the model's", {}),
        "truncate_dim": (None, "only the first dimensions of the vectors", _number(int)),
        "search": ("exact", "exact, or an approximate one by FAISS with its recall against exact", {}),
        "index": (
            None,
            "folder that keeps the encoded passages for the next time (those of dev: DIR-dev)",
            {"metavar": "DIR"},
        ),
    },
    "run": {
        "precision": ("fp32", "of the encoders", {}),
        "device": ("auto", "auto, cpu, cuda, cuda:1", {}),
        "threads": (0, "CPU threads of the encoders (0: all)", _number(int)),
        "output": (None, "where results.json, table.md and the run files are written", {"metavar": "DIR"}),
        "record": (None, "keep the results as experiments/results/retrieval/NAME.json", {"metavar": "NAME"}),
    },
}
DEFAULTS = {name: default for flags in FLAGS.values() for name, (default, _, _) in flags.items()}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked flags; ``weight`` and ``blend`` are "auto", a float or None. Raises UsageError; exits 2 like argparse."""
    known, unknown = build_parser().parse_known_args(argv)
    if unknown:
        word = unknown[0].split("=")[0]
        every = ["--" + name.replace("_", "-") for name in DEFAULTS]
        raise UsageError(f"unknown flag {word}" + suggestion(word, every))
    given = set(vars(known))
    args = argparse.Namespace(**{**DEFAULTS, **vars(known)})
    args.argv = list(argv)
    for name, allowed in CHOICES.items():
        value = getattr(args, name)
        if value not in allowed and name in given:
            hint = suggestion(value, allowed)
            raise UsageError(f"{_flag(name)} {value!r}: allowed are {', '.join(allowed)}{hint}")
    for name, least in {
        "show": 1,
        "sample": 1,
        "k": 1,
        "depth": 1,
        "truncate_dim": 1,
        "stride": 1,
        "threads": 0,
    }.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"{_flag(name)} {value}: must be at least {least}")
    args.weight, args.blend = _share("weight", args.weight), _share("blend", args.blend)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", args.device):
        raise UsageError(f"--device {args.device}: allowed are auto, cpu, cuda, cuda:N")
    if args.record is not None and not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", args.record):
        raise UsageError(f"--record {args.record!r}: lower-case letters, digits, '.', '_' and '-'")
    _check_retrievers(args, given)
    _check_what_is_searched(args, given)
    return args


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _share(name: str, value: str | None) -> str | float | None:
    if value is None or value == "auto":
        return value
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"{_flag(name)} {value!r}: allowed are auto and 0 to 1")
    return share


def _check_retrievers(args: argparse.Namespace, given: set[str]) -> None:
    """Every retriever is known and named once; flags of a stage are given only with that stage."""
    for name in args.retriever:
        if name not in RETRIEVERS and not name.endswith(RUN_FILES):
            allowed = f"{', '.join(RETRIEVERS)}, or a file that ends in .run or .run.gz"
            raise UsageError(f"--retriever {name!r}: allowed are {allowed}{suggestion(name, RETRIEVERS)}")
    rows = [row_name(name) for name in args.retriever]
    if len(set(rows)) < len(rows):
        raise UsageError(f"--retriever {' '.join(args.retriever)}: two rows of the same name")
    for name, retrievers in NEEDS.items():
        if name in given and not set(retrievers) & set(args.retriever):
            raise UsageError(f"{_flag(name)} is for --retriever {' or '.join(retrievers)}")
    if "analyzer" in given and not args.rerank and not {"bm25", "hybrid", "rrf"} & set(args.retriever):
        raise UsageError("--analyzer is for --retriever bm25, hybrid or rrf, or --rerank")
    for name in ("depth", "blend"):
        if name in given and args.rerank is None:
            raise UsageError(f"{_flag(name)} is for --rerank")
    if "stride" in given and args.long == "truncate":
        raise UsageError("--stride is of windows, which --long truncate does without")


def _check_what_is_searched(args: argparse.Namespace, given: set[str]) -> None:
    """The set exists, and flags that need known answers are not given with --query."""
    if args.corpus is not None and ({"data", "split"} & given or args.query is None):
        wrong = "is searched with --query" if args.query is None else "is not searched with --data or --split"
        raise UsageError(f"--corpus {args.corpus} {wrong}")
    if args.query is not None:
        for name in ("sample", "output", "record"):
            if name in given:
                raise UsageError(f"{_flag(name)} is for the questions of a set, not for --query")
        if any(name.endswith(RUN_FILES) for name in args.retriever):
            raise UsageError("--query needs retrievers: a run file holds what was found for other questions")
        if not all(text.strip() for text in args.query):
            raise UsageError("--query: an empty question")
    elif "show" in given:
        raise UsageError("--show is for --query")
    if args.corpus is None and not is_own(args.data):
        try:
            retrieval_split(args.data, args.split)
        except DataError as error:
            raise UsageError(str(error)) from None


def row_name(retriever: str) -> str:
    """Of a run file its name without the ending."""
    if not retriever.endswith(RUN_FILES):
        return retriever
    return retriever.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".gz").removesuffix(".run")


def main(argv: list[str]) -> int:
    try:
        args = parse(argv)
        from experiments.retrieve_run import run

        print(run(args))
    except UsageError as error:
        if ranks.is_first():
            print(f"retrieve: error: {error}", file=sys.stderr)
        ranks.wait_for_the_first()
        return 2
    except (RunError, DataError, OSError) as error:
        who = "" if ranks.is_first() else f"process {ranks.rank()}: "
        print(f"retrieve: error: {who}{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
