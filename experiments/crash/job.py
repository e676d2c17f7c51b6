"""What a job is, and how the folders of two of them are compared."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.files import sha256_of
from experiments.crash.process import Watch


@dataclass(frozen=True)
class Job:
    """start: runs in a fork, in the folder, and returns an exit code; it starts, or goes on with what a killed one left.
    whole: what is wrong with such a folder: something half written under a final name. differs: in what a finished folder
    is not as that of a run that nobody killed. children: whether it has some, so that it may be killed without them."""

    name: str
    start: Callable[[], int | None]
    whole: Callable[[Path], list[str]]
    differs: Callable[[Path, Path], list[str]]
    watch: Watch = ()
    children: bool = False


def contents(folder: Path) -> dict[str, str]:
    """Every file with the sha256 of its bytes, but for those of a process that was killed while it wrote them."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {str(path.relative_to(folder)): path for path in files}
    return {name: sha256_of(path) for name, path in names.items() if not _is_temporary(name)}


def _is_temporary(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def same_bytes(one: Path, other: Path) -> list[str]:
    a, b = contents(one), contents(other)
    return [f"{name}: other bytes" for name in sorted({*a, *b}) if a.get(name) != b.get(name)]


def broken_json(folder: Path) -> list[str]:
    wrong = []
    for path in sorted(folder.rglob("*.json")):
        try:
            if not _is_temporary(str(path.relative_to(folder))):
                json.loads(path.read_text(encoding="utf8"))
        except ValueError as error:
            wrong.append(f"{path}: {error}")
    return wrong
