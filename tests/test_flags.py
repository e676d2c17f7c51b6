"""Flags: --help is quick, and whatever is wrong is said in one line, with exit code 2, before anything is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import train
from data.registry import SETS
from sbert.errors import UsageError
from sbert.flag_checks import objectives_of, parse
from sbert.flag_parser import build_parser
from sbert.flags import Flags

ROOT = Path(train.__file__).parent
HEAVY = ("torch", "transformers", "tokenizers", "numpy", "scipy", "tqdm")


class Loading(Exception):
    """The flags were accepted: the run would now load something."""


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(flags: Flags) -> None:
        raise Loading

    monkeypatch.setattr(train, "prepare", prepare)


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line on standard error of a command that ends with exit code 2."""
    try:
        code = train.main(list(argv))
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("train.py: error: ") and err.endswith("\n") and err.count("\n") == 1, err
    return err


def accepted(*argv: str) -> Flags:
    with pytest.raises(Loading):
        train.main(list(argv))
    return parse(argv)[0]


# ---------------------------------------------------------------- help


def test_help_answers_without_torch() -> None:
    code = f"""
import runpy, sys
sys.argv = ["train.py", "--help"]
try:
    runpy.run_path("train.py", run_name="__main__")
except SystemExit as stop:
    print("code", stop.code, [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "code 0 []"
    assert done.stdout.startswith("usage: train.py") and done.stderr == ""


def test_checking_flags_needs_no_torch() -> None:
    code = (
        "import sys; from sbert.flag_checks import parse; parse(['--train-data', 'stsb', '--epochs', '4']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_flag_has_help_and_stands_in_it() -> None:
    shown = build_parser().format_help()
    for f in fields(Flags):
        assert len(f.metadata["help"]) >= 10, f.name
        assert "--" + f.name.replace("_", "-") in shown
        for choice in f.metadata.get("choices", ()):
            assert choice in shown


def test_help_shows_defaults() -> None:
    shown = " ".join(build_parser().format_help().split())
    for text in ("[minilm]", "[samples]", "[2e-05]", "[16]", "[42]", "[u,v,|u-v|]"):
        assert text in shown


# ---------------------------------------------------------------- what is accepted


def test_defaults_train_on_the_samples() -> None:
    flags = accepted()
    assert (flags.model, flags.train_data, objectives_of(flags)) == ("minilm", ["samples"], ["regression"])


@pytest.mark.parametrize(
    ("argv", "objectives"),
    [
        (["--train-data", "nli-en"], ["classification"]),
        (
            ["--train-data", "nli-en", "stsb", "--mix", "sequence", "--epochs", "1", "4"],
            ["classification", "regression"],
        ),
        (["--train-data", "nli-en", "--objective", "triplet", "--margin", "2"], ["triplet"]),
        (["--train-data", "stsb", "korsts", "--objective", "cosent", "regression"], ["cosent", "regression"]),
        (["--train-data", "nli-en", "stsb", "--concat", "u,v"], ["classification", "regression"]),
        (["--train-data", "mine.tsv", "their.jsonl.gz"], ["auto", "auto"]),
    ],
)
def test_objective_follows_the_data(argv: list[str], objectives: list[str]) -> None:
    assert objectives_of(accepted(*argv)) == objectives


@pytest.mark.parametrize("name", [name for name, entry in SETS.items() if entry.task == "sts"])
def test_every_sts_set_can_be_evaluated(name: str) -> None:
    assert accepted("--eval-only", "--eval-data", name).eval_data == [name]


def test_given_names_are_those_on_the_command_line() -> None:
    assert parse(["--seed", "7", "--lr=1e-4"])[1] == {"seed", "lr"}


def test_numbers_at_their_limits() -> None:
    flags = accepted("--warmup-ratio", "1", "--num-layers", "1", "--seed", "0", "--max-grad-norm", "0")
    assert (flags.warmup_ratio, flags.num_layers, flags.seed, flags.max_grad_norm) == ([1.0], 1, 0, 0.0)


# ---------------------------------------------------------------- what is not

EVAL = ("--eval-only", "--eval-data", "stsb")
SEQUENCE = ("--train-data", "nli-en", "stsb", "--mix", "sequence")


REFUSED = [
    # unknown flags and values
    (["--epoch", "3"], "unknown flag --epoch; did you mean --epochs?"),
    (["--batchsize=8"], "unknown flag --batchsize; did you mean --batch-size?"),
    (["--output_dir", "x"], "unknown flag --output_dir; did you mean --output-dir?"),
    (["--zzzz"], "unknown flag --zzzz"),
    (["stray"], "unknown flag stray"),
    (["--pooling", "men"], "--pooling 'men': allowed are mean, cls, max"),
    (["--pooling", "men"], "did you mean mean?"),
    (["--mix", "both"], "--mix 'both': allowed are proportional, round-robin, sequence"),
    (["--mix", "round-robin"], "--mix round-robin needs two or more --train-data sets"),
    (["--objective", "regresion"], "did you mean regression?"),
    (["--precision", "fp8"], "allowed are auto, fp32, bf16, fp16"),
    (["--arch", "tri"], "--arch 'tri': allowed are bi"),
    (["--device", "tpu"], "--device tpu: allowed are auto, cpu, cuda, cuda:N"),
    (["--device", "cuda:x"], "--device cuda:x: allowed are auto, cpu, cuda, cuda:N"),
    (["--epochs", "two"], "--epochs: invalid int value: 'two'"),
    (["--lr"], "--lr: expected at least one argument"),
    # unknown data
    (["--train-data", "stbs"], "did you mean stsb?"),
    (["--dev-data", "korstss-dev"], "did you mean korsts?"),
    (["--eval-data", "sts17"], "unknown data set 'sts17'"),
    (["--eval-data", "sts12-train"], "sts12 has no split 'train'; it has: test"),
    (["--eval-only", "--eval-data", "nope"], "unknown data set 'nope'"),
    (["--train-data", "sts12"], "sts12 has no split 'train'"),
    (["--train-data", "stsb", "--dev-data", "sts12"], "sts12 has no split 'dev'"),
    # numbers
    (["--lr", "nan"], "--lr nan: must be a finite number"),
    (["--lr", "inf"], "--lr inf: must be a finite number"),
    (["--lr", "0"], "--lr 0.0: must be above 0"),
    (["--lr", "-0.5"], "--lr -0.5: must be above 0"),
    (["--lr", "-1e-5"], "--lr"),
    ([*SEQUENCE, "--lr", "1e-5", "-1"], "--lr -1.0: must be above 0"),
    (["--epochs", "-1"], "--epochs -1: must be at least 0"),
    (["--batch-size", "0"], "--batch-size 0: must be at least 1"),
    (["--accumulation", "0"], "--accumulation 0: must be at least 1"),
    (["--num-layers", "0"], "--num-layers 0: must be at least 1"),
    (["--max-length", "2"], "--max-length 2: must be at least 3"),
    (["--warmup-ratio", "1.5"], "--warmup-ratio 1.5: must be at most 1"),
    (["--weight-decay", "nan"], "--weight-decay nan: must be a finite number"),
    (["--train-limit", "-5"], "--train-limit -5: must be at least 0"),
    (["--seed", "-1"], "--seed -1: must be at least 0"),
    (["--seed", str(2**64)], f"--seed {2**64}: must be at most {2**64 - 1}"),
    (["--train-data", "stsb", "--objective", "cosent", "--scale", "0"], "--scale 0.0: must be above 0"),
    # contradictions
    ([*EVAL, "--lr", "1e-5"], "--lr is about training, and --eval-only trains nothing"),
    ([*EVAL, "--train-data", "stsb"], "--train-data is about training"),
    ([*EVAL, "--concat", "u,v"], "--concat is about training"),
    ([*EVAL, "--save-steps", "5"], "--save-steps is about training"),
    ([*EVAL, "--patience", "2"], "--patience is about training"),
    ([*EVAL, "--seed", "1"], "--seed is about training"),
    ([*EVAL, "--resume", "runs/x"], "--resume continues a training run and --eval-only trains nothing"),
    (["--eval-only"], "--eval-only needs --eval-data"),
    (["--eval-only", "--eval-data"], "--eval-only needs --eval-data"),
    (["--eval-only", "--eval-data", "klue-nli"], "--eval-data klue-nli is NLI data"),
    (["--run-name", "a", "--output-dir", "b"], "--run-name names a folder under runs/"),
    ([*EVAL, "--run-name", "a", "--output-dir", "b"], "--run-name names a folder under runs/"),
    (["--resume", "runs/x", "--output-dir", "b"], "--output-dir"),
    (["--concat", "u,v"], "--concat is for --objective classification; this run has regression"),
    (["--train-data", "stsb", "--margin", "2"], "--margin is for --objective triplet"),
    (["--train-data", "nli-en", "--scale", "10"], "--scale is for --objective cosent"),
    (["--patience", "2", "--select-on", "last"], "--patience waits for a better --select-on metric"),
    # objectives and their data
    (
        ["--train-data", "nli-en", "--objective", "regression"],
        "--objective regression cannot train on nli-en, which is nli data",
    ),
    (["--train-data", "nli-en", "--objective", "regression"], "allowed are classification, triplet"),
    (["--train-data", "stsb", "--objective", "classification"], "allowed are regression, cosent"),
    (["--train-data", "stsb", "--objective", "triplet"], "cannot train on stsb, which is sts data"),
    # one value a stage
    (
        [*SEQUENCE, "--epochs", "1", "2", "3"],
        "--epochs has 3 values; give 1 or 2 (--mix sequence, 2 training set(s))",
    ),
    (["--train-data", "nli-en", "stsb", "--epochs", "1", "4"], "--epochs has 2 values; give 1"),
    ([*SEQUENCE, "--batch-size", "8", "8", "8"], "--batch-size has 3 values"),
    ([*SEQUENCE, "--warmup-ratio", "0", "0", "0"], "--warmup-ratio has 3 values"),
    ([*SEQUENCE, "--lr", "1", "1", "1"], "--lr has 3 values"),
    ([*SEQUENCE, "--head-lr", "1", "1", "1"], "--head-lr has 3 values"),
    (["--objective", "regression", "cosent"], "--objective has 2 values; give 1"),
]


@pytest.mark.parametrize(("argv", "said"), REFUSED, ids=[" ".join(argv) for argv, _ in REFUSED])
def test_refused_in_one_line(capsys: pytest.CaptureFixture[str], argv: list[str], said: str) -> None:
    assert said in refused(capsys, *argv)


def test_an_unknown_data_set_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "--train-data", "nothing-like-it")
    for name in SETS:
        assert name in line


def test_wrong_flags_of_a_command_leave_nothing_behind(tmp_path: Path) -> None:
    for argv in (["--bogus", "1"], ["--lr", "nan"], ["--train-data", "stbs", "--output-dir", "out"]):
        done = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *argv],
            cwd=tmp_path,
            env={**os.environ, "SBERT_CACHE": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith("train.py: error: ")
        assert list(tmp_path.iterdir()) == []


def test_parse_raises_for_code_that_calls_it() -> None:
    with pytest.raises(UsageError, match="patience"):
        parse(["--patience", "1", "--select-on", "last"])
