"""NLI: accuracy and macro-averaged F1 of predicted classes."""

import numpy as np


def classification_metrics(predicted: np.ndarray, gold: np.ndarray, num_labels: int) -> dict[str, float]:
    """predicted, gold: (B,) class ids -> accuracy and f1_macro.

    A class that neither side ever names counts as F1 0, as a class never predicted does.
    """
    confusion = np.zeros((num_labels, num_labels), dtype=np.int64)  # rows gold, columns predicted
    np.add.at(confusion, (gold, predicted), 1)
    hits, named = confusion.diagonal(), confusion.sum(0) + confusion.sum(1)
    f1 = np.divide(2.0 * hits, named, out=np.zeros(num_labels), where=named > 0)
    return {"accuracy": float(hits.sum() / max(confusion.sum(), 1)), "f1_macro": float(f1.mean())}
