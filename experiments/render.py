"""Records -> experiments/tables/*.md: for every row the paper's value, ours, and the difference; speed.md, the benchmarks.

    python -m experiments.render            # writes one file a table (and a PNG each where matplotlib is installed)
    python -m experiments.render --check    # exit code 1 where a committed file is not what the records give

Ours is the mean over the recorded seeds with its standard deviation (n - 1). A row without a record says "not run", and
its command stands below the table. The same records give the same bytes.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from data.files import atomic_path, write_text_atomically
from experiments.bench_report import speed_page
from experiments.rows import TABLES, source_of
from experiments.rows.records import RECORDS, Cell, Seeds, cell, command, measured, read
from experiments.rows.row import AVERAGE, Column, Row, Table
from sbert.errors import RunError
from sbert.flag_parser import Parser

FOLDER = Path(__file__).resolve().parent / "tables"
INSTALL = "pip install matplotlib"
SECTIONS = {
    "paper": "With the paper's encoders and data",
    "offline": "Offline, with the packaged encoder",
    "quoted": "Quoted",
}
NOT_RUN = "not run"
FOUR_LAYERS = "4 of 6 layers"
WHAT_FOUR_LAYERS_ARE = (
    f"MiniLM, {FOUR_LAYERS}: the first four layers of all-MiniLM-L6-v2 (22 million parameters, whole), in place of a raw "
    "encoder where no hub can be reached. Its weights have seen similarity training on a billion pairs, NLI among them."
)
ANOTHER_ENCODER = (
    "The paper's figures beside these rows are of its own, larger encoders: they say what such a row is like in the paper, "
    "and the difference is no error of either."
)


@dataclass(frozen=True)
class Measured:
    """What the records hold of one row. marks: set key -> what its training shares with it. minutes: of every run that
    says."""

    seeds: Seeds
    marks: dict[str, str]
    environments: tuple[str, ...]
    minutes: tuple[float, ...] = ()


def recorded(folder: Path, table: Table, row: Row) -> Measured:
    """Raises RunError on a file that is no record of the row."""
    key = f"{table.id}/{row.id}"
    if not (row.steps or row.same_as):
        return Measured({}, {}, ())
    seeds = measured(folder, key)
    marks: dict[str, str] = {}
    environments: list[str] = []
    minutes: list[float] = []
    for seed in seeds:
        record = read(folder, key, seed)
        marks.update(record["metrics"].get("marks") or {})
        environments += [_environment(step) for step in record["steps"]]
        minutes += [taken] if not row.same_as and (taken := _minutes(record)) else []
    return Measured(seeds, marks, tuple(environments), tuple(minutes))


def _minutes(record: dict[str, Any]) -> float:
    """What all steps of a run took; of a record that does not say, the training in them; else 0."""
    whole = [step.get("seconds", 0.0) for step in record["steps"]]
    if all(whole):
        return sum(whole) / 60
    stages = [one.get("metrics", {}).get("stages", []) for one in (*record["steps"], record)]
    return sum(stage.get("train_seconds", 0.0) for several in stages for stage in several) / 60


def _environment(step: dict[str, Any]) -> str:
    facts = step.get("environment", {})
    commit, _, changes = str(facts.get("commit") or "unknown").partition("+")
    shown = commit[:10] + ("+" + changes if changes else "")
    precision = f", {step['precision']}" if step.get("precision") else ""
    return f"commit {shown}, torch {facts.get('torch', 'unknown')}, {step.get('device', 'cpu')}{precision}"


def render(table: Table, folder: Path = RECORDS) -> str:
    """One table as Markdown."""
    found = {row.id: recorded(folder, table, row) for row in table.rows}
    parts = [
        f"# {table.title}",
        "Made by `python -m experiments.render` from the records in `experiments/results/tables/"
        f"{table.id}/`. {table.note}".strip(),
        _units(table),
    ]
    for edition, title in SECTIONS.items():
        rows = [row for row in table.rows if row.edition == edition]
        if rows:
            parts += [f"## {title}", _grid(table, rows, found), *_below(table, rows, found)]
    parts += _foot(table, found)
    return "\n\n".join(parts) + "\n"


def _units(table: Table) -> str:
    units = {column.unit for column in table.columns}
    if len(units) == 1:
        return f"Figures are {units.pop()}."
    return "Figures: " + "; ".join(f"{column.title} {column.unit}" for column in table.columns) + "."


def _grid(table: Table, rows: Sequence[Row], found: dict[str, Measured]) -> str:
    header = ["", "", *(column.title for column in table.columns)]
    lines = [header, ["---", "---", *("---:" for _ in table.columns)]]
    for row in rows:
        block = _block(table, row, found[row.id])
        lines += [[row.name if i == 0 else "", *cells] for i, cells in enumerate(block)]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _block(table: Table, row: Row, found: Measured) -> list[list[str]]:
    """The lines of one row: ours, the paper's, the difference, those of them that there are."""
    ours = {column.title: cell(column, found.seeds) for column in table.columns}
    out = []
    if row.edition != "quoted":
        label = _ours(row, len(found.seeds)) if found.seeds else NOT_RUN
        out.append([label, *(_own(c, ours[c.title], found.marks) for c in table.columns)])
    if any(row.paper.get(column.title) is not None for column in table.columns):
        source = "paper" if "Table" in row.place or row.place.startswith("stands in") else "published"
        out.append([source, *(_printed(column, row) for column in table.columns)])
        if found.seeds and row.edition != "quoted":
            out.append(["difference", *(_difference(c, ours[c.title], row) for c in table.columns)])
    return out


