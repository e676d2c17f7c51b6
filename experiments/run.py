"""Run the rows of the paper's tables, and of ours: experiments/rows says what each row is.

    python -m experiments.run --list
    python -m experiments.run --table table1                             # every offline row that has no record yet
    python -m experiments.run --table table2 --row sbert-stsb-6 --seed 1
    python -m experiments.run --table table2 --edition paper --dry-run   # the commands, and nothing else
    python -m experiments.run --table table1 --row minilm --verify       # run it anew, compare with our record
    python -m experiments.run --table table2 --model M -- --max-updates 2 --precision fp32

A half-finished table goes on: rows with a record are passed over, finished runs are collected, a training that was cut
short continues through train.py --resume. A row that builds on another's model has that one run first. A row that fails
is reported and the others go on. --verify runs anew what a row builds on as well. Records go to
experiments/results/tables/; those of runs with --model or further flags to RUNS_DIR/records. Exit codes: 0; 1 where a
row failed or differs; 2 for wrong flags; 3 where --verify found no record.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from experiments.rows import TABLES, source_of
from experiments.rows.listing import commands, listing
from experiments.rows.records import RECORDS, RUNS_DIR, measured, read
from experiments.rows.row import EDITIONS, Row, Table, values
from experiments.rows.runner import ROOT, RowFailed, Runner, Stopped, check_extra, flags_of
from experiments.verify import Verdict, exit_code, verdicts
from sbert.errors import RunError, UsageError
from sbert.flag_parser import Parser, suggestion
from sbert.report import table as as_table

TRIAL_DIR = "runs/tables-trial"  # of runs with another model or further flags
OF_RUNNING = ("row", "seed", "dry_run", "verify", "again", "model", "runs_dir", "data_dir")
Selected = list[tuple[Table, Row, tuple[int, ...]]]


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="python -m experiments.run --list | --table T [T ...] [flags] [-- flags of train.py]",
    )
    add = parser.add_argument
    add("--list", action="store_true", help="every row: seeds done, the paper's value, ours; runs nothing")
    add("--table", nargs="+", default=[], metavar="T", help=f"{', '.join(TABLES)}; 1 is table1")
    add("--row", nargs="+", default=[], metavar="R", help="only these rows; default: all of the edition")
    add(
        "--edition",
        choices=EDITIONS,
        help="paper: its encoders and data, from their publishers; offline: the packaged encoder; quoted: for --list "
        "[offline]",
    )
    add("--seed", nargs="+", type=int, default=[], metavar="S", help="only these; default: the row's")
    add("--dry-run", action="store_true", help="print the commands")
    add("--verify", action="store_true", help="run what has a record anew, in a fresh folder, and compare")
    add("--again", action="store_true", help="run anew what has a record or a finished run, and replace it")
    add("--model", metavar="M", help="in place of the encoder of every first step: a directory or a hub id")
    add(
        "--data-dir",
        metavar="D",
        help="folder with the publishers' files; default: $SBERT_DATA, then downloads",
    )
    add("--runs-dir", metavar="DIR", help=f"[{RUNS_DIR}; {TRIAL_DIR} with --model or further flags]")
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Checked flags; ``extra`` are the words after ``--``. Raises UsageError; exits 2 like argparse."""
    place = list(argv).index("--") if "--" in argv else len(argv)
    args = build_parser().parse_args(argv[:place])
    args.extra = tuple(argv[place + 1 :])
    flags_of(args.extra)
    args.table = [f"table{name}" if name.isdecimal() else name for name in args.table]
    for name in args.table:
        if name not in TABLES:
            raise UsageError(
                f"--table {name}: allowed are {', '.join(TABLES)}{suggestion(name, list(TABLES))}"
            )
    given = [f"--{name.replace('_', '-')}" for name in OF_RUNNING if getattr(args, name)]
    if args.list and (given or args.extra):
        raise UsageError(f"{given[0] if given else '--'} is for running, and --list runs nothing")
    if not args.list and not args.table:
        raise UsageError(f"--table is missing: allowed are {', '.join(TABLES)} (--list shows their rows)")
    if args.row and len(args.table) != 1:
        raise UsageError(f"--row is for one --table; this names {len(args.table)}")
    if args.verify and (args.again or args.dry_run or args.model or args.extra):
        raise UsageError(
            "--verify repeats rows as they are recorded: without --again, --dry-run, --model and flags after --"
        )
    for name in ("model", "data_dir", "runs_dir"):
        if getattr(args, name) == "":
            raise UsageError(f"--{name.replace('_', '-')} is empty: leave the flag out, or give it a value")
    if min(args.seed, default=0) < 0:
        raise UsageError(f"--seed {min(args.seed)}: must be at least 0")
    return args


def select(args: argparse.Namespace) -> Selected:
    """The rows meant, with their seeds. Raises UsageError for a row that is not there or has no command."""
    out: Selected = []
    edition = args.edition or "offline"
    for name in args.table:
        table = TABLES[name]
        rows = [named(table, row, args.edition) for row in dict.fromkeys(args.row)]
        rows = rows or [row for row in table.rows if row.edition == edition]
        if not rows:
            there = ", ".join(dict.fromkeys(row.edition for row in table.rows))
            raise UsageError(f"--table {name} has no {edition} rows; its editions are {there} (--edition)")
        for row in rows:
            if row.edition == "quoted":
                raise UsageError(f"{name}/{row.id} is quoted from the paper: there is nothing to run")
            seeds = tuple(dict.fromkeys(args.seed)) if args.seed and row.trained else row.seeds
            out.append((table, row, seeds))
    return out


