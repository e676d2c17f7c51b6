"""Keep what a run measured: one JSON under experiments/results/, small enough to commit.

    python -m experiments.record runs/x stsb-regression-seed1

It holds the run's argv and flags, versions, commit, device, data hashes and metrics: what somebody repeating it needs.
"""

import argparse
import json
import re
import shlex
import sys
from pathlib import Path

from data.files import write_text_atomically
from sbert.errors import RunError
from sbert.jsonfile import read_json

RESULTS = Path(__file__).resolve().parent / "results"


def record(run: Path, name: str, folder: Path = RESULTS) -> Path:
    """Joins config.json and metrics.json of a finished run. Raises RunError when one is missing or the name is bad."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise RunError(f"{name!r}: a record's name is lower-case letters, digits, '.', '_' and '-'")
    config, metrics = read_json(run / "config.json"), read_json(run / "metrics.json")
    if config["flags"].get("data_dir"):
        config["flags"]["data_dir"] = "(a local folder)"  # the hashes say which data it was
    config["argv"] = _repeatable(config["argv"])
    target = folder / f"{name}.json"
    command = shlex.join(["python", "train.py", *config["argv"]])
    content = {"name": name, "command": command, **config, "metrics": metrics}
    write_text_atomically(target, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return target


def _repeatable(argv: list[str]) -> list[str]:
    """The words of a command without the flags that name folders of one machine."""
    out, skip = [], False
    for word in argv:
        if word.startswith("--"):
            skip = word.split("=")[0] in ("--data-dir", "--output-dir", "--run-name")
        if not skip:
            out.append(word)
    return out


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.record",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="directory of a finished run")
    parser.add_argument("name", help="name of the record: stsb-regression-seed1")
    args = parser.parse_args(argv)
    try:
        print(record(args.run, args.name))
    except (RunError, OSError) as error:
        print(f"record: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
