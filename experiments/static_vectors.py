"""The word embeddings at the bottom of an encoder, as a file of word vectors: stands in for GloVe without a network.

    python -m experiments.static_vectors --model minilm --output-dir runs/static
    python train.py --eval-only --model runs/static/vectors.txt --eval-data stsb

Writes DIR/vectors.txt in GloVe's layout, a line for every whole word of the vocabulary (no ## pieces, no special or
unused tokens) in the order of their ids: the row of the input embedding table, without positions and layer norm. Mean
pooled by sbert.static_vectors this is what the SBERT paper's "Avg. GloVe embeddings" does (table 1), with other vectors.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.examples import DataError
from data.files import atomic_path, sha256_of
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNUSED = re.compile(r"\[unused\d+\]")


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.static_vectors",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", default="minilm", help="minilm, a directory, or a hub id [minilm]")
    parser.add_argument(
        "--output-dir", required=True, metavar="DIR", help="vectors.txt, config.json, metrics.json"
    )
    return parser


def whole_words(tokenizer: "PreTrainedTokenizerBase") -> list[tuple[int, str]]:
    """(id, word) of every token that is a word. Raises RunError where words and pieces cannot be told apart."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    kind = "unknown" if backend is None else type(backend.model).__name__
    if kind != "WordPiece":
        raise RunError(f"the tokenizer is of kind {kind}: only WordPiece marks the pieces inside a word (##)")
    special = set(tokenizer.all_special_tokens)
    return sorted(
        (number, word)
        for word, number in tokenizer.get_vocab().items()
        if word not in special and not word.startswith("##") and not UNUSED.fullmatch(word)
    )


def run(args: argparse.Namespace, argv: Sequence[str]) -> str:
    """Writes the vectors, then config.json and metrics.json; returns the line to print."""
    from sbert.directory import read_description
    from sbert.encoder import find_model, load_parts
    from sbert.run import RunDirectory, environment

    run_directory = RunDirectory(Path(args.output_dir))
    run_directory.refuse_second_run()
    directory = find_model(args.model)
    encoder, tokenizer = load_parts(directory / read_description(directory).encoder_path)
    words = whole_words(tokenizer)
    if not words:
        raise RunError(f"--model {args.model}: no whole word among its {len(tokenizer)} tokens")
    table = encoder.get_input_embeddings().weight.detach().float().numpy()  # type: ignore[union-attr,operator]
    path = RunDirectory.create(run_directory.path).path / "vectors.txt"
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf8", newline="\n") as file:
        for number, word in words:
            file.write(word + " " + " ".join(f"{x:.6g}" for x in table[number].tolist()) + "\n")
    run_directory.write(
        run_directory.config_path,
        {
            "argv": list(argv),
            "flags": vars(args),
            "environment": environment(),
            "device": "cpu",
            "precision": "fp32",
            "data": {},
            "written": {"vectors.txt": sha256_of(path)},
        },
    )
    counts = {"words": len(words), "dimensions": table.shape[1], "vocabulary": table.shape[0]}
    run_directory.write(run_directory.metrics_path, counts)
    return (
        f"{len(words):,} words of {table.shape[0]:,} tokens, {table.shape[1]} dimensions, written to {path}"
    )


def main(argv: Sequence[str]) -> int:
    try:
        args = build_parser().parse_args(argv)
        print(run(args, argv))
    except UsageError as error:
        print(f"static_vectors: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"static_vectors: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
