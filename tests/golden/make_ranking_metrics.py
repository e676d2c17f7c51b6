"""Ranking and binary metrics of sentence-transformers and scikit-learn on small random samples.

Run it with an interpreter that has sentence-transformers 6.x (the tests read the file written here):

    python tests/golden/make_ranking_metrics.py

It writes expected_ranking_metrics.json beside it. The peer's own evaluator runs around a model whose predict()
looks the scores up; the samples stand in the file beside the values. Scores have 3 decimals; those to be ranked have
no ties, except in the list "tied".
"""

from __future__ import annotations

import json
import warnings
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from sentence_transformers.cross_encoder.evaluation import (  # type: ignore[import-not-found]
    CrossEncoderRerankingEvaluator,
)
from sentence_transformers.sentence_transformer.evaluation import (  # type: ignore[import-not-found]
    BinaryClassificationEvaluator,
)
from sklearn.metrics import average_precision_score, f1_score, ndcg_score  # type: ignore[import-not-found]

HERE = Path(__file__).resolve().parent
EACH, BINARY, GRADED = 11, 14, 6  # samples of either form, binary samples, graded queries


class Given:
    """A cross-encoder whose scores are looked up by document."""

    model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *ignored: None)  # evaluators report here

    def __init__(self, scores: dict[str, float]) -> None:
        self.scores = scores

    def predict(self, pairs: list[list[str]], **options: Any) -> np.ndarray:
        return np.array([self.scores[document] for _, document in pairs])


def distinct(rng: np.random.Generator, count: int) -> list[float]:
    """Numbers with 3 decimals, no two the same."""
    return ((rng.choice(6000, count, replace=False) - 3000) / 1000).tolist()


def drawn_samples(rng: np.random.Generator) -> list[dict[str, Any]]:
    """EACH samples with `negative`, EACH with `documents` (some positives missed, in some samples all of them)."""
    samples: list[dict[str, Any]] = []
    for number in range(2 * EACH):
        positives, negatives = int(rng.integers(1, 5)), int(rng.integers(2, 20))
        names = [f"{number}/{i}" for i in range(positives + negatives)]
        positive, negative = names[:positives], names[positives:]
        sample: dict[str, Any] = {"query": str(number), "positive": positive}
        if number < EACH:
            sample["negative"] = negative
        else:
            kept = positive[: int(rng.integers(0, positives + 1))]
            sample["documents"] = [str(name) for name in rng.permutation(kept + negative)]
        samples.append(sample | {"scores": dict(zip(names, distinct(rng, len(names)), strict=True))})
    return samples


def tied_sample() -> dict[str, Any]:
    return {
        "query": "tied", "positive": ["p", "q"], "negative": ["a", "b", "c"],
        "scores": {"p": 0.5, "q": 0.25, "a": 0.5, "b": 0.5, "c": 0.0},
    }  # fmt: skip


def evaluated(samples: list[dict[str, Any]], always: bool, k: int) -> dict[str, float]:
    """CrossEncoderRerankingEvaluator's metrics of the samples."""
    scores = {name: score for sample in samples for name, score in sample["scores"].items()}
    evaluator = CrossEncoderRerankingEvaluator(
        samples, at_k=k, always_rerank_positives=always, write_csv=False
    )
    return {name: float(value) for name, value in evaluator(Given(scores)).items()}


def reranking(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One case per sample, and per form one case of all its samples; both modes, k = 10 and 3."""
    singles = [[i] for i in range(len(samples))]
    groups = [*singles, list(range(EACH)), list(range(EACH, 2 * EACH)), list(range(2 * EACH))]
    return [
        {"samples": group, "always_rerank_positives": always, "k": k,
         "metrics": evaluated([samples[i] for i in group], always, k)}
        for group in groups for always in (True, False) for k in (10, 3)
    ]  # fmt: skip


def graded(rng: np.random.Generator) -> list[dict[str, Any]]:
    """nDCG of scikit-learn for relevance 0..3."""
    rows = []
    for _ in range(GRADED):
        relevance = [3, *rng.integers(0, 4, int(rng.integers(3, 15))).tolist()]
        scores = distinct(rng, len(relevance))
        values = {f"ndcg@{k}": float(ndcg_score([relevance], [scores], k=k)) for k in (10, 3)}
        rows.append({"relevance": relevance, "scores": scores} | values)
    return rows


def binary_values(scores: list[float], labels: list[int]) -> dict[str, Any]:
    """AP and the best F1 over all cuts from scikit-learn; best values and thresholds from sentence-transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of labels without positives
        ap = float(average_precision_score(labels, scores))
    f1 = max(f1_score(labels, np.array(scores) >= cut, zero_division=0) for cut in scores)
    peer = BinaryClassificationEvaluator
    accuracy, accuracy_threshold = peer.find_best_acc_and_threshold(scores, labels, True)
    best_f1, _, _, f1_threshold = peer.find_best_f1_and_threshold(scores, labels, True)
    return {
        "scores": scores, "labels": labels, "ap": ap, "f1": float(f1), "peer_f1": float(best_f1),
        "f1_threshold": float(f1_threshold), "accuracy_best": float(accuracy),
        "accuracy_threshold": float(accuracy_threshold),
    }  # fmt: skip


def binary(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Positives score higher by 1 in the mean; every second sample has many ties; the last two have one class."""
    rows = []
    for number in range(BINARY):
        count = int(rng.integers(2, 25))
        labels = np.array([1, 0, *rng.integers(0, 2, count - 2)])
        steps = 1000 if number % 2 else 4  # possible scores in one unit
        scores = (rng.integers(-steps, 2 * steps, count) + steps * labels) / steps
        rows.append(binary_values(scores.tolist(), labels.tolist()))
    rows.append(binary_values([0.25, 0.5, 0.125], [1, 1, 1]))
    rows.append(binary_values([0.25, 0.5, 0.125], [0, 0, 0]))
    return rows


def main() -> None:
    rng = np.random.default_rng(2024)
    samples = drawn_samples(rng)
    content = {
        "versions": {name: version(name) for name in ("sentence-transformers", "scikit-learn", "numpy")},
        "samples": samples,
        "reranking": reranking(samples),
        "tied": [tied_sample() | {"metrics": evaluated([tied_sample()], True, 10)}],
        "graded": graded(rng),
        "binary": binary(rng),
    }
    parts = []
    for name, value in content.items():  # one row a line
        rows = ",\n".join(json.dumps(row) for row in value) if isinstance(value, list) else ""
        parts.append(f"{json.dumps(name)}: " + (f"[\n{rows}\n]" if rows else json.dumps(value)))
    (HERE / "expected_ranking_metrics.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf8")


if __name__ == "__main__":
    main()
