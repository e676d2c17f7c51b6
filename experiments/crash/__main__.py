"""Kill processes at random moments with SIGKILL, let them go on, and compare with what nobody killed, bit for bit.

    python -m experiments.crash                                  # every job, 50 kills each
    python -m experiments.crash train encode --kills 10 --seed 3
    python -m experiments.crash --output experiments/results/reliability/kills.json

A trial starts a job in an empty folder, kills it once or twice on its way, looks for anything half written under a final name,
lets it go on to its end and compares what it left with a run that was never killed. Exit code 1 where one differs.
"""

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a fork must not inherit a pool of threads
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from data.files import write_text_atomically
from experiments.crash import process, toy
from experiments.crash.process import Blow
from sbert.flag_parser import Parser
from sbert.jsonfile import to_json
from sbert.run import environment

NAMES = ("train", "encode", "index", "download", "table")
PASSAGES = 3000
PRELOADED = (  # what the commands import when they need it: not once a fork
    "sbert.stages",
    "sbert.report",
    "experiments.retrieve_run",
    "transformers.models.bert.modeling_bert",
    "transformers.models.auto.tokenization_auto",
)
MEMORY, ROOM = "/dev/shm", 1 << 30  # bytes; a job needs a tenth of it


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.crash",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("jobs", nargs="*", metavar="JOB", help=f"{', '.join(NAMES)} [all]")
    add("--kills", type=int, default=50, metavar="N", help="of each job, at least [50]")
    add("--seed", type=int, default=0, metavar="S", help="of the moments [0]")
    add("--output", metavar="FILE", help="JSON of what came of it")
    return parser


@dataclass
class Tally:
    """What came of the kills of one job. survived: those whose trial ended as the reference."""

    trials: int = 0
    kills: int = 0
    survived: int = 0
    half_written: int = 0
    how: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    operations: int = 0
    reference_seconds: float = 0.0
    seconds: float = 0.0


def measure(job: Any, kills: int, draw: random.Random, folder: Path) -> Tally:
    """Trials of one job until so many kills have struck."""
    reference, log = folder / "reference", folder / "output.txt"
    reference.mkdir(parents=True)
    started = time.monotonic()
    whole = process.run(job.start, reference, watch=job.watch, output=log)
    if whole.code:
        raise SystemExit(
            f"experiments.crash: {job.name} fails without being killed: {log.read_text()[-2000:]}"
        )
    tally = Tally(operations=whole.operations, reference_seconds=round(whole.seconds, 2))
    while tally.kills < kills:
        place = folder / f"trial-{tally.trials}"
        place.mkdir()
        one_trial(job, place, reference, draw, tally, whole, log)
        shutil.rmtree(place)
        log.unlink(missing_ok=True)
    tally.seconds = round(time.monotonic() - started, 1)
    return tally


def one_trial(
    job: Any, place: Path, reference: Path, draw: random.Random, tally: Tally, whole: process.Ended, log: Path
) -> None:
    struck, wrong = 0, []
    tally.trials += 1
    for _ in range(draw.choice((1, 1, 2))):
        ended = process.run(job.start, place, drawn(draw, whole, job.children), job.watch, log)
        if ended.code is not None:
            wrong += [f"exit code {ended.code} before any kill"] if ended.code else []
            break
        struck += 1
        tally.phases[ended.phase] += 1
        wrong += [f"half written: {line}" for line in job.whole(place)]
    tally.half_written += sum(line.startswith("half written") for line in wrong)
    last = process.run(job.start, place, watch=job.watch, output=log)
    if last.code:
        wrong.append(f"going on ended with exit code {last.code}: {log.read_text()[-1500:]}")
    else:
        wrong += job.differs(place, reference)
    tally.kills += struck
    tally.survived += 0 if wrong else struck
    tally.failures += [f"trial {tally.trials}: {line}" for line in wrong]


