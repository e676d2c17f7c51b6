"""Encode a corpus of any size into shards of vectors; the same command goes on where it was stopped or killed.

    python -m experiments.encode --corpus my.jsonl --model minilm --output runs/vectors
    torchrun --nproc-per-node 2 -m experiments.encode --corpus my.jsonl --output runs/vectors
    python -m experiments.encode --corpus lines.txt.gz --model runs/x/model --prompt none --dtype float16 --output runs/vectors

.txt: one text a line; .jsonl: {"text", "id", "title"}; each gzipped or not, read a text at a time (data/corpus.py). The
folder's layout is that of sbert/shards.py; ``sbert.shards.read_shards`` reads it. Memory is the model's and one shard's.
"""

import argparse
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.corpus import corpus_suffix, stream_corpus
from data.examples import DataError
from sbert import ranks
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser

if TYPE_CHECKING:
    import numpy as np


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.encode",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--corpus", required=True, metavar="FILE", help=".txt or .jsonl, gzipped or not")
    add("--output", required=True, metavar="DIR", help="folder of the shards")
    add("--model", default="minilm", help="minilm, a directory, or a hub id [minilm]")
    add("--max-length", type=int, metavar="N", help="tokens a text; default: the model's own")
    add(
        "--prompt",
        choices=("document", "query", "none"),
        default="document",
        help="the model's prompt [document]",
    )
    add("--normalize", action="store_true", help="vectors of unit length")
    add("--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of the encoder [fp32]")
    add("--dtype", choices=("float32", "float16"), default="float32", help="of what is written [float32]")
    add("--shard-rows", type=int, default=10_000, metavar="N", help="texts a shard [10000]")
    add("--batch-tokens", type=int, metavar="N", help="padded tokens a batch; default: by device")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1 [auto]")
    add("--threads", type=int, default=0, metavar="N", help="CPU threads (0: all) [0]")
    return parser


def check(args: argparse.Namespace) -> None:
    """Raises UsageError for what no run could mend."""
    for name, least in (("shard_rows", 1), ("threads", 0), ("max_length", 3), ("batch_tokens", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", args.device):
        raise UsageError(f"--device {args.device}: allowed are auto, cpu, cuda, cuda:N")
    try:
        corpus_suffix(Path(args.corpus))
    except DataError as error:
        raise UsageError(f"--corpus {error}") from None


def run(args: argparse.Namespace) -> str:
    """Encodes what is missing; the line to print."""
    import torch

    from sbert import distributed
    from sbert.build import resolve_device
    from sbert.retrieval.index import fingerprint_of
    from sbert.run import set_up_logging
    from sbert.shards import encode_corpus
    from sbert.towers import load_bi_encoder

    set_up_logging()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = resolve_device(args.device)
    distributed.start(device)
    with distributed.first_alone():
        place = fingerprinted(args.model, args.prompt)
    model = load_bi_encoder(args.model, max_length=args.max_length, device=device)
    facts = {
        "fingerprint": fingerprint_of(place, max_length=args.max_length),
        **{name: getattr(args, name) for name in ("prompt", "normalize", "precision", "batch_tokens")},
    }
    options: dict[str, Any] = {
        "precision": args.precision,
        "normalize": args.normalize,
        "batch_tokens": args.batch_tokens,
    }

    def encode(texts: list[str]) -> "np.ndarray":
        if args.prompt == "none":
            return model.encode(texts, prompt="", **options)  # type: ignore[union-attr]
        return (model.encode_document if args.prompt == "document" else model.encode_query)(texts, **options)

    started = time.perf_counter()
    written = encode_corpus(
        encode,
        stream_corpus(Path(args.corpus)),
        Path(args.output),
        facts,
        shard_rows=args.shard_rows,
        dtype=args.dtype,
    )
    seconds = time.perf_counter() - started
    return (
        f"{written.rows:,} texts in {written.shards:,} shards, {written.made:,} of them encoded now, "
        f"{seconds:.1f} s; written to {args.output}"
    )


def fingerprinted(name: str, prompt: str) -> Path:
    """The directory of the encoder that reads the texts: of two towers, the one of documents or of questions."""
    from sbert.directory import read_facts
    from sbert.encoder import find_model

    place = find_model(name)
    if not place.is_dir():
        raise RunError(f"--model {name}: word vectors are not encoded in shards; a model directory is wanted")
    if read_facts(place).get("towers") != "separate":
        return place
    if prompt == "none":
        raise UsageError(f"--prompt none: {name} has two encoders; choose document or query")
    return place / prompt


def main(argv: list[str]) -> int:
    try:
        args = build_parser().parse_args(argv)
        check(args)
        print(run(args))
        return 0
    except UsageError as error:
        if ranks.is_first():
            print(f"experiments.encode: error: {error}", file=sys.stderr)
        ranks.wait_for_the_first()
        return 2
    except (RunError, DataError) as error:
        who = "" if ranks.is_first() else f"process {ranks.rank()}: "
        print(f"experiments.encode: error: {who}{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("experiments.encode: stopped; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
