"""What was measured of a row and seed: experiments/results/tables/TABLE/ROW-seedS.json. Torch-free.

A record holds every step with its command, flags, environment (with commit), device, data hashes and metrics; folders of
one machine are left out of it.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from data.files import write_text_atomically
from experiments.record import RESULTS
from experiments.rows import TABLES, row_of, source_of
from experiments.rows.row import Column, Values, values
from sbert.errors import RunError
from sbert.jsonfile import read_json, to_json

RECORDS = RESULTS / "tables"
RUNS_DIR = "runs/tables"  # where runs lie by default, and what a record calls any other folder of runs
KEPT = (
    "environment",
    "device",
    "precision",
    "data",
    "resumed",
    "rows",
    "set",
)  # of a step's config.json, beside its flags
Seeds = dict[int, Values]


def path_of(folder: Path, key: str, seed: int) -> Path:
    """key: TABLE/ROW."""
    return folder / f"{key}-seed{seed}.json"


def seeds_done(folder: Path, key: str) -> list[int]:
    """Seeds of a row that have a record there; of a row that shows another's, the other's."""
    source = source_of(key)
    table, _, name = source.partition("/")
    pattern = re.compile(rf"{re.escape(name)}-seed(\d+)\.json")
    found = (pattern.fullmatch(path.name) for path in (folder / table).glob(f"{name}-seed*.json"))
    return sorted(int(match[1]) for match in found if match)


def read(folder: Path, key: str, seed: int) -> dict[str, Any]:
    """Raises RunError, naming the file, when there is none or it is not a record of this row."""
    source = source_of(key)
    path = path_of(folder, source, seed)
    record = read_json(path)
    named = f"{record.get('table')}/{record.get('row')}" == source
    if not (named and isinstance(record.get("metrics"), dict) and isinstance(record.get("steps"), list)):
        raise RunError(f"{path}: not a record of {source}")
    return record


def measured(folder: Path, key: str) -> Seeds:
    """What every recorded seed of a row came to, in the columns of its table."""
    table = TABLES[key.partition("/")[0]]
    return {seed: values(table, read(folder, key, seed)["metrics"]) for seed in seeds_done(folder, key)}


class Cell(NamedTuple):
    """Mean and standard deviation (n - 1; 0 of one seed) over the seeds that have a value."""

    mean: float
    sd: float
    seeds: int


def cell(column: Column, seeds: Seeds) -> Cell | None:
    """One column of a row over its seeds; None where no seed has a value."""
    found = [value for one in seeds.values() if (value := one[column.title]) is not None]
    return Cell(fmean(found), stdev(found) if len(found) > 1 else 0.0, len(found)) if found else None


def write(
    folder: Path, key: str, seed: int, steps: list[dict[str, Any]], changed: Mapping[str, Any] | None = None
) -> Path:
    """steps: first to last, each with its "metrics". changed: what was replaced, where it was not the row's own run."""
    table, _, name = key.partition("/")
    row = row_of(key)
    *earlier, last = steps
    content = {
        "table": table,
        "row": name,
        "name": row.name,
        "edition": row.edition,
        "seed": seed,
        "command": command(key, seed),
        **({"changed": dict(changed)} if changed else {}),
        "steps": [*earlier, {k: v for k, v in last.items() if k != "metrics"}],
        "metrics": last["metrics"],
    }
    path = path_of(folder, key, seed)
    try:
        write_text_atomically(path, to_json(content))
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def command(key: str, seed: int | None = None) -> str:
    """What repeats a row, or one seed of it."""
    table, _, name = key.partition("/")
    words = f"python -m experiments.run --table {table} --row {name} --edition {row_of(key).edition}"
    return words if seed is None else f"{words} --seed {seed}"


def step_facts(config: Mapping[str, Any], words: list[str], runs_dir: str) -> dict[str, Any]:
    """A step's part of the record, without its metrics. words: its command."""
    flags = {name: value for name, value in config.get("flags", {}).items() if name != "output_dir"}
    if flags.get("data_dir"):
        flags["data_dir"] = "(a local folder)"  # the hashes say which data it was
    return {
        "command": shlex.join(portable(words, runs_dir)),
        "flags": portable(flags, runs_dir),
        **{name: portable(config[name], runs_dir) for name in KEPT if name in config},
    }


def portable(value: Any, runs_dir: str) -> Any:
    """The same with every path below ``runs_dir`` shown as one below runs/tables."""
    if isinstance(value, str) and (value == runs_dir or value.startswith(f"{runs_dir}/")):
        return RUNS_DIR + value[len(runs_dir) :]
    if isinstance(value, dict):
        return {portable(name, runs_dir): portable(item, runs_dir) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item, runs_dir) for item in value]
    return value


def flattened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Numbers at any depth, their names joined by ``/``."""
    out: dict[str, float] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            out.update(flattened(value, f"{prefix}{name}/"))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            out[f"{prefix}{name}"] = value
    return out
