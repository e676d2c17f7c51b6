"""train.py on retrieval data: trains, scores, saves, resumes and refuses as other runs do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from train_process import SMALL, TrainRunner, said, whole_and_resumed

from data.files import sha256_of
from sbert.model import modelWithPooling
from sbert.towers import TwoTowers, load_bi_encoder


def metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text(encoding="utf8"))


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(
    "more",
    [
        ("--objective", "ranking", "--symmetric", "--matryoshka", 32, 8),
        ("--objective", "ranking", "--batch-sampler", "topics"),
        ("--objective", "mega-batch-margin", "--cache-rows", 3, "--similarity", "dot"),
        (),
    ],
)
def test_questions_and_passages(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, more: tuple[Any, ...]
) -> None:
    result = run_train(
        "--model", tiny_model_dir, *SMALL, "--train-data", "samples-mrc-en", *more, "--output-dir", "run"
    )
    assert result.code == 0, result.stderr
    found = metrics(tmp_path / "run")
    assert found["stages"][0]["selected_on"] == "samples-mrc-en-dev/mrr@10"
    assert found["stages"][0]["objectives"] == [more[1] if more else "ranking"]
    for name in ("recall@1", "recall@20", "mrr@10", "ndcg@10"):
        assert 0 <= found[f"samples-mrc-en-test/{name}"] <= 1
        assert f"before/samples-mrc-en-test/{name}" in found
    model = load_bi_encoder(tmp_path / "run/model")
    assert model.description.similarity == ("dot" if "dot" in more else "cosine")
    scored = run_train(
        "--eval-only", "--model", "run/model", "--eval-data", "samples-mrc-en", "--output-dir", "again"
    )
    assert scored.code == 0, scored.stderr
    again = metrics(tmp_path / "again")
    assert again["samples-mrc-en-test/mrr@10"] == pytest.approx(found["samples-mrc-en-test/mrr@10"], abs=1e-6)
    assert f"{100 * again['samples-mrc-en-test/ndcg@10']:.2f}" in scored.stdout


@pytest.mark.parametrize("mix", ["proportional", "round-robin"])
def test_a_classification_a_regression_and_a_ranking_set_train_one_model(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, mix: str
) -> None:
    """Batches of 8: 17 of NLI, 17 of STS, fewer of the 81 questions, which end the turns."""
    sets = ("samples-nli-en", "samples-sts-en", "samples-mrc-en")
    words = ("--model", tiny_model_dir, "--train-data", *sets, "--mix", mix)
    result = run_train(
        *words, "--batch-size", 8, "--epochs", 1, "--eval-data", "samples-sts-en", "--output-dir", "run"
    )
    assert result.code == 0, result.stderr
    stage = metrics(tmp_path / "run")["stages"][0]
    assert stage["objectives"] == ["classification", "regression", "ranking"]
    turns, rest = divmod(stage["last_update"], 3)
    assert (rest == 0 and 11 <= turns < 15) if mix == "round-robin" else 45 <= stage["last_update"] < 49
    assert {f"samples-{kind}-en-dev" for kind in ("nli", "sts", "mrc")} <= {
        key.partition("/")[0] for key in stage["evaluations"][-1] if "/" in key
    }


def test_two_towers_are_trained_apart_saved_and_trained_on(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    result = run_train(
        "--model", tiny_model_dir, *SMALL, "--train-data", "samples-mrc-en", "--towers", "separate",
        "--lr", "1e-3", "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    towers = load_bi_encoder(tmp_path / "run/model")
    assert isinstance(towers, TwoTowers)
    start = weights(modelWithPooling.from_pretrained(tiny_model_dir))
    assert not torch.equal(weights(towers.query), weights(towers.document))
    assert not torch.equal(weights(towers.query), start) and not torch.equal(weights(towers.document), start)
    assert not np.allclose(towers.encode_query(["the cat"]), towers.encode_document(["the cat"]))
    further = run_train(
        "--model", "run/model", *SMALL, "--train-data", "samples-mrc-en", "--output-dir", "on"
    )
    assert further.code == 0, further.stderr
    assert isinstance(load_bi_encoder(tmp_path / "on/model"), TwoTowers)
    refused = {
        ("--towers", "shared", "--train-data", "samples-mrc-en"): "holds two towers, and --towers is shared",
        ("--train-data", "samples-sts-en"): "--objective regression trains one encoder; two towers take",
    }
    for flags, words in refused.items():
        line = said(run_train("--model", "run/model", *SMALL, *flags, "--output-dir", "no"), 1)
        assert words in line
    line = said(run_train("--eval-only", "--model", "run/model", "--eval-data", "samples-sts-en"), 1)
    assert "two towers are scored on retrieval sets" in line


def test_mined_negatives_and_a_dev_set_for_retrieval(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    rows = [
        {
            "query": f"who sat {i}",
            "positive": [f"the cat {i}"],
            "negative": [f"the dog {j}" for j in range(i)] or ["a"],
        }
        for i in range(6)
    ]
    (tmp_path / "mined.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    result = run_train(
        "--model", tiny_model_dir, *SMALL, "--train-data", "mined.jsonl", "--dev-data", "samples-mrc-en-dev",
        "--eval-data", "--hard-negatives", 2, "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert metrics(tmp_path / "run")["stages"][0]["selected_on"] == "samples-mrc-en-dev/mrr@10"
    pairs = "anchor\tpositive\nwho sat\tthe cat\nwho ran\tthe dog\n"
    (tmp_path / "pairs.tsv").write_text(pairs, encoding="utf8")
    result = run_train(
        "--model", tiny_model_dir, *SMALL, "--train-data", "pairs.tsv", "--output-dir", "pairs"
    )
    assert result.code == 0, result.stderr
    line = said(
        run_train(
            "--model", tiny_model_dir, *SMALL, "--arch", "cross", "--train-data", "pairs.tsv", "--num-negatives", 0
        ),
        1,
    )  # fmt: skip
    assert "there is nothing to tell apart" in line


def test_a_stopped_run_with_drawn_negatives_and_a_gradient_cache_goes_on(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    rows = [
        {"query": f"who {i}", "positive": f"the cat {i}", "negative": [f"the dog {i} {j}" for j in range(5)]}
        for i in range(12)
    ]
    (tmp_path / "mined.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    flags = [
        "--model", tiny_model_dir, "--train-data", "mined.jsonl", "--dev-data", "--eval-data", "--epochs", 12, "--batch-size",
        4, "--cache-rows", 3, "--hard-negatives", 2, "--lr", "1e-3", "--precision", "fp32", "--log-steps", 1, "--towers", "separate",
    ]  # fmt: skip
    whole_and_resumed(run_train, *flags)
    one, other = (load_bi_encoder(tmp_path / name / "model") for name in ("whole", "run"))
    assert torch.equal(weights(one), weights(other))


USAGE = {
    "cross": (
        ["--arch", "cross", "--train-data", "samples-mrc-en"],
        "samples-mrc-en is retrieval data: a cross-encoder trains on the negatives that python -m experiments.mine",
    ),
    "objective": (
        ["--train-data", "samples-mrc-en", "--objective", "regression"],
        "--objective regression cannot train on samples-mrc-en, which is retrieval data; allowed are ranking, mega",
    ),
    "sts": (
        ["--train-data", "samples-sts", "--objective", "mega-batch-margin"],
        "--objective mega-batch-margin cannot train on samples-sts, which is sts data; allowed are regression, cosent",
    ),
    "margin": (
        ["--train-data", "samples-mrc-en", "--positive-margin", "0.5"],
        "--positive-margin is for --objective mega-batch-margin; this run has ranking",
    ),
    "topics": (
        ["--train-data", "samples-sts", "--batch-sampler", "topics"],
        "--batch-sampler topics is for --arch bi --objective ranking and mega-batch-margin",
    ),
    "symmetric": (
        ["--arch", "cross", "--train-data", "samples-sts", "--symmetric"],
        "--symmetric is for --arch bi; this run has --arch cross",
    ),
    "towers": (["--towers", "both"], "--towers 'both': allowed are shared, separate"),
    "similarity": (["--similarity", "euclidean"], "--similarity 'euclidean': allowed are cosine, dot"),
    "no train split": (["--train-data", "scifact-nowhere"], "unknown data set 'scifact-nowhere'"),
}


@pytest.mark.parametrize("case", USAGE)
def test_usage(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, case: str) -> None:
    arguments, words = USAGE[case]
    line = said(run_train("--model", tiny_model_dir, *arguments, "--output-dir", "run"), 2)
    assert words in line
    assert not (tmp_path / "run").exists()


def test_own_folder_of_beir_layout_is_trained_on_its_train_split(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    (folder / "qrels").mkdir(parents=True)
    corpus = "".join(json.dumps({"_id": f"d{i}", "text": f"the cat {i}"}) + "\n" for i in range(8))
    queries = "".join(json.dumps({"_id": f"q{i}", "text": f"who is cat {i}"}) + "\n" for i in range(8))
    (folder / "corpus.jsonl").write_text(corpus, encoding="utf8")
    (folder / "queries.jsonl").write_text(queries, encoding="utf8")
    for split, rows in {"train": range(4), "dev": (4, 5), "test": (6, 7)}.items():
        lines = "".join(f"q{i}\td{i}\t1\n" for i in rows)
        (folder / "qrels" / f"{split}.tsv").write_text(
            "query-id\tcorpus-id\tscore\n" + lines, encoding="utf8"
        )
    result = run_train(
        "--model", tiny_model_dir, *SMALL, "--train-data", "mine", "--dev-data", "mine", "--eval-data", "mine",
        "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    found = metrics(tmp_path / "run")
    assert found["stages"][0]["trained_on"] == ["mine-train"]
    assert found["stages"][0]["selected_on"] == "mine-dev/mrr@10" and "mine-test/mrr@10" in found
    (folder / "qrels" / "train.tsv").unlink()
    line = said(run_train("--model", tiny_model_dir, *SMALL, "--train-data", "mine", "--output-dir", "no"), 1)
    assert "no qrels/train.tsv" in line


def test_a_batch_of_one_without_negatives(run_train: TrainRunner, tiny_model_dir: Path) -> None:
    flags = [
        "--model",
        tiny_model_dir,
        "--train-data",
        "samples-mrc-en",
        "--batch-size",
        1,
        "--eval-data",
        "--dev-data",
    ]
    assert "there is nothing to tell apart" in said(run_train(*flags, "--output-dir", "x"), 1)


def test_a_model_remembers_what_its_negatives_were_mined_from(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    rows = [{"query": f"who {i}", "positive": f"the cat {i}", "negative": "a dog"} for i in range(4)]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    flags = ("--model", tiny_model_dir, *SMALL, "--train-data", "m.jsonl", "--eval-data", "--output-dir")
    info = {"data": {"set": "squad-train"}, "sha256": sha256_of(tmp_path / "m.jsonl")}
    for run, found, known in (
        ("run", info, ["local:m", "squad-train"]),
        ("other", info | {"sha256": "00"}, ["local:m"]),  # as a kill between the two files leaves it
        ("none", {"data": []}, ["local:m"]),
    ):
        (tmp_path / "m.jsonl.info.json").write_text(json.dumps(found), encoding="utf8")
        result = run_train(*flags, run)
        assert result.code == 0, result.stderr
        assert load_bi_encoder(tmp_path / run / "model").facts["trained_on"] == known
        assert ("m.jsonl.info.json is of another file" in result.stderr) == (run == "other")


def test_a_slice_wider_than_the_embedding(run_train: TrainRunner, tiny_model_dir: Path) -> None:
    line = said(
        run_train("--model", tiny_model_dir, "--train-data", "samples-mrc-en", "--matryoshka", 9999, "--output-dir", "x"), 1
    )  # fmt: skip
    assert "--matryoshka 9999: the embeddings have" in line


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_cuda(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, precision: str) -> None:
    result = run_train(
        "--model", tiny_model_dir, *SMALL[:-1], precision, "--train-data", "samples-mrc-en", "--towers", "separate",
        "--cache-rows", 4, "--device", "cuda", "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    here, there = (load_bi_encoder(tmp_path / "run/model", device=device) for device in ("cpu", "cuda"))
    assert np.allclose(here.encode_query(["a cat"]), there.encode_query(["a cat"]), atol=1e-4)
