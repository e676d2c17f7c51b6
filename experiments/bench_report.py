"""The records of experiments.bench and its kin as one page, experiments/tables/speed.md; experiments.render writes it."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.bench_applications import applications_table
from experiments.bench_growth import growth_table
from experiments.bench_memory import memory_table
from experiments.bench_search import search_tables
from experiments.bench_start import start_table
from experiments.bench_summary import bench_table
from sbert.errors import RunError
from sbert.jsonfile import read_json

HEAD = """# Speed, memory, start-up

Made by `python -m experiments.render` from the records in `experiments/results/bench/`. Every comparison was taken in turn on
one machine; machines differ from record to record, so only figures under one heading can be set beside each other. "ours /
peer" is the median of the rounds' own ratios."""


def _of_sides(what: str) -> Callable[[Mapping[str, Any]], str]:
    def render(record: Mapping[str, Any]) -> str:
        cells = [{"backend": "torch", **cell} for cell in record["cells"]]  # older records knew no other
        return bench_table(what, cells, record["ours_over_peer_default"])

    return render


# the beginning of a record's name -> title, what makes its table
PARTS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "encode": ("Encoding", _of_sides("encode")),
    "train": ("Training", _of_sides("train")),
    "rerank": ("Scoring pairs", _of_sides("rerank")),
    "search": ("Search", search_tables),
    "applications": ("Paraphrases and communities", applications_table),
    "gradient-cache": ("The gradient cache", memory_table),
    "growth": ("How cost grows", growth_table),
    "start": ("Start-up", start_table),
}


def speed_page(folder: Path) -> str:
    """The records of a folder, in the order of PARTS. Raises RunError on one that is of no part, or not whole."""
    parts = [HEAD]
    paths = sorted(folder.glob("*.json"), key=lambda path: (list(PARTS).index(_part(path)), path.name))
    for path in paths:
        title, render = PARTS[_part(path)]
        record = read_json(path)
        try:
            body = render(record)
            command = shlex.join(word.replace(".../", "") for word in record["command"])
            commit = str(record.get("commit") or record["environment"]["commit"])
            where = f"{record['processor']}, {record['threads']} threads, commit {commit[:10]}"
        except KeyError as error:
            raise RunError(f"{path}: not a record of a benchmark: {error} is missing") from None
        except (TypeError, AttributeError, ValueError, IndexError) as error:
            raise RunError(f"{path}: not a record of a benchmark: {error}") from None
        parts.append(f"## {title}: {path.stem}\n\n`{command}`\n\n{where}.\n\n```\n{body}\n```")
        if path.with_suffix(".png").is_file():
            parts.append(f"![{title}](../results/{folder.name}/{path.stem}.png)")
    return "\n\n".join(parts) + "\n"


def _part(path: Path) -> str:
    for name in PARTS:
        if path.stem.startswith(name):
            return name
    raise RunError(f"{path}: allowed names begin with {', '.join(PARTS)}")
