"""train.py from end to end, in processes of its own: what a run writes and what later commands make of it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from train_process import (
    LOG_LINE,
    SMALL,
    Result,
    Running,
    TrainRunner,
    contents,
    same_numbers,
)

import data
from data.files import sha256_of
from sbert.flags import Flags

SAMPLES = Path(data.__file__).parent / "samples"
MEASURES = [f"{kind}_{by}" for kind in ("spearman", "pearson") for by in ("cosine", "euclidean", "manhattan", "dot")]  # fmt: skip


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf8"))


# ---------------------------------------------------------------- a run that succeeds


def test_a_run_says_what_came_of_it(finished: tuple[Path, Result]) -> None:
    code, out, err = finished[1]
    assert code == 0
    metrics = read(finished[0] / "metrics.json")
    for language, pairs in (("en", 53), ("ko", 55)):
        key = f"samples-sts-{language}-test"
        before, after = (metrics[f"{prefix}{key}/spearman_cosine"] for prefix in ("before/", ""))
        row = next(line.split() for line in out.splitlines() if line.startswith(key))
        assert row == [key, str(pairs), "Spearman", f"{100 * before:.2f}", f"{100 * after:.2f}", row[-1]]
        assert float(row[-1]) == pytest.approx(100 * (after - before), abs=0.011)
    assert "python train.py --eval-only --model run/model --eval-data samples-sts-en samples-sts-ko" in out
    assert all(LOG_LINE.match(line) for line in err.splitlines()), err
    assert "update 6/6: loss" in err and "samples-sts-dev/spearman_cosine" in err


def test_a_run_directory(finished: tuple[Path, Result], tiny_model_dir: Path) -> None:
    run = finished[0]
    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "metrics.json",
        "before.json",
        "train.log",
        "tensorboard",
        "checkpoints",
        "model",
    }
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["update-00000006"]
    assert any((run / "tensorboard").iterdir())
    assert "update 6/6: loss" in (run / "train.log").read_text(encoding="utf8")
    assert {"modules.json", "sbert.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in (run / "model").iterdir()
    }
    assert sha256_of(run / "model/model.safetensors") != sha256_of(tiny_model_dir / "model.safetensors")


def test_config_holds_all_that_is_needed_to_repeat(
    finished: tuple[Path, Result], tiny_model_dir: Path
) -> None:
    config = read(finished[0] / "config.json")
    assert config["argv"][:2] == ["--model", str(tiny_model_dir)] and config["argv"][-2:] == ["--seed", "7"]
    assert config["flags"].keys() == {f.name for f in fields(Flags)}
    assert (config["flags"]["seed"], config["flags"]["train_limit"], config["flags"]["lr"]) == (7, 24, [1e-3])
    assert {"python", "torch", "transformers", "numpy", "commit"} <= config["environment"].keys()
    assert (config["device"], config["precision"]) == ("cpu", "fp32")
    assert config["rows"] == {"samples-sts-train": 24}
    assert config["data"] == {
        f"samples/sts/{language}-{split}.tsv": sha256_of(SAMPLES / f"sts/{language}-{split}.tsv")
        for language in ("en", "ko")
        for split in ("train", "dev", "test")
    }


def test_metrics_are_raw_and_complete(finished: tuple[Path, Result]) -> None:
    metrics = read(finished[0] / "metrics.json")
    keys = [f"samples-sts-{language}-test/{measure}" for language in ("en", "ko") for measure in MEASURES]
    for key in [*keys, *("before/" + key for key in keys)]:
        assert -1 <= metrics[key] <= 1
    assert metrics.keys() == {*keys, *("before/" + key for key in keys), "marks", "stages"}
    assert metrics != {**metrics, **{key: metrics["before/" + key] for key in keys}}
    (stage,) = metrics["stages"]
    assert (stage["trained_on"], stage["objectives"]) == (["samples-sts-train"], ["regression"])
    assert (stage["selected_on"], stage["last_update"]) == ("samples-sts-dev/spearman_cosine", 6)
    assert stage["best"] == stage["evaluations"][-1]["samples-sts-dev/spearman_cosine"]


def test_eval_only_repeats_the_metrics(
    finished: tuple[Path, Result], run_train: TrainRunner, tmp_path: Path
) -> None:
    result = run_train(
        "--eval-only", "--model", finished[0] / "model", "--eval-data", "samples-sts-en", "samples-sts-ko",
        "--output-dir", "scores",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    trained, again = read(finished[0] / "metrics.json"), read(tmp_path / "scores/metrics.json")
    for language in ("en", "ko"):
        for measure in MEASURES:
            key = f"samples-sts-{language}-test/{measure}"
            assert again[key] == trained[key]
        assert f"{100 * again[f'samples-sts-{language}-test/spearman_cosine']:.2f}" in result.stdout
    texts = {t for lang in ("en", "ko") for e in data.load(f"samples-sts-{lang}").examples for t in e.texts}
    assert again["encode/distinct_texts"] == len(texts)
    config = read(tmp_path / "scores/config.json")
    assert config["flags"]["eval_only"] is True and config["argv"][0] == "--eval-only"
    assert config["data"].keys() == {"samples/sts/en-test.tsv", "samples/sts/ko-test.tsv"}
    assert {path.name for path in (tmp_path / "scores").iterdir()} == {"config.json", "metrics.json"}


def test_another_seed_gives_other_weights(
    finished: tuple[Path, Result], run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    assert run_train("--model", tiny_model_dir, *SMALL, "--output-dir", "run", "--seed", 8).code == 0
    weights = "model/model.safetensors"
    assert sha256_of(tmp_path / "run" / weights) != sha256_of(finished[0] / weights)


def test_a_users_own_files(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path) -> None:
    """Pairs, NLI words and triplets, each trained with the objective that fits."""
    english = SAMPLES / "sts/en-test.tsv"
    rows = [line.split("\t") for line in english.read_text(encoding="utf8").splitlines()[1:13]]
    pairs = [{"sentence1": a, "sentence2": b, "score": float(score) / 5} for score, a, b in rows]
    nli = [{"sentence1": a, "sentence2": b, "label": i % 3} for i, (_, a, b) in enumerate(rows)]
    triplets = [{"anchor": a, "positive": b, "negative": rows[0][1]} for _, a, b in rows[1:]]
    for name, objects in (("pairs", pairs), ("nli", nli), ("triplets", triplets)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(o) + "\n" for o in objects))
    names = ["pairs.jsonl", "nli.jsonl", "triplets.jsonl"]
    result = run_train(
        "--model", tiny_model_dir, *SMALL, "--train-data", *names, "--dev-data", "pairs.jsonl",
        "--eval-data", "pairs.jsonl", "triplets.jsonl", "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    metrics = read(tmp_path / "run/metrics.json")
    assert metrics["stages"][0]["objectives"] == ["regression", "classification", "triplet"]
    assert metrics["stages"][0]["last_update"] == 9  # three batches of each set
    assert {"pairs/spearman_cosine", "triplets/accuracy_cosine"} <= metrics.keys()


def test_what_a_model_was_trained_on_is_marked_later(
    finished: tuple[Path, Result], run_train: TrainRunner, tmp_path: Path
) -> None:
    """Scoring a trained model on its own training rows says so, in another process too."""
    result = run_train(
        "--eval-only", "--model", finished[0] / "model", "--eval-data", "samples-sts-en-train",
        "--output-dir", "scores",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    assert "samples-sts-en-train*" in result.stdout
    assert "samples-sts-train was trained on" in read(tmp_path / "scores/metrics.json")["marks"].get(
        "samples-sts-en-train", ""
    )


def test_metrics_are_strict_json_where_a_correlation_is_undefined(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "one.tsv").write_text("sentence1\tsentence2\tscore\nthe man\tthe park\t0.5\n")
    result = run_train(
        "--eval-only", "--model", tiny_model_dir, "--eval-data", "one.tsv", "--output-dir", "scores"
    )
    assert result.code == 0, result.stderr

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    json.loads((tmp_path / "scores/metrics.json").read_text(), parse_constant=refuse)


def test_a_new_interpreter_gives_the_same_bytes(finished: tuple[Path, Result], fresh: Running) -> None:
    """The other tests fork a process that has torch; this one started ``python train.py`` as a user does."""
    result = fresh.wait()
    assert result.code == 0, result.stderr
    seconds = re.compile(r"\d+ s of training")
    assert seconds.sub("", result.stdout) == seconds.sub("", finished[1].stdout)
    assert contents(fresh.folder / "run/model") == contents(finished[0] / "model")
    assert same_numbers(fresh.folder / "run") == same_numbers(finished[0])
    assert all(LOG_LINE.match(line) for line in result.stderr.splitlines()), result.stderr


def test_tests_see_no_data_of_whoever_runs_them() -> None:
    assert not {"SBERT_DATA", "SBERT_CACHE", "SBERT_ANY_HASH"} & os.environ.keys()
