"""A made-up table, and a function that stands for the processes of its rows: for the tests of experiments.run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments import run
from experiments.rows import TABLES, runner
from experiments.rows.row import AVERAGE, Column, Row, Table, module, score, train

SETS = "samples-sts-en"
COLUMNS = (Column("A", "a/rho"), Column("B", "b/rho"), Column("Mean", AVERAGE))
TOY = Table(
    "toy",
    "A toy",
    COLUMNS,
    (
        Row(
            "scored",
            "Scored",
            "offline",
            (score("minilm --num-layers 4", SETS),),
            paper={"A": 50.0},
            place="Table 9",
        ),
        Row(
            "after", "After", "offline", (train("--model {row:toy/two}/model --train-data samples"),), (1, 2)
        ),
        Row(
            "two",
            "Two steps",
            "offline",
            (train("--train-data samples-nli"), train("--model {step1}/model --train-data samples")),
            (1, 2),
        ),
        Row("same", "The same", "offline", seeds=(1, 2), same_as="toy/two"),
        Row("quoted", "Quoted", "quoted", paper={"A": 40.0}),
        Row("hub", "From the hub", "paper", (score("bert-base-uncased", SETS),)),
        Row(
            "found",
            "Found",
            "paper",
            (module("retrieve", "--data samples-mrc-en --output {out}/1", writes="results.json"),),
        ),
        Row("folds", "In folds", "paper", (module("afs", "--protocol cv --seed {seed}"),), (1,)),
    ),
)


class Steps:
    """Stands for the processes: keeps the commands, leaves config.json and metrics.json, ends with a code that was set."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.codes: dict[str, int] = {}  # step folder, from the table's name on -> exit code, once
        self.shift = 0.0

    def __call__(self, words: Sequence[str], environment: Mapping[str, str]) -> int:
        words = list(words)
        self.commands.append(words)
        self.environments.append(dict(environment))
        flag = next(flag for flag in ("--resume", "--output-dir", "--output") if flag in words)
        folder = Path(words[words.index(flag) + 1])
        facts: dict[str, Any] = {
            "environment": {"commit": "c0ffee", "torch": "2"},
            "data": {"x.tsv": "ab"},
            "device": "cpu",
        }
        if flag == "--output":
            rows = {"hybrid": {"mrr@10": 0.5, "ms": {"search": 1.5}}}
            (folder / "results.json").write_text(
                json.dumps({"argv": words[3:], "flags": {}, "rows": rows, **facts})
            )
            return 0
        folder.mkdir(parents=True, exist_ok=True)
        if flag == "--output-dir":
            flags = {
                "data_dir": "/somewhere",
                "output_dir": str(folder),
                "model": words[words.index("--model") + 1] if "--model" in words else "minilm",
            }
            (folder / "config.json").write_text(json.dumps({"argv": words[2:], "flags": flags, **facts}))
        code = self.codes.pop(self.name(folder), 0)
        if code == 0:
            seed = int(folder.parent.name.removeprefix("seed"))
            metrics = {"a/rho": 0.5 + seed / 100 + self.shift, "b/rho": 0.25, "marks": {}}
            (folder / "metrics.json").write_text(json.dumps(metrics))
        return code

    @staticmethod
    def name(folder: Path) -> str:
        return "/".join(folder.parts[-3:])  # ROW/seedS/STEP

    @property
    def started(self) -> list[str]:
        """ROW/seedS/STEP of every command, those that continued one marked."""
        out = []
        for words in self.commands:
            flag = next(flag for flag in ("--resume", "--output-dir", "--output") if flag in words)
            out.append(self.name(Path(words[words.index(flag) + 1])) + " again" * (flag == "--resume"))
        return out


def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Steps:
    """The made-up table among the tables, its records in tmp_path/results, and no real process."""
    made = Steps()
    monkeypatch.setitem(TABLES, "toy", TOY)
    monkeypatch.setattr(runner, "execute", made)
    monkeypatch.setattr(run, "RECORDS", tmp_path / "results")
    monkeypatch.delenv("SBERT_DATA", raising=False)
    return made


def call(tmp_path: Path, *words: str, table: str = "toy") -> int:
    return run.main(["--table", table, "--runs-dir", str(tmp_path / "runs"), *words])


def record(tmp_path: Path, name: str) -> dict[str, Any]:
    return json.loads((tmp_path / "results" / "toy" / f"{name}.json").read_text(encoding="utf8"))


EVERYTHING = ["scored/seed0/1", "two/seed1/1", "two/seed1/2", "after/seed1/1", "two/seed2/1", "two/seed2/2", "after/seed2/1"]  # fmt: skip
