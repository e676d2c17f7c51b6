"""Argument Facet Similarity, 10-fold and cross-topic (SBERT paper, section 4.3, table 3).

    python -m experiments.afs --data-dir DATA --protocol cv --model bert-base-uncased --seed 1 --output-dir runs/afs-cv
    python -m experiments.afs --data-dir DATA --protocol cross-topic --arch cross --model bert-base-uncased --output-dir runs/afs-x

cv           ten folds over all pairs, drawn once for all runs: each is tested by a model trained on the other nine.
             A sentence stands in several pairs, so a test pair is new but its sentences may have been trained on.
cross-topic  each of the three topics is tested by a model trained on the other two.

Takes every flag of train.py but those that name data and selection; nothing is selected on, the last step is kept. A
fold is a run of train.py in DIR/fold-K/run, with its pairs beside it. The same command goes on where it was stopped: a
finished fold is not run again. metrics.json: afs/pearson and afs/spearman, the means over the folds, and those of each.
"""

import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.examples import DataError, Example
from data.files import write_text_atomically
from data.sets_paper import AFS_TOPICS
from sbert.errors import Interrupted, RunError, UsageError
from sbert.flag_checks import parse
from sbert.flag_parser import Parser
from sbert.flag_parser import build_parser as build_train_parser

FOLDS = 10
FOLD_SEED = 0  # of which pair is in which fold; --seed is of the training
DECIDED = (
    "train_data",
    "dev_data",
    "eval_data",
    "mix",
    "eval_only",
    "resume",
    "run_name",
    "select_on",
    "patience",
    "eval_steps",
    "dev_limit",
)


@dataclass(frozen=True)
class Fold:
    """A training and a test part, disjoint. name: its number from 1, or the topic tested."""

    name: str
    train: list[Example]
    test: list[Example]


def cross_validation(pairs: Sequence[Example]) -> list[Fold]:
    """FOLDS folds whose test parts are all pairs, each once; sizes differ by at most one."""
    if len(pairs) < FOLDS:
        raise RunError(f"afs: {len(pairs)} pairs are too few for {FOLDS} folds")
    order = random.Random(FOLD_SEED).sample(range(len(pairs)), len(pairs))
    out = []
    for number in range(FOLDS):
        tested = set(order[number::FOLDS])
        train = [pair for i, pair in enumerate(pairs) if i not in tested]
        out.append(Fold(str(number + 1), train, [pairs[i] for i in sorted(tested)]))
    return out


def cross_topic(topics: dict[str, list[Example]]) -> list[Fold]:
    """One fold a topic: tested on its pairs, trained on those of the others."""
    return [
        Fold(tested, [pair for topic, pairs in topics.items() if topic != tested for pair in pairs], own)
        for tested, own in topics.items()
    ]


def build_parser() -> Parser:
    """The parser of train.py and --protocol."""
    parser = build_train_parser()
    parser.prog, parser.description, parser.epilog = "python -m experiments.afs", __doc__, None
    group = parser.add_argument_group("argument facet similarity")
    choices = ("cv", "cross-topic")
    group.add_argument("--protocol", choices=choices, required=True, help="how pairs are parted, see above")
    return parser


def given_flags(argv: Sequence[str]) -> dict[str, Any]:
    """The flags that were given, by name. Raises UsageError; exits 2 like argparse."""
    given = vars(build_parser().parse_args(list(argv)))
    for name in DECIDED:
        if name in given:
            raise UsageError(f"--{name.replace('_', '-')} is decided by --protocol: leave it out")
    if "output_dir" not in given:
        raise UsageError("--output-dir is needed: where the folds and metrics.json are written")
    return given


def train_words(given: dict[str, Any], folder: Path) -> list[str]:
    """The arguments of train.py for the fold in ``folder``."""
    words = ["--train-data", str(folder / "train.jsonl"), "--dev-data", "--select-on", "last"]
    words += ["--eval-data", str(folder / "test.jsonl"), "--output-dir", str(folder / "run")]
    for name, value in given.items():
        if name in ("protocol", "output_dir", "data_dir") or value is False:
            continue
        values = value if isinstance(value, list) else [] if value is True else [value]
        words += ["--" + name.replace("_", "-"), *map(str, values)]
    return words