def _ours(row: Row, done: int) -> str:
    if not row.trained:
        return "ours"
    if done < len(row.seeds):
        return f"ours, {done} of {len(row.seeds)} seeds"
    return f"ours, {done} seed{'s' if done > 1 else ''}"


def _number(column: Column, value: float, sign: str = "") -> str:
    return f"{value:{sign}.{2 if column.scale == 100 else 0}f}"


def _own(column: Column, value: Cell | None, marks: dict[str, str]) -> str:
    if value is None:
        return ""
    star = "\\*" if any(metric.partition("/")[0] in marks for metric in column.metrics) else ""
    spread = f" ± {_number(column, value.sd)}" if value.seeds > 1 else ""
    return _number(column, value.mean) + spread + star


def _printed(column: Column, row: Row) -> str:
    value, sd = row.paper.get(column.title), row.paper_sd.get(column.title)
    if value is None:
        return ""
    return _number(column, value) + (f" ± {_number(column, sd)}" if sd is not None else "")


def _difference(column: Column, ours: Cell | None, row: Row) -> str:
    printed = row.paper.get(column.title)
    return "" if ours is None or printed is None else _number(column, ours.mean - printed, "+")


def _below(table: Table, rows: Sequence[Row], found: dict[str, Measured]) -> list[str]:
    """What belongs under the rows of one edition: notes of rows, and how to run what was not run."""
    out = []
    notes = [f"- {row.name}: {row.note}." for row in rows if row.note]
    if notes:
        out.append("\n".join(notes))
    missing = [row for row in rows if row.edition != "quoted" and not found[row.id].seeds]
    if missing:
        commands = [f"- {row.name}: `{command(source_of(f'{table.id}/{row.id}'))}`" for row in missing]
        out.append("\n".join(["Not run, with what runs it:", "", *commands]))
    return out