def drawn(draw: random.Random, whole: process.Ended, children: bool) -> Blow:
    """A moment: before one of the file operations, or after some seconds."""
    if draw.random() < 0.5:
        return Blow(operation=draw.randint(1, whole.operations))
    return Blow(seconds=draw.uniform(0.0, whole.seconds), alone=children and draw.random() < 0.5)


@contextmanager
def workshop(scratch: Path, names: list[str]) -> Iterator[list[Any]]:
    """The jobs of these names, with what they work on."""
    from experiments.crash import training, vectors

    for name in PRELOADED:
        importlib.import_module(name)

    model, corpus, served = scratch / "model", scratch / "corpus.jsonl", scratch / "served"

    def prepare() -> None:
        toy.save_tiny_model(model)
        toy.write_corpus(corpus, PASSAGES)
        vectors.write_served(served)

    scratch.mkdir(parents=True, exist_ok=True)
    if process.run(prepare, scratch, output=scratch / "prepare.txt").code:
        raise SystemExit(f"experiments.crash: {(scratch / 'prepare.txt').read_text()}")
    address, server = toy.serve(served)
    makers: dict[str, Callable[[], list[Any]]] = {
        "train": lambda: [training.training(name, model) for name in training.TRAINING],
        "encode": lambda: [vectors.encoding(model, corpus)],
        "index": lambda: [vectors.indexing(model, corpus)],
        "download": lambda: [vectors.downloading(address, served)],
        "table": lambda: [training.table(model)],
    }
    try:
        yield [job for name in names for job in makers[name]()]
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)


def in_memory() -> str | None:
    """A folder in memory where there is room: a killed process loses nothing that the kernel holds, so that waiting for a disk
    would prove nothing."""
    try:
        return MEMORY if shutil.disk_usage(MEMORY).free > ROOM and os.access(MEMORY, os.W_OK) else None
    except OSError:
        return None


def report(tallies: dict[str, Tally], args: argparse.Namespace) -> dict[str, Any]:
    found = {
        name: {**vars(tally), "phases": dict(tally.phases.most_common())} for name, tally in tallies.items()
    }
    for entry in found.values():
        del entry["how"]
    return {
        "command": f"python -m experiments.crash {' '.join(args.jobs)} --kills {args.kills} --seed {args.seed}".replace(
            "  ", " "
        ),
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "environment": environment(),
        "kills": sum(tally.kills for tally in tallies.values()),
        "survived": sum(tally.survived for tally in tallies.values()),
        "half_written": sum(tally.half_written for tally in tallies.values()),
        "jobs": found,
    }


def main(argv: list[str]) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    unknown = [name for name in args.jobs if name not in NAMES]
    if unknown:
        parser.error(f"JOB {unknown[0]}: allowed are {', '.join(NAMES)}")
    if args.kills < 1:
        parser.error(f"--kills {args.kills}: must be at least 1")
    if not hasattr(os, "fork"):
        parser.error("needs a system with fork")
    tallies = {}
    with (
        tempfile.TemporaryDirectory(prefix="sbert-crash-", dir=in_memory()) as scratch,
        workshop(Path(scratch) / "made", args.jobs or list(NAMES)) as jobs,
    ):
        for job in jobs:
            wanted = -(-args.kills // 2) if job.name.startswith("train-") else args.kills
            tally = measure(job, wanted, random.Random(f"{args.seed} {job.name}"), Path(scratch) / job.name)
            tallies[job.name] = tally
            print(
                f"{job.name}: {tally.survived} of {tally.kills} kills survived, {tally.seconds:.0f} s",
                flush=True,
            )
            for line in tally.failures[:5]:
                print(f"  {line}")
    made = report(tallies, args)
    if args.output:
        write_text_atomically(args.output, to_json(made))
    print(json.dumps({name: made[name] for name in ("kills", "survived", "half_written")}))
    return 0 if made["kills"] == made["survived"] else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
