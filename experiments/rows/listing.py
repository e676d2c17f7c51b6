"""What ``experiments.run --list`` and ``--dry-run`` print. Torch-free."""

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.rows import TABLES, row_of, source_of
from experiments.rows.records import cell, measured, path_of
from experiments.rows.row import Row, Table, needs
from experiments.rows.runner import Runner, seed_for
from sbert.report import table as as_table


def listing(names: Sequence[str], edition: str | None, folder: Path) -> str:
    """A block a table, a line a row: seeds recorded of those asked for, the paper's value and ours of one column (the last
    one that has any)."""
    blocks = []
    for name in names or TABLES:
        table = TABLES[name]
        rows = [row for row in table.rows if edition in (None, row.edition)]
        if rows:
            lines = as_table(
                [name, "edition", "seeds", "column", "paper", "ours"],
                [_listed(table, row, folder) for row in rows],
            ).splitlines()
            named = [f"{line}  {row.name}" for line, row in zip(lines[2:], rows, strict=True)]
            blocks.append("\n".join([table.title, *lines[:2], *named]))
    return "\n\n".join(blocks)


def _listed(table: Table, row: Row, folder: Path) -> list[str]:
    runs = bool(row.steps or row.same_as)
    seeds = measured(folder, f"{table.id}/{row.id}") if runs else {}
    known = [c for c in table.columns if row.paper.get(c.title) is not None or cell(c, seeds)]
    column = known[-1] if known else table.columns[-1]
    printed, ours = row.paper.get(column.title), cell(column, seeds)
    done = sum(seed in row.seeds for seed in seeds)
    return [
        row.id,
        row.edition,
        f"{done}/{len(row.seeds)}" if runs else "-",
        column.title,
        "-" if printed is None else f"{printed:.2f}",
        "-" if ours is None else f"{ours.mean:.2f}",
    ]


def commands(runner: Runner, cells: Iterable[tuple[str, int]]) -> str:
    """The commands of (TABLE/ROW, seed) in the order they would run; a row that another builds on stands before it, once.

    They are to be typed in the project's folder.
    """
    lines: list[str] = []
    shown: set[tuple[str, int]] = set()
    python = os.path.relpath(sys.executable) if Path.cwd() in Path(sys.executable).parents else "python"
    start = f"SBERT_DATA={shlex.quote(os.path.abspath(runner.data_dir))} " if runner.data_dir else ""

    def show(key: str, seed: int) -> None:
        if (key, seed) in shown:
            return
        shown.add((key, seed))
        row = row_of(key)
        for other in needs(row):
            show(other, seed_for(row_of(other), seed))
        recorded = path_of(runner.folder_of_records, key, seed).exists()
        lines.append(f"# {key}, seed {seed}: {row.name}{' (has a record)' if recorded else ''}")
        for number in range(1, len(row.steps) + 1):
            lines.append(start + shlex.join(runner.command(key, seed, number, python)))

    for key, seed in cells:
        show(source_of(key), seed)
    return "\n".join(lines)
