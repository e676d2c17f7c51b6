"""Evaluate a cross-encoder on any number of data sets: every distinct pair of all sets is scored once.

STS     Pearson, Spearman; where all gold scores are 0 or 1 also average precision and the best F1
NLI     accuracy, macro-averaged F1, confusion counts
triplet, margin    share of rows whose positive scores above its negative; ties count as wrong
ranking MRR@k, nDCG@k, MAP, and the same of the incoming order where there is one
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.examples import NLI_LABELS, DataSet
from sbert.cross_encoder import CrossEncoder
from sbert.errors import RunError
from sbert.evaluation.binary import binary_metrics
from sbert.evaluation.nli import classification_metrics, confusion_matrix
from sbert.evaluation.reranking import reranking_metrics
from sbert.evaluation.sts import correlations
from sbert.predict import Predicted, predict


def takes(num_labels: int) -> tuple[str, ...]:
    """The kinds of data a cross-encoder of so many labels can be scored on."""
    if num_labels == 1:
        return ("sts", "triplet", "margin", "ranking")
    return ("nli",) if num_labels == len(NLI_LABELS) else ()


def evaluate_cross(
    model: CrossEncoder,
    datasets: Sequence[DataSet],
    *,
    k: int = 10,
    always_rerank_positives: bool = True,
    **options: Any,
) -> tuple[dict[str, float], Predicted | None]:
    """({"stsb-test/spearman": ...}, what scoring counted). Sets the model has no score for are passed over.

    k, always_rerank_positives: of ranking sets, see sbert.evaluation.reranking. options: those of predict.
    """
    sets = [s for s in datasets if s.task in takes(model.num_labels)]
    pairs: list[tuple[str, str]] = []
    for dataset in sets:
        if not dataset.examples:
            raise ValueError(f"{dataset.key} has no examples to score")
        pairs += [(e.texts[0], text) for e in dataset.examples for text in e.texts[1:]]
    if not pairs:
        return {}, None
    order = model.label_order(NLI_LABELS) if model.num_labels > 1 else []
    predicted = predict(model, pairs, **options)
    bad = ~np.isfinite(predicted.scores).reshape(len(pairs), -1).all(1)
    if bad.any():
        first = pairs[int(bad.argmax())]
        raise RunError(
            f"{int(bad.sum())} of {len(pairs)} scores are not finite, the first is of {str(first)[:120]}"
        )
    metrics: dict[str, float] = {}
    done = 0
    for dataset in sets:
        count = sum(len(e.texts) - 1 for e in dataset.examples)
        scores = predicted.scores[done : done + count]
        scores = scores[:, order] if order else scores
        done += count
        found = _metrics_of(dataset, scores, k, always_rerank_positives)
        metrics.update({f"{dataset.key}/{name}": value for name, value in found.items()})
    return metrics, predicted


def _metrics_of(dataset: DataSet, scores: np.ndarray, k: int, always: bool) -> dict[str, float]:
    labels: list[Any] = [example.label for example in dataset.examples]
    if dataset.task == "sts":
        pearson, spearman = correlations(scores, labels)
        found = {"pearson": pearson, "spearman": spearman}
        if set(labels) <= {0.0, 1.0}:
            found |= binary_metrics(scores, np.asarray(labels))
        return found
    if dataset.task == "nli":
        predicted, gold = scores.argmax(1), np.asarray(labels)
        found = classification_metrics(predicted, gold, len(NLI_LABELS))
        counts = confusion_matrix(predicted, gold, len(NLI_LABELS))
        for i, right in enumerate(NLI_LABELS):
            found |= {f"confusion/{right}/{said}": float(counts[i, j]) for j, said in enumerate(NLI_LABELS)}
        return found
    if dataset.task in ("triplet", "margin"):
        positive, negative = scores.reshape(-1, 2).T
        return {"accuracy": float((positive > negative).mean())}
    sizes = np.cumsum([len(label) for label in labels])[:-1]
    return reranking_metrics(
        np.split(scores, sizes),
        [np.asarray(label) for label in labels],
        [example.retrieved for example in dataset.examples],
        k=k,
        always_rerank_positives=always,
    )
