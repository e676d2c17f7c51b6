"""A table of the paper, or of ours, as data: columns, and rows that say what is run and what was printed. Torch-free.

The words of a step may hold

    {seed}       the seed
    {out}        folder of this row and seed; its steps write into {out}/1, {out}/2, ...
    {step1}      folder of an earlier step of this row
    {row:ID}     folder of the last step of another row, table1/sbert-nli-4, with the same seed
    {row:ID#1}   folder of its step 1
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

EDITIONS = ("paper", "offline", "quoted")
AVERAGE = "average"  # a column's metric: the mean of the row's other columns
PLACEHOLDER = re.compile(r"\{(?:(seed)|(out)|step(\d+)|row:([^}#]+)(?:#(\d+))?)\}")
Values = dict[str, float | None]  # column title -> number in the column's unit, or None
FolderOf = Callable[
    [str | None, int | None], str
]  # (row or None: this one, step or None: all of it) -> folder


@dataclass(frozen=True)
class Step:
    """One process.

    program: ``train.py``, or a module such as ``experiments.senteval``. writes: empty for a program that takes
    --output-dir and leaves config.json and metrics.json there; else the file that it leaves in its folder, which
    its own words name.
    """

    program: str
    argv: tuple[str, ...]
    writes: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    edition: ``paper`` needs a model hub and the publishers' data, ``offline`` neither, ``quoted`` has no command.
    seeds: (0,) where nothing is trained. paper, paper_sd: printed values by column title, in the column's unit.
    same_as: another row, TABLE/ROW, whose runs this one shows. tolerance: how far a repetition may lie from our
    record, in the column's unit; None: the column's.
    """

    id: str
    name: str
    edition: str
    steps: tuple[Step, ...] = ()
    seeds: tuple[int, ...] = (0,)
    paper: Mapping[str, float | None] = field(default_factory=dict)
    paper_sd: Mapping[str, float] = field(default_factory=dict)
    place: str = ""
    note: str = ""
    same_as: str = ""
    tolerance: float | None = None

    @property
    def trained(self) -> bool:
        """Whether seeds differ in what they give."""
        return self.seeds != (0,)


@dataclass(frozen=True)
class Column:
    """metric: key in metrics.json, several where rows differ in kind (the first one that is there counts), or AVERAGE.
    scale: what the raw number is multiplied by. tolerance: in the unit shown, or, relative, a share of the number."""

    title: str
    metric: str | tuple[str, ...]
    unit: str = "Spearman x 100"
    scale: float = 100.0
    tolerance: float = 0.5
    relative: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,) if isinstance(self.metric, str) else self.metric


@dataclass(frozen=True)
class Table:
    id: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.id == name), None)


def values(table: Table, metrics: Mapping[str, object]) -> Values:
    """What a run came to, in the columns of a table; None where it has no such metric, or a NaN."""
    out: Values = {column.title: _value(column, metrics) for column in table.columns}
    for column in table.columns:
        if column.metric == AVERAGE:
            out[column.title] = average(
                [out[other.title] for other in table.columns if other.metric != AVERAGE]
            )
    return out


def _value(column: Column, metrics: Mapping[str, object]) -> float | None:
    known = {**_kept_on_dev(metrics), **metrics}
    for name in column.metrics:
        number = known.get(name)
        if isinstance(number, int | float) and number == number:
            return float(number) * column.scale
    return None


def _kept_on_dev(metrics: Mapping[str, object]) -> Mapping[str, object]:
    """What a training run's last stage measured on its dev sets at the update whose weights it kept: a bi-encoder's
    accuracy on NLI is nowhere else, since its classifier is not part of the model."""
    stages = metrics.get("stages")
    if not (isinstance(stages, list) and stages):
        return {}
    last = stages[-1]
    kept = last.get("last_update") if last.get("best") is None else last["best_update"]
    return next((one for one in last.get("evaluations", []) if one["update"] == kept), {})


def average(numbers: Sequence[float | None]) -> float | None:
    """The mean; None when one is missing, since a mean of fewer sets is another figure."""
    known = [number for number in numbers if number is not None]
    return fmean(known) if known and len(known) == len(numbers) else None


def printed(columns: Sequence[Column], line: str) -> dict[str, float | None]:
    """A line of the paper: numbers in the order of the columns, ``-`` where there is none."""
    cells = line.split()
    return {
        column.title: None if cell == "-" else float(cell)
        for column, cell in zip(columns, cells, strict=True)
    }


def fill(words: Sequence[str], seed: int, folder: FolderOf) -> list[str]:
    """The words with every placeholder replaced."""

    def one(found: re.Match[str]) -> str:
        if found[1]:
            return str(seed)
        if found[2]:
            return folder(None, None)
        if found[3]:
            return folder(None, int(found[3]))
        return folder(found[4], int(found[5]) if found[5] else -1)

    return [PLACEHOLDER.sub(one, word) for word in words]


def needs(row: Row) -> list[str]:
    """The rows, TABLE/ROW, whose models this one builds on."""
    found = (PLACEHOLDER.finditer(word) for step in row.steps for word in step.argv)
    return list(dict.fromkeys(match[4] for matches in found for match in matches if match[4]))


def train(flags: str) -> Step:
    """A run of train.py with the row's seed."""
    return Step("train.py", (*flags.split(), "--seed", "{seed}"))


def score(model: str, sets: str) -> Step:
    """``train.py --eval-only``. model: of --model, with further flags of the model after it."""
    return Step("train.py", ("--eval-only", "--model", *model.split(), "--eval-data", *sets.split()))


def module(name: str, flags: str, writes: str = "") -> Step:
    """A run of ``python -m experiments.NAME``."""
    return Step(f"experiments.{name}", tuple(flags.split()), writes)