def _foot(table: Table, found: dict[str, Measured]) -> list[str]:
    """Footnotes, and the command that repeats the table."""
    out = []
    offline = [row for row in table.rows if row.edition == "offline"]
    if any(FOUR_LAYERS in row.name for row in offline):
        out.append(WHAT_FOUR_LAYERS_ARE)
    if any(row.place.startswith("stands in") for row in offline):
        out.append(ANOTHER_ENCODER)
    marks = sorted({note for one in found.values() for note in one.marks.values()})
    if marks:
        out.append("\n".join(["\\* trained on what overlaps with it:", "", *(f"- {note}" for note in marks)]))
    editions = [name for name in ("offline", "paper") if any(row.edition == name for row in table.rows)]
    if editions:
        commands = [f"python -m experiments.run --table {table.id} --edition {name}" for name in editions]
        check = f"python -m experiments.run --table {table.id} --edition {editions[0]} --verify"
        out.append("\n".join(["To repeat it:", "", "```", *commands, check, "```"]))
    environments = sorted({text for one in found.values() for text in one.environments})
    if environments:
        out.append("\n".join(["Measured with:", "", *(f"- {text}" for text in environments)]))
    minutes = [taken for one in found.values() for taken in one.minutes]
    if minutes:
        out.append(
            f"{len(minutes)} of the runs say how long they took (older ones, the training alone): {sum(minutes):,.0f} minutes "
            f"in all, {median(minutes):.1f} the median. Most had one thread, and often a neighbour."
        )
    return out


def stale(folder: Path = FOLDER, records: Path = RECORDS) -> list[str]:
    """Names of files that are missing, differ from what the records give, or belong to no table."""
    wanted = pages(records, folder)
    there = {path.name for path in folder.glob("*.md")}
    wrong = [
        name
        for name, text in wanted.items()
        if name not in there or (folder / name).read_bytes() != text.encode("utf8")
    ]
    return [*wrong, *sorted(there - set(wanted))]


def pages(records: Path, folder: Path) -> dict[str, str]:
    """File name -> content: a page a table, and one of the benchmarks whose records lie beside the tables'. A picture that
    lies in the folder is shown on its table's page."""
    out = {}
    for name, table in TABLES.items():
        picture = f"\n![Ours against the paper's]({name}.png)\n" if (folder / f"{name}.png").is_file() else ""
        out[f"{name}.md"] = render(table, records) + picture
    benchmarks = records.parent / "bench"
    if benchmarks.is_dir():
        out["speed.md"] = speed_page(benchmarks)
    return out


def write_all(folder: Path = FOLDER, records: Path = RECORDS) -> list[Path]:
    wanted = pages(records, folder)
    for name, text in wanted.items():
        write_text_atomically(folder / name, text)
    return [folder / name for name in wanted]


def draw(table: Table, path: Path, records: Path = RECORDS) -> bool:
    """Our cells against the paper's, a colour a row; whether there was anything to draw. Raises ImportError without
    matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot(xlabel="paper", ylabel="ours", title=table.title)
    both: list[float] = []
    for row in table.rows:
        seeds = recorded(records, table, row).seeds
        columns = [column for column in table.columns if column.metric != AVERAGE]
        pairs = [(row.paper.get(column.title), cell(column, seeds)) for column in columns]
        points = [(printed, ours.mean, ours.sd) for printed, ours in pairs if printed is not None and ours]
        if points:
            x, y, sd = zip(*points, strict=True)
            axes.errorbar(x, y, yerr=sd, fmt="o", capsize=2, label=row.name)
            both += [*x, *y]
    if not both:
        return False
    axes.axline((min(both), min(both)), slope=1, color="gray", linewidth=0.8)
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    return True


def draw_all(folder: Path, records: Path) -> str:
    """Pictures of every table with cells on both sides; what to say about it."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return f"no pictures: they need matplotlib ({INSTALL})"
    drawn = [name for name, table in TABLES.items() if draw(table, folder / f"{name}.png", records)]
    return f"pictures: {', '.join(drawn) or 'none, nothing has been measured'}"


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.render",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 where a file is not up to date"
    )
    return parser


def main(argv: list[str], folder: Path = FOLDER, records: Path = RECORDS) -> int:
    args = build_parser().parse_args(argv)
    try:
        if args.check:
            wrong = stale(folder, records)
            for name in wrong:
                print(
                    f"experiments.render: {folder / name} is not what the records give: python -m experiments.render",
                    file=sys.stderr,
                )
            return 1 if wrong else 0
        pictures = draw_all(folder, records)
        for path in write_all(folder, records):
            print(path)
        print(pictures)
    except (RunError, OSError) as error:
        print(f"experiments.render: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
