"""The command line of train.py made from its flags, and what is suggested for a word it does not know. Torch-free."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NoReturn

from sbert import ranks
from sbert.flags import Flags


class Parser(argparse.ArgumentParser):
    """Errors are one line with a suggestion, exit code 2."""

    def error(self, message: str) -> NoReturn:
        if ranks.is_first():
            print(f"{self.prog}: error: {message} (--help lists the flags)", file=sys.stderr)
        raise SystemExit(2)


def build_parser() -> Parser:
    parser = Parser(
        prog="train.py",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train and evaluate Sentence-BERT models: bi-encoders and cross-encoders.",
        epilog=EXAMPLES,
    )
    groups: dict[str, Any] = {}
    for f in fields(Flags):
        meta = f.metadata
        group = groups.setdefault(meta["group"], parser.add_argument_group(meta["group"]))
        default = f.default_factory() if callable(f.default_factory) else f.default
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        options: dict[str, Any] = {"help": meta["help"].replace("%", "%%"), "default": argparse.SUPPRESS}
        if meta.get("choices"):
            options["help"] += f" ({', '.join(meta['choices'])})"
        if shown not in (None, False, ""):
            options["help"] += f" [{shown}]".replace("%", "%%")
        if default is False:
            options["action"] = "store_true"
        else:
            options["metavar"] = meta.get("metavar", "N" if meta.get("type") in (int, float) else "X")
            if meta.get("type"):
                options["type"] = meta["type"]
            if meta.get("nargs"):
                options["nargs"] = meta["nargs"]
        group.add_argument("--" + f.name.replace("_", "-"), **options)
    return parser


EXAMPLES = """examples:
  python train.py                                                     the embedded samples
  python train.py --train-data stsb --epochs 4 --eval-data stsb       STS regression
  python train.py --train-data nli-en stsb --mix sequence --epochs 1 4
  python train.py --arch cross --train-data stsb --eval-data stsb     cross-encoder
  python train.py --eval-only --model minilm --eval-data stsb sts12 sickr
  python train.py --resume runs/x
"""


# what other trainers call a flag of ours
OTHER_NAMES = {
    "--learning-rate": "--lr",
    "--num-train-epochs": "--epochs",
    "--train-batch-size": "--batch-size",
    "--per-device-train-batch-size": "--batch-size",
    "--eval-batch-size": "--eval-batch-tokens",
    "--gradient-accumulation-steps": "--accumulation",
    "--max-seq-length": "--max-length",
    "--fp16": "--precision",
    "--bf16": "--precision",
}


def suggestion(word: str, allowed: Sequence[str]) -> str:
    if word.replace("_", "-") in OTHER_NAMES:
        return f"; here it is called {OTHER_NAMES[word.replace('_', '-')]}"
    close = difflib.get_close_matches(word, allowed, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""
