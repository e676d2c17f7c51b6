"""python -m experiments.run with real steps: rows of the paper's tables on a tiny random encoder and made-up files."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from data_files import jsonl, nli_item, row, stsb_row, write
from train_process import TrainRunner, same_numbers

from data import NLI_LABELS
from experiments import run
from experiments.rows import TABLES, runner
from experiments.rows.row import Column, Row, Table, train

WORDS = ("cat", "dog", "man", "woman", "child", "bird", "horse", "boat")
SMALL = "--train-limit 24 --batch-size 4 --epochs 1 --lr 1e-3 --precision fp32 --eval-steps 2"
TOY = Table(
    "toy",
    "A toy",
    (Column("STS", "samples-sts-en-test/spearman_cosine"),),
    (
        Row(
            "after",
            "On another's model",
            "offline",
            (
                train(
                    f"--model {{row:toy/nli}}/model --train-data samples {SMALL} --eval-data samples-sts-en"
                ),
            ),
            (7,),
        ),
        Row(
            "nli",
            "NLI",
            "offline",
            (train(f"--train-data samples-nli {SMALL} --eval-data samples-sts-en"),),
            (7,),
        ),
    ),
)


@pytest.fixture
def start(run_train: TrainRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> TrainRunner:
    """Steps are forks of a server that has imported torch."""

    def execute(words: Sequence[str], environment: Mapping[str, str]) -> int:
        assert words[1] == "train.py"
        result = run_train(
            *words[2:], SBERT_ANY_HASH="1", **{k: v for k, v in environment.items() if k == "SBERT_DATA"}
        )
        assert "Traceback" not in result.stderr, result.stderr
        return result.code

    monkeypatch.setattr(runner, "execute", execute)
    monkeypatch.setattr(run, "RECORDS", tmp_path / "results")
    monkeypatch.setitem(TABLES, "toy", TOY)
    return run_train


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """allnli, nli-en and stsb in their publishers' layouts."""
    folder = tmp_path / "data"
    pairs = [(f"the {first} eats.", f"a {second} eats.") for first in WORDS[:4] for second in WORDS]
    labelled = [(*pair, NLI_LABELS[i % 3]) for i, pair in enumerate(pairs)]
    for split in ("train", "dev", "test"):
        write(folder, f"stsb/sts-{split}.csv", *(stsb_row(i % 6, *pair) for i, pair in enumerate(pairs)))
        write(
            folder,
            f"nli-en/{split}.jsonl",
            *(jsonl(nli_item(label, a, b)).strip() for a, b, label in labelled),
        )
    header = row("split", "dataset", "filename", "sentence1", "sentence2", "label")
    rows = [row(split, "SNLI", "f", *cells) for split in ("train", "dev", "test") for cells in labelled]
    write(folder, "allnli/AllNLI.tsv", header, *rows)
    return folder


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf8"))


def test_two_steps_of_the_paper(
    start: TrainRunner, files: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """BERT-NLI-STSb-base: a cross-encoder of three labels on AllNLI, then one of a score on STS-B from it."""
    words = ["--table", "table2", "--edition", "paper", "--row", "bert-nli-stsb-base", "--seed", "3"]
    words += ["--model", str(tiny_model_dir), "--data-dir", str(files), "--runs-dir", str(tmp_path / "runs")]
    assert run.main([*words, "--", "--max-updates", "2", "--precision", "fp32"]) == 0
    found = read(tmp_path / "runs/records/table2/bert-nli-stsb-base-seed3.json")
    first, second = found["steps"]
    assert first["flags"]["train_data"] == ["allnli"] and first["flags"]["seed"] == 3
    assert list(first["data"]) == ["allnli/AllNLI.tsv"] and first["precision"] == "fp32"
    assert second["flags"]["model"] == "runs/tables/table2/bert-nli-stsb-base/seed3/1/model"
    assert second["environment"]["torch"] and -1 <= found["metrics"]["stsb-test/spearman"] <= 1
    assert found["metrics"]["stages"][0]["last_update"] == 2
    assert not (tmp_path / "results").exists()


def test_a_row_on_the_one_seed_of_another(
    start: TrainRunner, files: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    words = ["--table", "table2", "--row", "cross-nli-stsb-6", "--seed", "2", "--model", str(tiny_model_dir)]
    words += ["--data-dir", str(files), "--runs-dir", str(tmp_path / "runs"), "--", "--max-updates", "2"]
    assert run.main([*words, "--precision", "fp32"]) == 0
    found = read(tmp_path / "runs/records/table2/cross-nli-stsb-6-seed2.json")
    assert found["steps"][0]["flags"]["model"] == "runs/tables/cross/nli/seed1/1/model"
    nli = read(tmp_path / "runs/records/cross/nli-seed1.json")["metrics"]
    assert 0 <= nli["nli-en-test/accuracy"] <= 1 and "nli-en-dev/accuracy" in nli


def test_an_interrupted_table_ends_as_if_it_had_not_been(
    start: TrainRunner, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table(folder: str) -> int:
        return run.main(
            ["--table", "toy", "--model", str(tiny_model_dir), "--runs-dir", str(tmp_path / folder)]
        )

    assert table("whole") == 0
    whole = runner.execute

    def cut(words: Sequence[str], environment: Mapping[str, str]) -> int:
        """The first run is sent SIGINT once it has a checkpoint."""
        running = start.start(*words[2:])
        folder = Path(words[words.index("--output-dir") + 1])
        running.when(lambda: any((folder / "checkpoints").glob("update-*")), signal.SIGINT)
        return running.wait().code

    monkeypatch.setattr(runner, "execute", cut)
    assert table("cut") == 130
    first = tmp_path / "cut/toy/nli/seed7/1"
    assert (first / "config.json").exists() and not (first / "metrics.json").exists()
    monkeypatch.setattr(runner, "execute", whole)
    assert table("cut") == 0
    for step in ("nli/seed7/1", "after/seed7/1"):
        assert same_numbers(tmp_path / "cut/toy" / step) == same_numbers(tmp_path / "whole/toy" / step)


def test_the_real_thing(tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh processes, as the command starts them: a failure of one is an exit code here."""
    monkeypatch.setitem(TABLES, "toy", TOY)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = [
        "--table",
        "toy",
        "--row",
        "nli",
        "--runs-dir",
        str(tmp_path / "runs"),
        "--",
        "--max-updates",
        "2",
    ]
    assert run.main(["--model", str(tiny_model_dir), *words]) == 0
    assert read(tmp_path / "runs/records/toy/nli-seed7.json")["seed"] == 7
    assert (
        run.main(["--model", str(tmp_path / "no-such-model"), *words[:5], str(tmp_path / "gone"), *words[6:]])
        == 1
    )
