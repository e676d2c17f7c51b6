"""The flags of ``python -m sbert.applications``, and what can be known to be wrong with them before anything is loaded.
Torch-free."""

import argparse
import re
from collections.abc import Sequence
from typing import Any

from sbert.errors import UsageError
from sbert.flag_parser import Parser, suggestion

METHODS = ("kmeans", "agglomerative", "communities")
LINKAGES = ("ward", "average", "complete", "single")
SUFFIXES = (".json", ".tsv")
DESCRIPTION = """What people do with sentence embeddings.

    python -m sbert.applications search --data samples-mrc-en --query "how is honey made?"
    python -m sbert.applications paraphrases --data my.txt --output pairs.tsv
    python -m sbert.applications parallel --source en.txt --target ko.txt --threshold 1.2
    python -m sbert.applications cluster --data my.txt --method communities --threshold 0.7 --min-size 3
    python -m sbert.applications map --data my.jsonl --png map.png --projector runs/projector
    python -m sbert.applications keywords --text "..."
    python -m sbert.applications recommend --data books.jsonl --wish "a sea voyage told by a boy"

--data is the name of a set (samples-sts-en, stsb-dev, trec, squad), a .txt of a text a line, a .jsonl of {"text", "id",
"title", "label"}, a .tsv or .csv of named columns, or FILE#2, the second column of a tab-separated file."""


def _number(kind: type, low: float, high: float = float("inf")) -> Any:
    """A type for argparse: a number of this kind in low..high."""

    def number(text: str) -> Any:
        value = kind(text)
        if not low <= value <= high:  # NaN neither
            raise ValueError
        return value

    many = f"of at least {low:g}" if high == float("inf") else f"in {low:g}..{high:g}"
    number.__name__ = f"{'whole ' if kind is int else ''}number {many}"  # argparse: "invalid NAME value: 'x'"
    return number


def _row_range(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)-(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError
    return int(found[1]), int(found[2])


_row_range.__name__ = "range such as 1-1000"
AT_LEAST_1, AT_LEAST_0 = _number(int, 1), _number(int, 0)


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sbert.applications",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, data: str | None) -> Any:
        made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if data:
            made.add_argument("--data", default=data, metavar="X", help=f"the texts [{data}]")
        _add_common(made)
        return made

    search = command("search", "the texts that are most like a query", "samples-mrc")
    search.add_argument("--query", nargs="+", metavar="TEXT", help="what is looked for")
    search.add_argument("--queries", metavar="X", help="the same from a file or a set, as --data")
    _add_top_k(search, 5)
    _add_similarity(search)
    mine = command("paraphrases", "the pairs of texts that are most alike", "samples-sts")
    _add_top_k(mine, 100, "neighbours that each text proposes")
    mine.add_argument("--max-pairs", type=AT_LEAST_1, default=500_000, help="pairs that are kept [500000]")
    mine.add_argument("--min-score", type=_number(float, -1, 1), default=-1.0, help="least cosine [-1]")
    _add_parallel(command("parallel", "which text of one language translates which of the other", None))
    _add_cluster(command("cluster", "groups of texts", "samples-mrc"))
    picture = command("map", "pictures: a map, a heat map, TensorBoard's projector", "samples-mrc-en")
    picture.add_argument("--png", metavar="FILE", help="the map: two principal components")
    picture.add_argument("--heat-map", metavar="FILE", help="the cosine of every pair, a .png")
    picture.add_argument("--projector", metavar="DIR", help="a folder for tensorboard --logdir")
    words = command("keywords", "the words and phrases nearest to a text", "samples-mrc-en")
    words.add_argument("--text", nargs="+", metavar="TEXT", help="texts in place of --data")
    words.add_argument("--longest", type=AT_LEAST_1, default=2, help="words of a phrase at most [2]")
    words.add_argument("--diversity", type=_number(float, 0, 1), default=0.0, help="0 to 1 [0]")
    _add_top_k(words, 5)
    items = command("recommend", "items by what is wished for or was liked", "samples-mrc-en")
    items.add_argument("--wish", metavar="TEXT", help="what it should be like")
    items.add_argument("--liked", nargs="+", default=[], metavar="ID", help="ids, or titles, of liked items")
    _add_top_k(items, 5)
    return parser


def _add_common(parser: Any) -> None:
    parser.add_argument("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA")
    parser.add_argument("--limit", type=AT_LEAST_0, default=0, help="only so many texts (0: all) [0]")
    parser.add_argument("--model", default="minilm", help="minilm, a directory, or a hub id [minilm]")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="[fp32]")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 [auto]")
    parser.add_argument("--threads", type=AT_LEAST_0, default=0, help="CPU threads (0: all) [0]")
    parser.add_argument("--show", type=AT_LEAST_0, default=10, help="results printed [10]")
    parser.add_argument(
        "--output", metavar="FILE", help="everything found: a .tsv, or a .json with the facts"
    )