def run_fold(fold: Fold, folder: Path, given: dict[str, Any]) -> dict[str, float]:
    """{"pearson", "spearman"} of a fold; trains it unless it is finished. Raises RunError where that fails."""
    import train
    from sbert.jsonfile import read_json

    metrics, run = folder / "run" / "metrics.json", folder / "run"
    if not metrics.exists():
        for name, pairs in (("train", fold.train), ("test", fold.test)):
            rows = [{"sentence1": p.texts[0], "sentence2": p.texts[1], "score": p.label} for p in pairs]
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_text_atomically(folder / f"{name}.jsonl", lines)
        begun = (run / "config.json").exists()
        code = train.main(["--resume", str(run)] if begun else train_words(given, folder))
        if code == 2:
            raise UsageError(f"fold {fold.name}: train.py does not take these flags for pairs with scores")
        if code >= 128:  # a signal: train.py has saved and said so
            raise Interrupted(code - 128, 0, run)
        if code:
            raise RunError(f"fold {fold.name}: train.py ended with {code}")
    found, suffix = read_json(metrics), "" if given.get("arch") == "cross" else "_cosine"
    values = {name: found.get(f"test/{name}{suffix}") for name in ("pearson", "spearman")}
    return {name: math.nan if value is None else value for name, value in values.items()}


def run(argv: Sequence[str]) -> str:
    """Every fold, then config.json and metrics.json; returns the table to print."""
    given = given_flags(argv)
    root = Path(given["output_dir"])
    flags = parse(train_words(given, root / "fold"))[0]  # what is wrong is told before anything is loaded
    import data
    from sbert.jsonfile import read_json
    from sbert.run import RunDirectory, environment

    directory = RunDirectory(root)
    directory.refuse_second_run()
    sets = {topic: data.load(f"afs-{topic}", data_dir=given.get("data_dir")) for topic in AFS_TOPICS}
    topics = {topic: loaded.examples for topic, loaded in sets.items()}
    files = {name: sha for loaded in sets.values() for name, sha in loaded.files.items()}
    if given["protocol"] == "cv":
        folds = cross_validation([pair for pairs in topics.values() for pair in pairs])
    else:
        folds = cross_topic(topics)
    RunDirectory.create(root)
    keep_plan(directory, {"protocol": given["protocol"], "train": train_words(given, Path()), "data": files})

    found = {fold.name: run_fold(fold, root / f"fold-{fold.name}", given) for fold in folds}
    metrics: dict[str, float] = {
        f"afs/{name}": sum(values[name] for values in found.values()) / len(found)
        for name in ("pearson", "spearman")
    }
    metrics |= {f"fold-{fold}/{name}": x for fold, values in found.items() for name, x in values.items()}
    metrics["afs/pairs"] = sum(len(fold.test) for fold in folds)
    first = read_json(root / f"fold-{folds[0].name}" / "run" / "config.json")
    config = {
        "argv": list(argv),
        "flags": {**{name: x for name, x in vars(flags).items() if name not in DECIDED}, **given},
        "environment": environment(),
        "device": first["device"],
        "precision": first["precision"],
        "data": files,
    }
    directory.write(directory.config_path, config)
    directory.write(directory.metrics_path, metrics)
    return f"{table_of(folds, found, metrics)}\n\nwritten to {directory.metrics_path}"


def keep_plan(directory: Any, plan: dict[str, Any]) -> None:
    """Writes plan.json; raises UsageError where the folds that are there were begun with another plan."""
    from sbert.jsonfile import read_json

    path = directory.path / "plan.json"
    before = read_json(path) if path.exists() else plan
    for name, value in plan.items():
        if before.get(name) != value:
            raise UsageError(
                f"{directory.path} holds folds of another run: its {name} was {before.get(name)}, is now {value}; "
                "choose another --output-dir"
            )
    directory.write(path, plan)


def table_of(folds: Sequence[Fold], found: dict[str, dict[str, float]], metrics: dict[str, float]) -> str:
    from sbert.report import percent, table

    rows = [
        [fold.name, f"{len(fold.train):,}", f"{len(fold.test):,}", *map(percent, found[fold.name].values())]
        for fold in folds
    ]
    rows.append(["mean", "", "", percent(metrics["afs/pearson"]), percent(metrics["afs/spearman"])])
    return table(["fold", "train", "test", "r x 100", "rho x 100"], rows)


def main(argv: Sequence[str]) -> int:
    try:
        print(run(argv))
    except Interrupted as stop:
        print("afs: stopped; the same command goes on with this fold", file=sys.stderr)
        return 128 + stop.signum
    except UsageError as error:
        print(f"afs: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError, OSError) as error:
        print(f"afs: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        print("afs: stopped; the same command goes on with this fold", file=sys.stderr)
        code = 130
    raise SystemExit(code)
