"""train.py on files, weights and disks that are not as they should be: one line, the right exit code, nothing lost."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from train_process import (
    NLI_HEADER,
    SMALL,
    STS_HEADER,
    TrainRunner,
    contents,
    fill,
    own,
    put,
    said,
)

import data
from data.files import sha256_of

SAMPLES = Path(data.__file__).parent / "samples"


# ---------------------------------------------------------------- failures before the first update


def truncated_gzip(folder: Path) -> list[str]:
    whole = gzip.compress((SAMPLES / "sts/en-train.tsv").read_bytes())
    (folder / "mine.tsv.gz").write_bytes(whole[: len(whole) // 2])
    return ["--train-data", "mine.tsv.gz"]


def published(change: Callable[[bytes], bytes], packed: bool = False) -> Callable[[Path], list[str]]:
    """A folder with a registered set whose files are not the publisher's."""

    def make(folder: Path) -> list[str]:
        for split in ("train", "dev", "test"):
            path = folder / f"data/korsts/sts-{split}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = change(b"score\tsentence1\tsentence2\n5\ta\tb\n")
            if packed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(text)[:-6])
            else:
                path.write_bytes(text)
        return ["--train-data", "korsts", "--data-dir", "data"]

    return make


def model(change: Callable[[Path], object]) -> Callable[[Path], list[str]]:
    """A copy of the tiny model, damaged."""

    def make(folder: Path) -> list[str]:
        change(folder / "damaged")
        return ["--model", "damaged"]

    return make


FAILURES: dict[str, tuple[Callable[[Path], list[str]], int, tuple[str, ...]]] = {
    "no file": (lambda folder: ["--train-data", "gone.tsv"], 1, ("gone.tsv: ", "No such file")),
    "no data folder": (lambda folder: ["--data-dir", "gone"], 1, ("gone", "not a folder")),
    "a set that nobody can download": (
        lambda folder: ["--train-data", "nli-en"], 1, ("nli-en-train: no nli-en/train.jsonl", "SBERT_DATA"),
    ),
    "an evaluated file is missing": (lambda folder: ["--eval-data", "gone.csv"], 1, ("gone.csv: ",)),
    "truncated gzip": (truncated_gzip, 1, ("mine.tsv.gz: not a whole gzip file",)),
    "truncated gzip of a set": (
        published(lambda text: text, packed=True), 1, ("sts-train.tsv.gz: not a whole gzip file",),
    ),
    "wrong sha256": (
        published(lambda text: text), 1,
        ("korsts/sts-train.tsv: sha256 is ", "expected "),
    ),
    "truncated row": (own(STS_HEADER + "a\tb\t0.5\nc\td"), 1, ("mine.tsv:3: 2 column(s), need 3",)),
    "empty file": (own(""), 1, ("mine.tsv: no examples",)),
    "header only": (own(STS_HEADER), 1, ("mine.tsv: no examples",)),
    "every row without a label": (own(NLI_HEADER + "a\tb\t-\n"), 1, ("mine.tsv: no examples",)),
    "unknown label": (
        own(NLI_HEADER + "a\tb\tneutral\nc\td\tmaybe\n"), 1,
        ("mine.tsv:3: label 'maybe' is not one of contradiction, entailment, neutral, 0, 1, 2, -",),
    ),
    "score not scaled": (own(STS_HEADER + "a\tb\t4.5\n"), 1, ("mine.tsv:2: score '4.5' is outside 0..1; scale your",)),
    "unknown columns": (own("a\tb\n1\t2\n"), 1, ("mine.tsv:2: no known task in the columns a, b",)),
    "not UTF-8": (lambda folder: ((folder / "mine.tsv").write_bytes(b"\xff\xfe"), ["--train-data", "mine.tsv"])[1], 1, ("mine.tsv:1: not UTF-8",)),
    "objective of another task": (
        lambda folder: [*own(NLI_HEADER + "a\tb\t0\n")(folder), "--objective", "regression"], 2,
        ("--objective regression of --arch bi cannot train on mine, which is nli data",),
    ),
    "unknown metric to select on": (
        lambda folder: ["--select-on", "stsb-dev/spearman"], 2,
        ("--select-on stsb-dev/spearman: allowed are ", "last, samples-sts-dev/spearman_cosine",),
    ),
    "NLI metric to select a regression on": (
        lambda folder: ["--dev-data", "samples-nli-en-dev", "--select-on", "samples-nli-en-dev/accuracy"], 2,
        ("--select-on samples-nli-en-dev/accuracy: allowed are ",),
    ),
    "no model": (lambda folder: ["--model", "./gone"], 1, ("model ./gone: no such directory",)),
    "no weights": (model(lambda m: (m / "model.safetensors").unlink()), 1, ("damaged: no weights",)),
    "damaged weights": (model(put("model.safetensors", b"x" * 100)), 1, ("damaged: cannot be loaded as a bert",)),
    "no model config": (model(lambda m: (m / "config.json").unlink()), 1, ("damaged: no config.json",)),
    "too many layers": (lambda folder: ["--num-layers", "3"], 1, ("--num-layers 3: this encoder has 2",)),
    "too long": (lambda folder: ["--max-length", "65"], 1, ("--max-length 65: this encoder has 64 positions",)),
    "no such card": (lambda folder: ["--device", "cuda:77"], 1, ("--device cuda:77: this machine has ",)),
    "output is a file": (put("out", b"here"), 1, ("out: cannot be made: ",)),
}  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_failure_in_one_line(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, failure: str
) -> None:
    make, code, words = FAILURES[failure]
    shutil.copytree(tiny_model_dir, tmp_path / "damaged")
    more = make(tmp_path)
    more = more if isinstance(more, list) else []
    before = contents(tmp_path)
    result = run_train("--model", tiny_model_dir, *SMALL, "--output-dir", "out", *more)
    line = said(result, code)
    for part in words:
        assert part in line
    assert result.stdout == ""
    after = contents(tmp_path)
    assert not (tmp_path / "out/config.json").exists()  # so that the same command can be given again
    assert {name: after.get(name) for name in before} == before


