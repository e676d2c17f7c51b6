"""Feed damaged input to every reader, the flags of train.py and the loaders: only clear errors may come of it.

    python -m experiments.fuzz --inputs 100000
    python -m experiments.fuzz --only flags index --inputs 5000 --seed 3

The same seed damages in the same way. A fault is anything but a result, or one of our errors in one line, or exit code 2; or
more than 10 seconds. Exit code 1 where there was one; the first of each kind is printed with its input.
"""

import argparse
import contextlib
import io
import logging
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from data.files import write_text_atomically
from sbert.flag_parser import Parser
from sbert.jsonfile import to_json
from sbert.run import environment

SECONDS = 10  # an input may take


class Hang(BaseException):
    """Not an Exception, so that no handler on the way takes it for a damaged file."""


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--inputs", type=int, default=100_000, metavar="N", help="[100000]")
    add("--seed", type=int, default=0, metavar="S", help="[0]")
    add(
        "--only",
        nargs="+",
        default=[],
        metavar="T",
        help="targets; default: all, each in proportion to what it is worth",
    )
    add("--output", metavar="FILE", help="JSON of what came of it")
    return parser


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def ring(signum: int, frame: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def one(target: Any, draw: random.Random) -> tuple[str, str]:
    """("taken" | "refused" | "fault", what is wrong)."""
    from experiments.fuzz.targets import REFUSALS

    try:
        with limited(SECONDS), contextlib.redirect_stderr(io.StringIO()):
            target(draw)
        return "taken", ""
    except REFUSALS as error:
        text = str(error)
        if "\n" in text.strip() or not text.strip():
            return "fault", f"an error of {text.count(chr(10)) + 1} lines: {text[:300]!r}"
        try:
            text.encode()
        except UnicodeEncodeError:
            return "fault", f"an error that cannot be printed: {text[:300]!a}"
        return "refused", ""
    except SystemExit as error:
        return ("refused", "") if error.code == 2 else ("fault", f"exit code {error.code}")
    except Hang:
        return "fault", f"more than {SECONDS} s"
    except Exception:
        return "fault", traceback.format_exc()


@contextmanager
def silenced() -> Iterator[None]:
    """What loaders warn of is no news here."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def fuzz(inputs: int, seed: int, only: list[str], folder: Path) -> dict[str, Any]:
    from experiments.crash.toy import save_tiny_model
    from experiments.fuzz.targets import Feed, targets, whole_directories

    save_tiny_model(folder / "tiny")
    (folder / "inputs").mkdir()
    feed = Feed(folder / "inputs", whole_directories(folder / "tiny", folder))
    known = {name: target for name, target in targets(feed).items() if not only or name in only}
    names, weights = list(known), [weight for weight, _ in known.values()]
    draw = random.Random(seed)
    ends: dict[str, Counter[str]] = {name: Counter() for name in names}
    faults: dict[str, dict[str, Any]] = {}
    for number in range(1, inputs + 1):
        name = draw.choices(names, weights)[0]
        with silenced():
            end, what = one(known[name][1], draw)
        ends[name][end] += 1
        if end == "fault":
            kind = f"{name}: {what.strip().splitlines()[-1][:200]}"
            entry = faults.setdefault(
                kind, {"count": 0, "input": repr(feed.last)[:2000], "trace": what[-3000:]}
            )
            entry["count"] += 1
        if number % 10_000 == 0:
            print(
                f"{number:,} of {inputs:,} inputs, {sum(e['count'] for e in faults.values())} faults",
                file=sys.stderr,
            )
    total = sum((counter for counter in ends.values()), Counter())
    return {
        "inputs": inputs,
        "taken": total["taken"],
        "refused": total["refused"],
        "faults": total["fault"],
        "kinds": faults,
        "targets": {name: dict(counter) for name, counter in ends.items()},
    }


def main(argv: list[str]) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.inputs < 1:
        parser.error(f"--inputs {args.inputs}: must be at least 1")
    from experiments.fuzz.targets import Feed, targets

    known = list(targets(Feed(Path())))
    for name in args.only:
        if name not in known:
            parser.error(f"--only {name}: allowed are {', '.join(known)}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sbert-fuzz-") as folder:
        found = fuzz(args.inputs, args.seed, args.only, Path(folder))
    for kind, entry in found["kinds"].items():
        print(f"{entry['count']} x {kind}\n{entry['trace']}\ninput: {entry['input']}\n")
    print(
        f"{found['inputs']:,} inputs: {found['taken']:,} taken, {found['refused']:,} refused, {found['faults']:,} faults"
    )
    if args.output:
        command = f"python -m experiments.fuzz --inputs {args.inputs} --seed {args.seed}"
        facts = {
            "command": command,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "environment": environment(),
        }
        seconds = round(time.monotonic() - started, 1)
        write_text_atomically(args.output, to_json({**facts, "seconds": seconds, **found}))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