def _add_top_k(parser: Any, default: int, text: str = "results of each") -> None:
    parser.add_argument("--top-k", type=AT_LEAST_1, default=default, help=f"{text} [{default}]")


def _add_similarity(parser: Any) -> None:
    parser.add_argument("--similarity", choices=("cosine", "dot"), help="default: the model's")


def _add_parallel(parser: Any) -> None:
    parser.add_argument("--source", default="samples-sts-en", metavar="X", help="as --data [samples-sts-en]")
    parser.add_argument("--target", default="samples-sts-ko", metavar="X", help="as --data [samples-sts-ko]")
    parser.add_argument("--rows", type=_row_range, metavar="A-B", help="only these rows of both, from 1")
    parser.add_argument(
        "--aligned",
        action="store_true",
        help="row i translates row i: shuffle the targets, find them again, and say how well",
    )
    parser.add_argument("--neighbours", type=AT_LEAST_1, default=4, help="of the margin [4]")
    parser.add_argument("--threshold", type=_number(float, 0), default=1.0, help="least margin score [1]")
    parser.add_argument("--seed", type=AT_LEAST_0, default=0, help="of the shuffle [0]")


def _add_cluster(parser: Any) -> None:
    parser.add_argument("--method", choices=METHODS, default="kmeans", help=f"{', '.join(METHODS)} [kmeans]")
    parser.add_argument("--clusters", type=AT_LEAST_1, help="how many; kmeans: 10 unless given")
    parser.add_argument(
        "--threshold",
        type=float,
        help="communities: least cosine, .75 unless given; agglomerative: least distance at which nothing is joined any more",
    )
    parser.add_argument("--min-size", type=AT_LEAST_1, help="of a community, 10 unless given")
    parser.add_argument("--linkage", choices=LINKAGES, help="of agglomerative, ward unless given")
    parser.add_argument("--seed", type=AT_LEAST_0, default=0, help="of kmeans [0]")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked flags. Raises UsageError; exits 2 like argparse."""
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        word = unknown[0].split("=")[0]
        known = ["--" + name.replace("_", "-") for name in vars(args) if name != "command"]
        raise UsageError(f"unknown flag {word} of {args.command}" + suggestion(word, known))
    args.argv = list(argv)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", args.device):
        raise UsageError(f"--device {args.device}: allowed are auto, cpu, cuda, cuda:N")
    if args.output and not args.output.endswith(SUFFIXES):
        raise UsageError(f"--output {args.output}: must end in {' or '.join(SUFFIXES)}")
    check = {
        "search": _check_search,
        "cluster": _check_cluster,
        "map": _check_map,
        "recommend": _check_recommend,
    }
    check.get(args.command, lambda _: None)(args)
    for text in [*(getattr(args, "query", None) or []), *(getattr(args, "text", None) or [])]:
        if not text.strip():
            raise UsageError(f"--{'query' if args.command == 'search' else 'text'}: an empty text")
    return args


def _check_search(args: argparse.Namespace) -> None:
    if (args.query is None) == (args.queries is None):
        raise UsageError("search needs --query TEXT or --queries X, one of the two")


def _check_cluster(args: argparse.Namespace) -> None:
    """Flags of one method are given with that method alone."""
    takes = {
        "kmeans": {"clusters"},
        "agglomerative": {"clusters", "threshold", "linkage"},
        "communities": {"threshold", "min_size"},
    }
    for name in ("clusters", "threshold", "min_size", "linkage"):
        if getattr(args, name) is not None and name not in takes[args.method]:
            methods = " or ".join(method for method in METHODS if name in takes[method])
            raise UsageError(f"--{name.replace('_', '-')} is for --method {methods}")
    if args.method == "agglomerative" and (args.clusters is None) == (args.threshold is None):
        raise UsageError("--method agglomerative needs --clusters or --threshold, one of the two")
    low = -1 if args.method == "communities" else 0
    high = 1 if args.method == "communities" else float("inf")
    if args.threshold is not None and not low <= args.threshold <= high:
        allowed = f"{low} to {high}" if high == 1 else f"{low} or more"
        raise UsageError(f"--threshold {args.threshold}: allowed is {allowed}")


def _check_map(args: argparse.Namespace) -> None:
    if not (args.png or args.heat_map or args.projector or args.output):
        raise UsageError("map needs --png, --heat-map, --projector or --output: there is nothing to print")
    for flag, path in (("--png", args.png), ("--heat-map", args.heat_map)):
        if path and not path.endswith(".png"):
            raise UsageError(f"{flag} {path}: must end in .png")


def _check_recommend(args: argparse.Namespace) -> None:
    if args.wish is None and not args.liked:
        raise UsageError("recommend needs --wish TEXT, --liked ID, or both")
    if args.wish is not None and not args.wish.strip():
        raise UsageError("--wish: an empty text")
