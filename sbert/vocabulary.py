"""New words for an encoder that does not know a language: a WordPiece vocabulary learned from text, and first rows for it.

    python -m sbert.vocabulary --data klue-nli tatoeba stsb-ko-en --language ko --init translations --output runs/minilm-ko
    python train.py --model runs/minilm-ko --objective distill --teacher minilm --train-data tatoeba stsb-ko-en

The model directory written is like any other: sentence-transformers and plain transformers read it, and give the same
tokens (sbert/new_vocabulary.py). vocabulary.json beside the weights says what it was made of.
"""

import argparse
import gzip
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.examples import DataError
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser

if TYPE_CHECKING:
    from sbert.model import modelWithPooling

TEXT_FILES = (".txt", ".txt.gz")
MODES = ("extend", "replace")
INITS = ("pieces", "translations", "random")


def texts_of(name: str, language: str | None, data_dir: str | None) -> tuple[list[str], dict[str, str]]:
    """(texts, files with their sha256) of one source: lines of a .txt file, or the training part of a set; of parallel
    text the side of ``language``; of a set for retrieval the questions and the passages that answer them."""
    import data
    from data.files import sha256_of
    from data.tasks import is_retrieval, split_of

    if name.endswith(TEXT_FILES):
        return _lines(Path(name)), {name: sha256_of(name)}
    split = split_of(name, "train")
    if is_retrieval(name):
        found = data.load_retrieval(name, split, data_dir=data_dir)
        ids = {passage for relevant in found.relevant.values() for passage in relevant}
        read = [text for text, passage in zip(found.texts, found.passages, strict=True) if passage.id in ids]
        texts, files, spoken = [*(q.text for q in found.questions), *read], found.files, found.language
    else:
        loaded = data.load(name, split, data_dir=data_dir)
        sides, files, spoken = loaded.language.split("+"), loaded.files, loaded.language
        if loaded.task == "parallel" and language in sides:
            return [example.texts[sides.index(language)] for example in loaded.examples], files
        texts = [text for example in loaded.examples for text in example.texts]
    if language is not None and spoken not in (language, "unknown"):
        raise UsageError(f"--data {name} is in {spoken}, and --language is {language}")
    return texts, files


def _lines(path: Path) -> list[str]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf8") if path.suffix == ".gz" else path.open(encoding="utf8")
        ) as file:
            return [line for line in map(str.strip, file) if line]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None


def translations_of(
    names: Sequence[str], language: str | None, data_dir: str | None
) -> list[tuple[str, str]]:
    """(text, its translation into ``language``) of parallel sets; without a language, source and target as they stand."""
    import data

    pairs = []
    for name in names:
        loaded = data.load(name, "train" if name in data.SETS else None, data_dir=data_dir)
        new = loaded.language.split("+").index(language) if language in loaded.language.split("+") else 1
        pairs += [(example.texts[1 - new], example.texts[new]) for example in loaded.examples]
    return pairs


def run(args: argparse.Namespace) -> "tuple[modelWithPooling, dict[str, Any]]":
    """The model with its new vocabulary, and what is to be known of it."""
    from sbert import new_vocabulary
    from sbert.model import modelWithPooling
    from sbert.run import environment

    texts: dict[str, None] = {}
    files: dict[str, str] = {}
    for name in args.data:
        found, hashes = texts_of(name, args.language, args.data_dir)
        texts.update(dict.fromkeys(found))
        files.update(hashes)
    pairs = (
        translations_of(parallel_of(args), args.language, args.data_dir)
        if args.init == "translations"
        else []
    )
    model = modelWithPooling.from_pretrained(args.model)
    backend = new_vocabulary.backend_of(model, args.model)
    learned = new_vocabulary.learn(texts, backend, args.size, args.min_frequency)
    assert model.tokenizer is not None
    known = model.tokenizer.get_vocab()
    tokens = new_vocabulary.merged(known, learned, model.tokenizer.all_special_tokens, args.mode)
    if not learned or (args.mode == "extend" and len(tokens) == len(known)):
        raise RunError(f"--data {' '.join(args.data)}: no new word in {len(texts):,} texts")
    rows = new_vocabulary.renew(model, tokens, args.init, seed=args.seed, translations=pairs)
    facts = {"texts": len(texts), "tokens": len(tokens), "init": args.init, "rows": rows}
    return model, {"argv": args.argv, **facts, "data": files, "environment": environment()}


def parallel_of(args: argparse.Namespace) -> list[str]:
    """The sets that translations are read from: --parallel, else the parallel ones of --data."""
    from data.tasks import task_of

    return args.parallel or [n for n in args.data if not n.endswith(TEXT_FILES) and task_of(n) == "parallel"]


def check(args: argparse.Namespace) -> None:
    """Everything that can be known to be wrong before a file is opened. Raises UsageError."""
    from data.tasks import split_of, task_of

    if args.size < 1 or args.min_frequency < 1:
        raise UsageError("--size and --min-frequency must be at least 1")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}: must be at least 0")
    try:
        for name in args.data:
            if not name.endswith(TEXT_FILES):
                split_of(name, "train")
        for name in args.parallel or ():
            task = "text" if name.endswith(TEXT_FILES) else task_of(name)
            if task not in ("parallel", None):
                raise UsageError(f"--parallel {name} is {task} data, not parallel text")
    except DataError as error:
        raise UsageError(f"{error}, or of a .txt file") from None
    if args.init is None:
        args.init = "translations" if parallel_of(args) else "random"
    if args.parallel and args.init != "translations":
        raise UsageError(f"--parallel is for --init translations; this is --init {args.init}")
    if args.init == "translations" and not parallel_of(args):
        raise UsageError("--init translations needs parallel text: --parallel, or a parallel set in --data")


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sbert.vocabulary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", default="minilm", help="minilm, a directory, or a hub id [minilm]")
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="D", help="sets (their training parts) or .txt files"
    )
    parser.add_argument("--data-dir", help="folder with the publishers' files; default: $SBERT_DATA")
    parser.add_argument(
        "--language", help="of the new words, such as ko; of parallel sets that side alone is read"
    )
    parser.add_argument("--output", type=Path, required=True, help="the model directory to write")
    parser.add_argument(
        "--size", type=int, default=8000, metavar="N", help="tokens learned, letters included [8000]"
    )
    parser.add_argument(
        "--min-frequency", type=int, default=2, metavar="N", help="of what is merged into a token [2]"
    )
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="extend",
        help="keep the known tokens, or only the special ones [extend]",
    )
    parser.add_argument(
        "--init",
        choices=INITS,
        help="first rows of new tokens: sbert/vocabulary_rows.py [translations where there is parallel text, else random]",
    )
    parser.add_argument(
        "--parallel",
        nargs="+",
        metavar="D",
        help="of --init translations; default: the parallel sets of --data",
    )
    parser.add_argument(
        "--seed", type=int, default=42, help="of the rows that are drawn, and of what keeps rows apart [42]"
    )
    return parser


def main(argv: list[str]) -> int:
    args = build_parser().parse_args(argv)
    args.argv = argv
    try:
        check(args)
        from data.files import write_text_atomically
        from sbert.jsonfile import to_json

        model, facts = run(args)
        model.save_pretrained(args.output)
        write_text_atomically(args.output / "vocabulary.json", to_json(facts))
    except UsageError as error:
        print(f"vocabulary: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"vocabulary: error: {error}", file=sys.stderr)
        return 1
    made = ", ".join(f"{count:,} {how}" for how, count in facts["rows"].items())
    print(f"{facts['tokens']:,} tokens from {facts['texts']:,} texts, rows: {made}; written to {args.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