def test_wrong_sha256_names_both_values(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path) -> None:
    more = published(lambda text: text)(tmp_path)
    line = said(run_train("--model", tiny_model_dir, *SMALL, "--output-dir", "out", *more), 1)
    known = data.SETS["korsts"].layouts[0].splits["train"][0].sha256
    assert f"sha256 is {sha256_of(tmp_path / 'data/korsts/sts-train.tsv')}, expected {known}" in line


def test_eval_only_of_a_users_nli_file(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path) -> None:
    own(NLI_HEADER + "a\tb\tneutral\n")(tmp_path)
    result = run_train("--eval-only", "--model", tiny_model_dir, "--eval-data", "mine.tsv")
    assert result.code in (1, 2)
    assert "--eval-data mine is nli data: a bi-encoder scores sts" in said(result, result.code)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("mode", [[], ["--eval-only", "--eval-data", "samples-sts-en"]])
def test_an_existing_run_is_never_written_over(
    run_train: TrainRunner, tiny_model_dir: Path, run: Path, mode: list[str]
) -> None:
    before = contents(run)
    flags = mode or SMALL
    line = said(run_train("--model", tiny_model_dir, *flags, "--output-dir", "run"), 2)
    assert line.startswith("run already holds a run: --resume run continues it")
    assert contents(run) == before


@pytest.mark.parametrize("room", [0, 65_536, 1_000_000])
def test_a_full_disk(run_train: TrainRunner, tiny_model_dir: Path, small_disk: Path, room: int) -> None:
    """No room at all; room for config and log; room for the model, but not for a checkpoint."""
    (small_disk / "earlier").write_text("kept")
    fill(small_disk, room)
    line = said(run_train("--model", tiny_model_dir, *SMALL, "--output-dir", small_disk / "run"), 1)
    assert re.search(r"No space left|cannot be|failed", line)
    assert (small_disk / "earlier").read_text() == "kept"


def test_a_name_too_long(run_train: TrainRunner, tiny_model_dir: Path) -> None:
    for flag in ("--output-dir", "--resume"):
        flags = () if flag == "--resume" else ("--model", tiny_model_dir, *SMALL)
        line = said(run_train(*flags, flag, "x" * 300), 1)
        assert line.startswith("x" * 300) and line.endswith(": File name too long")


def test_a_teachers_vectors_on_a_full_disk(
    run_train: TrainRunner, tiny_model_dir: Path, small_disk: Path, tmp_path: Path
) -> None:
    """A file that is mapped into memory would end the process by a signal where the disk has no room for a page."""
    (small_disk / "cache").mkdir()
    (tmp_path / "cache").symlink_to(small_disk / "cache")
    rows = "".join(f"sentence {i}\tsatz {i}\n" for i in range(3000))
    (tmp_path / "mine.tsv").write_text(f"source\ttarget\n{rows}", encoding="utf8")
    fill(small_disk, 65_536)
    flags = (
        "--objective",
        "distill",
        "--teacher",
        tiny_model_dir,
        "--train-data",
        "mine.tsv",
        "--dev-data",
        "--eval-data",
    )
    line = said(run_train("--model", tiny_model_dir, *flags, "--select-on", "last", "--output-dir", "run"), 1)
    assert re.search(r"cache/teachers/.*: cannot be written: No space left", line)
    assert not [path for path in (small_disk / "cache").rglob("*") if path.is_file()]


CHANGED = {
    "epochs": (["flags", "epochs"], "x", "epochs 'x' is not what train.py writes"),
    "lr": (["flags", "lr"], ["a"], r"lr ['a'] is not what train.py writes"),
    "train_data": (["flags", "train_data"], None, "train_data None is not"),
    "pooling": (["flags", "pooling"], "zz", "config.json: --pooling 'zz': allowed are "),
    "seed": (["flags", "seed"], 1.5, "seed 1.5 is not"),
    "processes": (["processes"], "2", "processes '2' is not a number"),
    "data": (["data"], [1], "data [1] is not what a run writes"),
    "resumed": (["resumed"], 5, "resumed 5 is not a list"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_configuration_that_somebody_wrote_into(run_train: TrainRunner, run: Path, case: str) -> None:
    path = run / "config.json"
    config = json.loads(path.read_text(encoding="utf8"))
    keys, value, message = CHANGED[case]
    place = config
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(config), encoding="utf8")
    assert message in said(run_train("--resume", "run"), 1)


def test_scores_of_the_start_that_are_no_numbers(run_train: TrainRunner, run: Path) -> None:
    (run / "before.json").write_text('{"stsb/spearman_cosine": "high"}', encoding="utf8")
    assert "before.json: stsb/spearman_cosine is 'high', not a number" in said(
        run_train("--resume", "run"), 1
    )
