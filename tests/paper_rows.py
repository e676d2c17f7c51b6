"""The rows of --edition paper on a tiny random encoder and made-up files: which are run, how, and what is expected.

Nothing is replaced but --model, the data folder and, of the GPU rows of table 7, the device, by cpu; the rows of word
vectors keep even their --model, a file. Rows that have the same commands then (BERT of both sizes, RoBERTa) are run
once, the others are held to what that run left.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import torch
from paper_data import ROWS, write_paper_data, write_vectors
from tiny_models import save_tiny

from data.tasks import stem_of
from experiments.rows import TABLES, records, row_of, runner, source_of
from experiments.rows.row import AVERAGE, Row, fill, values
from experiments.rows.runner import Runner, with_model

WORD_VECTORS = (".txt", ".vec")
STS = {"STS12", "STS13", "STS14", "STS15", "STS16", "STSb", "SICK-R"}
KOREAN_STS = {"KorSTS test", "KLUE-STS dev"}
KORQUAD = {"KorQuAD R@1", "KorQuAD MRR@10"}
# columns that a row fills, in the tables whose rows do not fill all of them
FILLED = {
    "released/bert-base-nli": STS,
    "released/bert-large-nli": STS,
    "released/roberta-base-nli": STS,
    "released/roberta-large-nli": STS,
    "released/all-minilm": STS | {"SICK-R, all"},
    "released/ko-sroberta-multitask": {"KorSTS", "KLUE-STS"},
    "released/kr-sbert": {"KorSTS", "KLUE-STS"},
    "writeups/bi-korsts": KOREAN_STS,
    "writeups/bi-kornli": KOREAN_STS,
    "writeups/bi-kornli-korsts": KOREAN_STS,
    "writeups/cross-kornli": {"KorNLI test"},
    "writeups/cross-korsts": KOREAN_STS,
    "writeups/kr-sbert-korquad": KORQUAD,
    "writeups/reranked-korquad": KORQUAD,
}
# section 3.1: batches of 16, 2e-5, a tenth of warm-up, one epoch of NLI; four of STS, as in the paper's code
SECTION_3_1 = {"batch_size": [16], "lr": [2e-5], "warmup_ratio": [0.1]}
EPOCHS = {"allnli": 1, "kornli": 1, "wikisec": 1, "stsb": 4, "korsts": 4, "afs": 4, "korquad": 3, "mined": 3}
OF_THE_WRITE_UP = {"batch_size": [16], "lr": [1e-5], "warmup_ratio": [0.01], "weight_decay": 0.001}
NOT_MEAN = {
    "table6/nli-max-base": "max",
    "table6/nli-cls-base": "cls",
    "table6/stsb-max-base": "max",
    "table6/stsb-cls-base": "cls",
}


# ---------------------------------------------------------------- which are run


def on_this_machine(words: Sequence[str]) -> list[str]:
    return ["cpu" if word == "cuda" else word for word in words]


def keeps_model(row: Row) -> bool:
    """A row of word vectors."""
    return any(word.endswith(WORD_VECTORS) for step in row.steps for word in step.argv)


def commands(key: str, *, as_written: bool = False) -> str:
    """All that a row runs for its first seed, with what it builds on: rows of the same text are run once.

    as_written: with its own encoder and device.
    """
    row, out = row_of(source_of(key)), []

    def folder(other: str | None, number: int | None) -> str:
        return f"<{commands(other, as_written=as_written) if other else ''} {number}>"

    for number, step in enumerate(row.steps, 1):
        words = fill(step.argv, row.seeds[0], folder)
        if not as_written:
            kept = keeps_model(row)
            words = on_this_machine(words if kept else with_model(step, words, "MODEL", first=number == 1))
        out.append(" ".join([step.program, *words]))
    return "\n".join(out)


KEYS = [f"{table.id}/{row.id}" for table in TABLES.values() for row in table.rows if row.edition == "paper"]
_FIRST: dict[str, str] = {}  # commands -> the first row that has them
RUN_AS = {key: _FIRST.setdefault(commands(key), source_of(key)) for key in KEYS}


def of_tables(*tables: str) -> list[str]:
    return [key for key in KEYS if key.partition("/")[0] in tables]


def trained_in(*tables: str) -> list[str]:
    """The rows of these tables that are run and train something."""
    run = dict.fromkeys(RUN_AS[key] for key in of_tables(*tables))
    return [key for key in run if any("--epochs" in step.argv for step in row_of(key).steps)]


def shown(key: str) -> str:
    """``a = b``: row a is held to what the run of row b left."""
    device = " (on the cpu)" if any("cuda" in step.argv for step in row_of(key).steps) else ""
    return key + device + ("" if RUN_AS[key] == key else f" = {RUN_AS[key]}")


# ---------------------------------------------------------------- how


@contextmanager
def as_it_was() -> Iterator[pytest.MonkeyPatch]:
    """What a program changes in its process is undone: log handlers, threads, random state, environment."""
    log = logging.getLogger("sbert")
    handlers, level, propagate = log.handlers[:], log.level, log.propagate
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
            patch.setenv("TOKENIZERS_PARALLELISM", "false")
            yield patch
    finally:
        for handler in set(log.handlers) - set(handlers):
            handler.close()
        log.handlers[:], log.propagate = handlers, propagate
        log.setLevel(level)
        torch.set_num_threads(threads)


def execute(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Stands for a process: the program's main in this one."""
    name, argv = (words[2], words[3:]) if words[1] == "-m" else (words[1].removesuffix(".py"), words[2:])
    with as_it_was() as patch:
        patch.setenv("SBERT_DATA", environment["SBERT_DATA"])
        try:
            code: int = importlib.import_module(name).main(on_this_machine(argv))
        except SystemExit as stop:  # of argparse
            code = int(stop.code or 0)
    return code


