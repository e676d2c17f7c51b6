"""NLI: confusion matrix, accuracy and macro-averaged F1 of predicted classes."""

import numpy as np


def confusion_matrix(predicted: np.ndarray, gold: np.ndarray, num_labels: int) -> np.ndarray:
    """predicted, gold: (B,) class ids -> (K, K) counts, K = num_labels; row = gold class, column = predicted class.

    Raises ValueError where the two differ in shape or an id lies outside 0..K-1.
    """
    predicted, gold = np.asarray(predicted), np.asarray(gold)
    if predicted.shape != gold.shape or gold.ndim != 1:
        raise ValueError(f"predicted {predicted.shape} and gold {gold.shape} must be two lists of one length")
    for name, ids in (("predicted", predicted), ("gold", gold)):
        outside = ids[(ids < 0) | (ids >= num_labels)]
        if len(outside):
            raise ValueError(f"{name} class {outside[0]} is not one of 0..{num_labels - 1}")
    confusion = np.zeros((num_labels, num_labels), dtype=np.int64)
    np.add.at(confusion, (gold, predicted), 1)
    return confusion


def classification_metrics(predicted: np.ndarray, gold: np.ndarray, num_labels: int) -> dict[str, float]:
    """predicted, gold: (B,) class ids -> accuracy and f1_macro.

    A class that neither side ever names counts as F1 0, as a class never predicted does.
    """
    confusion = confusion_matrix(predicted, gold, num_labels)
    hits, named = confusion.diagonal(), confusion.sum(0) + confusion.sum(1)
    f1 = np.divide(2.0 * hits, named, out=np.zeros(num_labels), where=named > 0)
    return {"accuracy": float(hits.sum() / max(confusion.sum(), 1)), "f1_macro": float(f1.mean())}