def named(table: Table, name: str, edition: str | None) -> Row:
    """One row of a table. Raises UsageError when it is not there, or not of this edition (None: offline)."""
    row = table.row(name)
    if row is None:
        known = [row.id for row in table.rows]
        raise UsageError(f"--row {name}: {table.id} has {', '.join(known)}{suggestion(name, known)}")
    if row.edition not in ("quoted", edition or "offline"):
        raise UsageError(f"--row {name} is of --edition {row.edition}, not {edition or 'offline'}")
    return row


def cells(selected: Selected) -> Iterator[tuple[Table, Row, str, int]]:
    """(table, row, TABLE/ROW, seed) of everything selected, in order."""
    for table, row, seeds in selected:
        for seed in seeds:
            yield table, row, f"{table.id}/{row.id}", seed


def runner_of(args: argparse.Namespace) -> Runner:
    """Of a call that is no --verify."""
    changed = bool(args.model or args.extra)
    runs_dir = args.runs_dir or (TRIAL_DIR if changed else RUNS_DIR)
    if Path.cwd() != ROOT:  # steps run in the project's folder
        runs_dir = os.path.abspath(runs_dir)
    model = os.path.abspath(args.model) if args.model and os.path.isdir(args.model) else args.model
    folder = ROOT / runs_dir / "records" if changed else RECORDS
    return Runner(runs_dir.rstrip("/"), folder, model, args.extra, args.data_dir)


def run_rows(runner: Runner, selected: Selected) -> int:
    """Runs what is missing, then prints what every row came to."""
    came_to: dict[str, list[list[str]]] = {}
    failed = 0
    for table, row, key, seed in cells(selected):
        try:
            how = runner.run(key, seed)
            found = values(table, read(runner.folder_of_records, key, seed)["metrics"])
        except (RowFailed, RunError) as error:
            print(f"experiments.run: {key}, seed {seed}, failed: {error}", file=sys.stderr)
            how, found, failed = "failed", dict.fromkeys((c.title for c in table.columns), None), failed + 1
        numbers = [number(found[column.title]) for column in table.columns]
        came_to.setdefault(table.id, []).append([row.id, str(seed), *numbers, how])
    for name, rows in came_to.items():
        print("\n" + as_table([name, "seed", *(column.title for column in TABLES[name].columns), ""], rows))
    print(f"\nrecords in {runner.folder_of_records}" + (f"; {failed} failed" if failed else ""))
    return 1 if failed else 0


def verify_rows(args: argparse.Namespace, selected: Selected) -> int:
    """Runs every recorded row and seed of those selected anew and compares."""
    fresh = f"{args.runs_dir or 'runs'}/verify-{time.strftime('%Y%m%d-%H%M%S')}"
    fresh = fresh if Path.cwd() == ROOT else os.path.abspath(fresh)
    runner = Runner(fresh, ROOT / fresh / "records", data_dir=args.data_dir)
    found: list[Verdict] = []
    lines, failed = [], 0
    for table, row, key, seed in cells(selected):
        recorded = measured(RECORDS, key)
        if seed not in recorded:
            continue
        try:
            runner.run(key, seed)
            again = values(table, read(runner.folder_of_records, key, seed)["metrics"])
        except (RowFailed, RunError) as error:
            print(f"experiments.run: {key}, seed {seed}, failed: {error}", file=sys.stderr)
            lines.append([key, str(seed), "", "", "", "", "failed"])
            failed += 1
            continue
        for one in verdicts(table, row, seed, recorded, again):
            found.append(one)
            pair = [number(one.recorded), number(one.repeated), f"{one.allowed:.2f}"]
            lines.append([key, str(seed), one.column, *pair, one.verdict])
    if not lines:
        print("experiments.run: none of these rows has a record: nothing to verify", file=sys.stderr)
    else:
        print("\n" + as_table(["row", "seed", "column", "record", "now", "allowed", "verdict"], lines))
        print(f"\nrun anew in {fresh}")
    return exit_code(found, failed)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main(argv: list[str]) -> int:
    try:
        args = parse(argv)
        if args.list:
            print(listing(args.table, args.edition, RECORDS))
            return 0
        selected = select(args)
        if args.verify:
            return verify_rows(args, selected)
        runner = runner_of(args)
        meant = [(key, seed) for _, _, key, seed in cells(selected)]
        check_extra(runner, meant)
        if args.dry_run:
            print(commands(runner, meant))
            return 0
        if args.again:
            runner.anew.update((source_of(key), seed) for key, seed in meant)
        return run_rows(runner, selected)
    except UsageError as error:
        print(f"experiments.run: error: {error}", file=sys.stderr)
        return 2
    except (RunError, OSError) as error:
        print(f"experiments.run: error: {error}", file=sys.stderr)
        return 1
    except (Stopped, KeyboardInterrupt) as stop:
        print("experiments.run: stopped; the same command goes on from here", file=sys.stderr)
        return stop.code if isinstance(stop, Stopped) else 130


def _terminated(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    raise SystemExit(main(sys.argv[1:]))
