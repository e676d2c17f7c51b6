"""What is killed of training: train.py with two stages and with a cross-encoder, and a table of two rows."""

import json
import os
from pathlib import Path
from typing import Any

import torch

import experiments.run as run_command
import sbert.checkpoint
import sbert.loop
import train
from data.files import sha256_of
from experiments.crash.job import Job, broken_json, same_bytes
from experiments.crash.process import Watch
from experiments.rows import TABLES, runner
from experiments.rows.row import Column, Row, Table
from experiments.rows.row import train as train_step
from sbert.checkpoint import list_checkpoints, load_checkpoint
from sbert.cross_encoder import CrossEncoder
from sbert.errors import RunError
from sbert.model import modelWithPooling

CLOCK = ("train_seconds", "encode/seconds")  # what may differ between two runs of one command
STEPS = "--threads 1 --precision fp32 --log-steps 1 --lr 1e-3 --dev-limit 24"
TRAINING = {
    "train-stages": (
        "--train-data samples-nli-en samples-sts-en --mix sequence --train-limit 40 --batch-size 4 --accumulation 2 "
        "--epochs 2 4 --eval-steps 4 --save-steps 3 --save-limit 2"
    ),
    "train-cross": (
        "--arch cross --objective ranking --num-negatives 2 --train-data samples-nli-en --train-limit 24 --batch-size 4 "
        "--epochs 5 --eval-steps 4 --save-steps 3 --save-limit 2"
    ),
}


# ---------------------------------------------------------------- training

TRAIN_WATCH: Watch = (
    (train, "score_before", "evaluation before training"),
    (sbert.loop, "_update", "step"),
    (sbert.loop, "_evaluate", "evaluation"),
    (modelWithPooling, "save_pretrained", "saving the model"),
    (CrossEncoder, "save_pretrained", "saving the model"),
    (sbert.loop, "save_checkpoint", "writing a checkpoint"),
    (sbert.checkpoint, "prune", "pruning"),
    (train, "finish", "evaluation after training"),
)


def training(name: str, model: Path) -> Job:
    """train.py, then train.py --resume as soon as there is a run to go on with."""
    flags = [
        "--model",
        str(model),
        *f"{TRAINING[name]} {STEPS}".split(),
        "--seed",
        "7",
        "--output-dir",
        "run",
    ]

    def start() -> int:
        return train.main(["--resume", "run"] if Path("run/config.json").is_file() else flags)

    return Job(name, start, whole_run, run_differs, TRAIN_WATCH)


def whole_run(folder: Path) -> list[str]:
    """Every checkpoint loads, every model directory loads, every JSON is JSON."""
    run = folder / "run"
    wrong = broken_json(run)
    for path in list_checkpoints(run / "checkpoints"):
        try:
            load_checkpoint(path, torch.device("cpu"))
        except (RunError, RuntimeError) as error:
            wrong.append(str(error))
    for path in run.glob("model*"):
        names = {"sbert.json", "config.json", "model.safetensors", "tokenizer.json"}
        if not names <= {child.name for child in path.iterdir()}:
            wrong.append(f"{path}: half a model directory")
    return wrong


def run_differs(folder: Path, reference: Path) -> list[str]:
    """Weights, optimizer, torch's random state and progress of the last checkpoint, all metrics, and the selected models: all
    bits. The states of Python's and numpy's generators, which a run keeps and draws nothing from, start at random."""
    one, other = folder / "run", reference / "run"
    wrong = []
    for name in sorted({path.name for run in (one, other) for path in run.glob("model*")}):
        wrong += [f"{name}/{line}" for line in same_bytes(one / name, other / name)]
    if metrics_of(one / "metrics.json") != metrics_of(other / "metrics.json"):
        wrong.append("metrics.json: other numbers")
    states = []
    for run in (one, other):
        last = list_checkpoints(run / "checkpoints")[-1]
        state = load_checkpoint(last, torch.device("cpu"))
        states.append({**state, "update": last.name, "random": state["random"]["torch"]})
    return wrong + [f"last checkpoint{where}: differs" for where in unequal(states[0], states[1])]


def unequal(one: Any, other: Any, where: str = "") -> list[str]:
    """The places in which two nested values differ in any bit; the clock is passed over."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in {**one, **other} if key not in (*CLOCK, "seconds")]
        return [x for key in keys for x in unequal(one.get(key), other.get(key), f"{where}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [
            x for i, pair in enumerate(zip(one, other, strict=True)) for x in unequal(*pair, f"{where}/{i}")
        ]
    return [] if one == other else [where]


def metrics_of(path: Path) -> Any:
    """A JSON file without the clock and without what says that a run was gone on with."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without(v) for k, v in value.items() if k not in (*CLOCK, "resumed", "environment")}
        return [without(item) for item in value] if isinstance(value, list) else value

    return without(json.loads(path.read_text(encoding="utf8")))


# ---------------------------------------------------------------- a table


def table(model: Path) -> Job:
    """experiments.run over two rows: two trainings, one from the other's model, and a third that builds on them."""
    steps = f"{STEPS} --train-limit 24 --batch-size 4 --epochs 2 --eval-steps 3"
    one = Row(
        "one",
        "One",
        "offline",
        (
            train_step(f"--model {model} --train-data samples-nli-en {steps}"),
            train_step(f"--model {{step1}}/model --train-data samples-sts-en {steps}"),
        ),
        (1,),
    )
    two = Row(
        "two",
        "Two",
        "offline",
        (train_step(f"--model {{row:crash/one}}/model --train-data samples-sts-en {steps}"),),
        (1,),
    )
    column = Column("STS", "samples-sts-en-test/spearman_cosine")
    made = Table("crash", "Made for experiments.crash", (column,), (one, two))

    def start() -> int:
        TABLES["crash"] = made
        runner.execute = _fork
        run_command.RECORDS = Path.cwd() / "records"
        return run_command.main(["--table", "crash", "--runs-dir", str(Path.cwd() / "runs")])

    def differs(folder: Path, reference: Path) -> list[str]:
        wrong = []
        for name in ("one-seed1", "two-seed1"):
            records = [
                metrics_of(root / f"records/crash/{name}.json")["metrics"] for root in (folder, reference)
            ]
            wrong += [f"{name}{where}: other numbers" for where in unequal(records[0], records[1])]
        for place in ("one/seed1/1", "one/seed1/2", "two/seed1/1"):
            weights = [root / f"runs/crash/{place}/model/model.safetensors" for root in (folder, reference)]
            wrong += [f"{place}: other weights"] if sha256_of(weights[0]) != sha256_of(weights[1]) else []
        return wrong

    def whole(folder: Path) -> list[str]:
        return broken_json(folder)

    return Job("table", start, whole, differs, TRAIN_WATCH, children=True)


def _fork(words: Any, environment: dict[str, str]) -> int:
    """In place of experiments.rows.runner.execute: the step in a fork, without the seconds that importing torch takes."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            os.chdir(runner.ROOT)
            code = train.main(list(words[2:]))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