class Bench:
    """Runs rows in one folder, so that a row finds what it builds on; none of them twice."""

    def __init__(self, folder: Path) -> None:
        self.data = write_paper_data(folder / "data")
        model = save_tiny(folder / "tiny", layers=4)  # so many are averaged in Table 1
        shared: dict[str, Any] = {"folder_of_records": folder / "records", "data_dir": str(self.data)}
        self.replaced = Runner(str(folder / "runs"), model=str(model), **shared)
        self.kept = Runner(str(folder / "runs"), **shared)

    def record(self, key: str) -> dict[str, Any]:
        """The record of a row, which is run where it was not. Raises RowFailed."""
        row = row_of(key)
        own = self.kept if keeps_model(row) else self.replaced
        own.run(key, row.seeds[0])
        return records.read(own.folder_of_records, key, row.seeds[0])

    def trainings(self, key: str) -> list[tuple[list[str], Path]]:
        """(sets, folder of a run of train.py) of every model that a row trained."""
        out = []
        for number, step in enumerate(row_of(key).steps, 1):
            folder = Path(self.replaced.folder(key, row_of(key).seeds[0], number))
            if step.program == "experiments.afs":
                out += [(["afs"], path) for path in sorted(folder.glob("fold-*/run"))]
            elif step.program == "train.py" and "--eval-only" not in step.argv:
                out.append((read(folder / "config.json")["flags"]["train_data"], folder))
        return out


@contextmanager
def paper_bench(folder: Path) -> Iterator[Bench]:
    """Programs run in this process, offline, in a folder with the files of word vectors."""
    (folder / "here").mkdir()
    write_vectors(folder / "here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "here")
        patch.setenv("SBERT_ANY_HASH", "1")
        patch.setenv("SBERT_CACHE", str(folder / "cache"))
        patch.setattr("data.locate._addresses", lambda file: [])  # no publisher
        patch.setattr(runner, "execute", execute)
        yield Bench(folder)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf8"))


# ---------------------------------------------------------------- what is expected


def check_columns(bench: Bench, key: str) -> None:
    """A number in every column that the row should fill, those with a printed value among them, and in no other."""
    metrics = bench.record(RUN_AS[key])["metrics"]
    table, row = TABLES[key.partition("/")[0]], row_of(key)
    filled = FILLED.get(key, {column.title for column in table.columns})
    missed = {title for title, printed in row.paper.items() if printed is not None} - filled
    assert not missed, f"printed, and not expected here: {missed}"
    found = values(table, metrics)
    for column in table.columns:
        if column.metric != AVERAGE:
            there = [name for name in column.metrics if name in metrics]
            assert len(there) == (column.title in filled), (column.title, sorted(metrics))
        if column.title in filled:
            value = found[column.title]
            assert value is not None and math.isfinite(value), (column.title, value)
            assert value > 0 if column.scale == 1 else -100 <= value <= 100, (column.title, value)


def check_training(bench: Bench, key: str) -> None:
    """The flags of section 3.1 reached config.json, every epoch was trained to its end, the pooling is in the model."""
    bench.record(key)
    found = bench.trainings(key)
    if key.startswith("table3/"):
        assert len(found) == (10 if key.startswith("table3/cv") else 3), found
    assert found, "no model was trained"
    for sets, folder in found:
        config, metrics = read(folder / "config.json"), read(folder / "metrics.json")
        flags, rows = config["flags"], list(config["rows"].values())
        names = [Path(name).stem if name.endswith(".jsonl") else stem_of(name) for name in sets]
        wanted = OF_THE_WRITE_UP if key.endswith("-korquad") else SECTION_3_1
        wanted = {**wanted, "epochs": [EPOCHS[name] for name in names], "max_updates": 0, "train_limit": 0}
        used = {name: flags[name] for name in wanted}
        assert used == wanted, (used, wanted)
        updates = list(accumulate(e * math.ceil(n / 16) for e, n in zip(flags["epochs"], rows, strict=True)))
        made = [stage["last_update"] for stage in metrics["stages"]]
        assert made == updates, (made, updates)
        if "allnli" in names:
            assert rows[0] == ROWS["train"] and flags["head_lr"] == [2e-5], (rows, flags["head_lr"])
        if flags["arch"] == "bi":
            pooling = read(folder / "model/sbert.json")["pooling"]
            assert pooling == [NOT_MEAN.get(key, "mean")], pooling
