"""Evaluate a model, or an objective with a classifier, on any number of data sets at once.

All distinct texts of all sets are embedded in one go, once for every measure and every set they appear in.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from data import NLI_LABELS, DataSet, RetrievalSet
from losses.similarity import PAIRWISE
from sbert.cross_encoder import CrossEncoder
from sbert.encode import Encoded, encode
from sbert.errors import RunError
from sbert.evaluation.cross import evaluate_cross
from sbert.evaluation.nli import classification_metrics
from sbert.evaluation.sts import similarity_metrics
from sbert.evaluation.translation import translation_metrics
from sbert.model import modelWithPooling
from sbert.objectives import modelForClassificationTraining
from sbert.predict import Predicted
from sbert.retrieval.dense import evaluate_retrieval
from sbert.towers import TwoTowers

Metrics = dict[str, float]
AnySet = DataSet | RetrievalSet
SIAMESE_TASKS = ("sts", "triplet", "margin", "parallel", "retrieval")  # what embeddings are enough for


def evaluate(
    model: modelWithPooling | TwoTowers | CrossEncoder, datasets: Sequence[AnySet] | AnySet, **options: Any
) -> Metrics:
    """Of a bi-encoder: STS sets, Pearson and Spearman of four measures; triplet (and margin) sets, share of right
    orders by four measures; parallel sets, sbert.evaluation.translation; retrieval sets, sbert.evaluation.retrieval of the whole pool. NLI sets need a classifier and are passed over here: see evaluate_objective.

    Of a cross-encoder: see sbert.evaluation.cross. options: those of sbert.encode.encode or sbert.predict.predict.
    """
    metrics, _ = evaluate_with_report(model, datasets, **options)
    return metrics


def evaluate_with_report(
    model: modelWithPooling | TwoTowers | CrossEncoder,
    datasets: Sequence[AnySet] | AnySet,
    *,
    classifier: modelForClassificationTraining | None = None,
    **options: Any,
) -> tuple[Metrics, Encoded | Predicted | None]:
    """``evaluate`` plus what encoding or scoring counted (distinct texts or pairs, truncated ones, padding); None of
    retrieval sets. Raises RunError for two towers and a set that is not about questions and passages."""
    given = [datasets] if isinstance(datasets, DataSet | RetrievalSet) else list(datasets)
    sets = [s for s in given if isinstance(s, DataSet)]
    if isinstance(model, CrossEncoder):
        return evaluate_cross(model, sets, **options)
    searched = {
        f"{s.key}/{name}": value
        for s in given
        if isinstance(s, RetrievalSet)
        for name, value in evaluate_retrieval(model, s, **options).items()
    }
    if isinstance(model, TwoTowers):
        if sets:
            raise RunError(f"{sets[0].key} is {sets[0].task} data: two towers are scored on retrieval sets")
        return searched, None
    sets = [s for s in sets if s.task in SIAMESE_TASKS or (s.task == "nli" and classifier is not None)]
    for dataset in sets:
        if not dataset.examples:
            raise ValueError(f"{dataset.key} has no examples to score")
    position: dict[str, int] = {}
    for dataset in sets:
        for example in dataset.examples:
            for text in example.texts:
                position.setdefault(text, len(position))
    if not position:
        return searched, None
    encoded = encode(model, list(position), **options)
    metrics: Metrics = dict(searched)
    for dataset in sets:
        columns = [
            encoded.embeddings[[position[example.texts[i]] for example in dataset.examples]]
            for i in range(len(dataset.examples[0].texts))
        ]
        labels = [example.label for example in dataset.examples]
        if dataset.task == "sts":
            found = similarity_metrics(columns[0], columns[1], labels)  # type: ignore[arg-type]
        elif dataset.task == "parallel":
            texts = [example.texts for example in dataset.examples]
            found = translation_metrics(columns[0], columns[1], texts, dataset.language)
        elif dataset.task in ("triplet", "margin"):
            found = _triplet_metrics(*columns)
        else:
            found = _nli_metrics(classifier, columns[0], columns[1], labels)  # type: ignore[arg-type]
        metrics.update({f"{dataset.key}/{name}": value for name, value in found.items()})
    return metrics, encoded


def evaluate_objective(objective: Any, datasets: Sequence[AnySet], **options: Any) -> Metrics:
    """``evaluate``, with NLI sets scored by the objective's classifier where it has one."""
    classifier = objective if isinstance(objective, modelForClassificationTraining) else None
    return evaluate_with_report(objective.model, datasets, classifier=classifier, **options)[0]


@torch.inference_mode()
def _nli_metrics(
    classifier: modelForClassificationTraining, u: np.ndarray, v: np.ndarray, labels: Sequence[int]
) -> Metrics:
    device = classifier.classifier.weight.device
    logits = classifier.logits(torch.from_numpy(u).to(device), torch.from_numpy(v).to(device))
    return classification_metrics(logits.argmax(1).cpu().numpy(), np.asarray(labels), len(NLI_LABELS))


def _triplet_metrics(anchor: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> Metrics:
    """Share of triplets whose anchor is nearer to its positive (SBERT paper, section 4.4); ties count as wrong."""
    a, p, n = (torch.from_numpy(x) for x in (anchor, positive, negative))
    return {
        f"accuracy_{name}": float((measure(a, p) > measure(a, n)).float().mean())
        for name, measure in PAIRWISE.items()
    }
