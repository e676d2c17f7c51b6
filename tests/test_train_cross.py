"""train.py --arch cross: trains, scores and refuses as the bi-encoder's runs do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from train_process import NLI_HEADER, SMALL, STS_HEADER, TrainRunner, said

from sbert import CrossEncoder
from sbert.cross_encoder import IDENTITY, SIGMOID


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text(encoding="utf8"))


def test_sts_then_evaluation_of_what_was_saved(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    trained = run_train(
        "--arch", "cross", "--model", tiny_model_dir, *SMALL, "--train-data", "samples-sts-en", "--output-dir", "run"
    )  # fmt: skip
    assert trained.code == 0, trained.stderr
    told = json.loads((tmp_path / "run/model/sbert.json").read_text(encoding="utf8"))
    assert (told["arch"], told["head"], told["num_labels"]) == ("cross", "classification", 1)
    assert told["trained_on"] == ["samples-sts-en-train"]
    found = metrics(tmp_path / "run")
    assert not any(key.startswith("before/") for key in found)  # a fresh head's scores say nothing
    assert found["stages"][0]["selected_on"] == "samples-sts-en-dev/spearman"
    scored = run_train(
        "--eval-only", "--arch", "cross", "--model", "run/model", "--eval-data", "samples-sts-en", "--output-dir", "scored"
    )  # fmt: skip
    assert scored.code == 0, scored.stderr
    again = metrics(tmp_path / "scored")
    assert again["samples-sts-en-test/spearman"] == pytest.approx(
        found["samples-sts-en-test/spearman"], abs=1e-6
    )
    assert f"{100 * again['samples-sts-en-test/pearson']:.2f}" in scored.stdout
    assert again["encode/distinct_pairs"] == 53


def test_nli_keeps_its_classifier_and_gives_its_encoder_to_sts(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    trained = run_train(
        "--arch", "cross", "--head", "native", "--model", tiny_model_dir, *SMALL, "--train-data", "samples-nli-en",
        "--output-dir", "nli",
    )  # fmt: skip
    assert trained.code == 0, trained.stderr
    found = metrics(tmp_path / "nli")
    counts = {key: n for key, n in found.items() if "samples-nli-en-test/confusion/" in key}
    assert len(counts) == 9 and sum(counts.values()) == 51
    right = sum(n for key, n in counts.items() if key.split("/")[-1] == key.split("/")[-2])
    assert found["samples-nli-en-test/accuracy"] == pytest.approx(right / 51)
    assert "gold \\ said" in trained.stdout
    config = json.loads((tmp_path / "nli/model/config.json").read_text(encoding="utf8"))
    assert config["id2label"] == {"0": "contradiction", "1": "entailment", "2": "neutral"}

    first = CrossEncoder.from_pretrained(tmp_path / "nli/model", num_labels=1)
    assert first.num_labels == 1 and first.fresh == ["classifier"]
    then = run_train(
        "--arch", "cross", "--model", "nli/model", *SMALL, "--train-data", "samples-sts-en", "--output-dir", "sts"
    )  # fmt: skip
    assert then.code == 0, then.stderr
    assert CrossEncoder.from_pretrained(tmp_path / "sts/model").facts["trained_on"] == [
        "samples-nli-en-train", "samples-sts-en-train",
    ]  # fmt: skip


ROWS = {
    "ranking.jsonl": [
        {"query": "who ate?", "positive": "A cat ate.", "negative": ["It rained.", "A dog ran."]},
        {"query": "what fell?", "positive": ["Rain fell."], "negative": ["A cat ate."]},
        {
            "query": "who ran?",
            "positive": "A dog ran.",
            "documents": ["Rain fell.", "A dog ran.", "It rained."],
        },
    ],
    "graded.jsonl": [
        {"query": "who ate?", "documents": ["A cat ate.", "A cat.", "Rain fell."], "scores": [2, 1, 0]},
        {"query": "what fell?", "documents": ["Rain fell.", "A dog ran."], "scores": [3, 0]},
    ],
    "margins.jsonl": [
        {"anchor": "who ate?", "positive": "A cat ate.", "negative": "It rained.", "margin": 0.7},
        {"anchor": "who ran?", "positive": "A dog ran.", "negative": "A cat ate.", "margin": -0.1},
    ],
}


@pytest.mark.parametrize(
    ("arch", "objective", "file", "metric"),
    [
        ("cross", "ranking", "ranking.jsonl", "ranking/ndcg@10"),
        ("cross", "listnet", "graded.jsonl", "graded/mrr@10"),
        ("cross", "lambda", "graded.jsonl", "graded/map"),
        ("cross", "margin-mse", "margins.jsonl", "margins/accuracy"),
        ("bi", "margin-mse", "margins.jsonl", "margins/accuracy_cosine"),
    ],
)
def test_files_of_ones_own(
    run_train: TrainRunner,
    tiny_model_dir: Path,
    tmp_path: Path,
    arch: str,
    objective: str,
    file: str,
    metric: str,
) -> None:
    name = "ranking.jsonl" if objective == "ranking" else file
    rows = [row for row in ROWS[name] if "documents" not in row or objective in ("listnet", "lambda")]
    (tmp_path / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    result = run_train(
        "--arch", arch, "--model", tiny_model_dir, "--objective", objective, "--train-data", file, "--dev-data", file,
        "--eval-data", file, "--epochs", 2, "--batch-size", 2, "--output-dir", "run", "--select-on", metric,
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert 0 <= metrics(tmp_path / "run")[metric] <= 1


USAGE = {
    "--pooling": (["--arch", "cross", "--pooling", "cls"], "--pooling is for --arch bi; this run has --arch cross"),
    "--normalize": (["--arch", "cross", "--normalize", "no"], "--normalize is for --arch bi"),
    "--head": (["--head", "native"], "--head is for --arch cross; this run has --arch bi"),
    "bi bce": (["--objective", "bce"], "--objective bce is not one of --arch bi; allowed are auto, classification, regression"),
    "cross cosent": (["--arch", "cross", "--objective", "cosent"], "--objective cosent is not one of --arch cross; allowed are auto"),
    "two kinds of heads": (["--arch", "cross", "--train-data", "samples-sts", "samples-nli"], "--arch cross: classification gives a logit a class"),
    "--num-negatives": (["--arch", "cross", "--train-data", "samples-sts", "--num-negatives", "3"], "--num-negatives is for --objective ranking; this run has bce"),
    "--head-lr": (["--train-data", "samples-sts", "--head-lr", "0.1"], "--head-lr is for --objective classification and tsdae, or --arch cross"),
    "--learning-rate": (["--learning-rate", "1e-5"], "unknown flag --learning-rate; here it is called --lr"),
    "wrong set": (["--arch", "cross", "--train-data", "samples-sts", "--eval-data", "samples-nli"], "--eval-data samples-nli-test is nli data: what this run trains scores sts"),
}  # fmt: skip


@pytest.mark.parametrize("case", USAGE)
def test_usage(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, case: str) -> None:
    arguments, words = USAGE[case]
    line = said(run_train("--model", tiny_model_dir, *arguments, "--output-dir", "run"), 2)
    assert words in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("rerank", "ranked"), [("all", 1.0), ("retrieved", 0.0)])
def test_missed_positives_are_ranked_or_not(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, rerank: str, ranked: float
) -> None:
    row = {"query": "who ate?", "positive": "A cat ate.", "documents": ["Rain fell."]}
    (tmp_path / "r.jsonl").write_text(json.dumps(row) + "\n", encoding="utf8")
    CrossEncoder.from_pretrained(tiny_model_dir).save_pretrained(tmp_path / "cross")
    result = run_train(
        "--eval-only", "--arch", "cross", "--model", "cross", "--eval-data", "r.jsonl", "--rerank", rerank,
        "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    found = metrics(tmp_path / "run")
    assert found["r/base_map"] == 0  # not retrieved
    assert (found["r/map"] > 0) == bool(ranked)


def test_a_model_of_the_other_kind(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path) -> None:
    scores = ("--eval-only", "--eval-data", "samples-sts-en", "--output-dir", "run")
    line = said(run_train("--arch", "cross", "--model", tiny_model_dir, *scores), 1)
    assert "an encoder without a trained head" in line
    CrossEncoder.from_pretrained(tiny_model_dir).save_pretrained(tmp_path / "cross")
    line = said(run_train("--model", "cross", *scores), 1)
    assert line == "cross: holds a cross-encoder (--arch cross, CrossEncoder.from_pretrained)"
    line = said(
        run_train("--arch", "cross", "--model", "cross", *scores[:2], "samples-nli-en", *scores[3:]), 2
    )
    assert "--eval-data samples-nli-en-test is nli data: this cross-encoder of 1 label(s) scores sts" in line
    assert not (tmp_path / "run").exists()


def test_the_activation_is_that_of_the_last_objective(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    result = run_train(
        "--arch", "cross", "--model", tiny_model_dir, *SMALL, "--train-data", "samples-sts-en", "--objective",
        "regression", "--eval-data", "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert CrossEncoder.from_pretrained(tmp_path / "run/model").activation == IDENTITY
    result = run_train(
        "--arch", "cross", "--model", "run/model", *SMALL, "--train-data", "samples-sts-en", "--eval-data",
        "--output-dir", "then",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert CrossEncoder.from_pretrained(tmp_path / "then/model").activation == SIGMOID


def test_what_only_the_files_tell(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "n.tsv").write_text(NLI_HEADER + "a\tb\tneutral\n", encoding="utf8")
    (tmp_path / "s.tsv").write_text(STS_HEADER + "a\tb\t0.5\nc\td\t0.1\n", encoding="utf8")
    cross = ("--arch", "cross", "--model", tiny_model_dir, "--output-dir", "run", "--eval-data")
    line = said(run_train(*cross, "--train-data", "n.tsv", "s.tsv"), 2)
    assert line.startswith("--arch cross: classification gives a logit a class")
    line = said(run_train(*cross, "--train-data", "s.tsv", "--dev-data", "n.tsv"), 2)
    assert line == "--dev-data n.tsv is nli data, which nothing this run trains can score"
    assert not (tmp_path / "run").exists()
    (tmp_path / "r.jsonl").write_text(json.dumps(ROWS["ranking.jsonl"][0]) + "\n", encoding="utf8")
    result = run_train(
        *cross, "r.jsonl", "--train-data", "r.jsonl", "--num-negatives", 50, "--max-updates", 1
    )
    assert result.code == 0, result.stderr
    assert "--eval-only --arch cross --model run/model --eval-data r.jsonl" in result.stdout


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_cuda(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, precision: str) -> None:
    result = run_train(
        "--arch", "cross", "--model", tiny_model_dir, *SMALL[:-1], precision, "--train-data", "samples-nli-en",
        "--objective", "ranking", "--device", "cuda", "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    model = CrossEncoder.from_pretrained(tmp_path / "run/model")
    pairs = [("a cat", "a dog"), ("a longer sentence about a cat", "a dog")]
    there = CrossEncoder.from_pretrained(tmp_path / "run/model", device="cuda").predict(pairs)
    assert there == pytest.approx(model.predict(pairs), abs=1e-4)
