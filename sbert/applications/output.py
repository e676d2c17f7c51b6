"""What a command found: printed, and written as .tsv or .json."""

import shlex
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.files import write_text_atomically
from sbert.errors import RunError
from sbert.jsonfile import to_json
from sbert.run import environment

SHOWN = 110  # letters printed of a text
NO_FLAGS = ("argv", "command", "data_dir", "output", "threads")  # of one machine, or said elsewhere


@dataclass
class Result:
    """found: rows of one form, everything there is to write. shown: the lines to print. metrics: numbers 0..1 where the
    right answers are known, and counts."""

    found: list[dict[str, Any]]
    shown: list[str]
    metrics: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def shorten(text: str) -> str:
    """On one line, cut at a word's end."""
    return textwrap.shorten(text, SHOWN, placeholder=" ...")


def under(score: float, *texts: str) -> list[str]:
    """Texts below one another, the score before the first."""
    lines = [f"{score:9.4f}  {shorten(texts[0])}"]
    return lines + [" " * 11 + shorten(text) for text in texts[1:]]


def printed(result: Result, output: str | None) -> str:
    """Lines, then metrics, notes and where it was written."""
    out = list(result.shown)
    if result.metrics:
        values = (
            f"{name} {value:,}" if isinstance(value, int) else f"{name} {value:.4f}"
            for name, value in result.metrics.items()
        )
        out += ["", ", ".join(values)]
    out += [f"* {note}" for note in result.notes]
    return "\n".join(out + ([f"written to {output}"] if output else []))


def write(args: Any, facts: Mapping[str, Any], result: Result) -> None:
    """--output: .tsv, a header and the rows found; .json, those with command, flags, versions, data and metrics.

    Raises RunError when it cannot be written.
    """
    path = Path(args.output)
    text = tsv(result.found) if path.suffix == ".tsv" else to_json(record(args, facts, result))
    try:
        write_text_atomically(path, text)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None


def record(args: Any, facts: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """What somebody repeating the command has to know, and what came of it."""
    return {
        "command_line": shlex.join(["python", "-m", "sbert.applications", *args.argv]),
        "argv": args.argv,
        "flags": {name: value for name, value in vars(args).items() if name not in NO_FLAGS},
        "environment": environment(),
        **facts,
        "rows": {args.command: result.metrics},
        "notes": result.notes,
        "found": result.found,
    }


def tsv(found: Iterable[Mapping[str, Any]]) -> str:
    """A header and a line a row; tabs and line ends inside a text become blanks."""
    lines: list[str] = []
    for row in found:
        lines = lines or ["\t".join(row)]
        lines.append("\t".join(_cell(value) for value in row.values()))
    return "".join(f"{line}\n" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.6f}" if isinstance(value, float) else " ".join(str(value).split())
