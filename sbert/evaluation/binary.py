"""Two classes from one score: average precision, and the best F1 and accuracy over all thresholds.

A pair is called positive where score >= threshold. Rows with equal scores fall on the same side of every threshold,
so they count as one group and no result depends on the order of the rows.
"""

import numpy as np


def binary_metrics(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """scores: (N,) finite; labels: (N,) of 0 or 1 -> ap, f1, f1_threshold, accuracy_best, accuracy_threshold.

    ap is the sum over thresholds of (gain in recall) * precision, without interpolation: scikit-learn's
    average_precision_score. A threshold is the midpoint of two neighbouring distinct scores, the lowest score where
    every row is called positive, and the next number above the highest score where none is. Of several thresholds
    with the same best value the highest is reported. Thresholds are numbers of the scores' own precision, so they
    cut float32 scores as they were measured.

    Without positives recall is undefined: ap, f1 and f1_threshold are nan (accuracy_best is 1, by calling nothing
    positive). Without negatives all three values are 1 at the lowest score.
    Raises ValueError for no rows, shapes that differ, scores that are not finite, labels other than 0 and 1.
    """
    scores, labels = _checked(scores, labels)
    values, group, size = np.unique(scores, return_inverse=True, return_counts=True)  # ascending
    hits = np.bincount(group, weights=labels)
    # (G + 1,) per threshold, from the highest (nothing called positive) to the lowest (everything)
    predicted = np.concatenate([[0.0], size[::-1].cumsum()])
    found = np.concatenate([[0.0], hits[::-1].cumsum()])
    thresholds = _thresholds(values[::-1])
    positives = found[-1]
    correct = found + (len(labels) - positives) - (predicted - found)
    best = int(correct.argmax())  # argmax takes the first of equals: the highest threshold
    metrics = {"ap": np.nan, "f1": np.nan, "f1_threshold": np.nan}
    if positives:
        precision = found[1:] / predicted[1:]
        f1 = 2 * found / (predicted + positives)
        metrics["ap"] = np.diff(found) @ precision / positives
        metrics["f1"], metrics["f1_threshold"] = f1.max(), thresholds[f1.argmax()]
    metrics["accuracy_best"] = correct[best] / len(labels)
    metrics["accuracy_threshold"] = thresholds[best]
    return {name: float(value) for name, value in metrics.items()}


def _thresholds(values: np.ndarray) -> np.ndarray:
    """values: (G,) distinct scores, falling -> (G + 1,) thresholds; the i-th lets exactly the first i scores pass."""
    upper, lower = values[:-1], values[1:]
    middle = upper / 2 + lower / 2  # halved first: the sum of two large scores could overflow
    middle = np.where(middle > lower, middle, upper)  # rounded down to the lower score, it lets that pass
    return np.concatenate([np.nextafter(values[:1], np.inf, dtype=values.dtype), middle, values[-1:]])


def _checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.shape != labels.shape or scores.ndim != 1:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must be two lists of one length")
    if not len(scores):
        raise ValueError("no rows to score")
    if not np.isfinite(scores).all():
        raise ValueError(f"row {int(np.isfinite(scores).argmin())}: the score is not finite")
    wrong = labels[(labels != 0) & (labels != 1)]
    if len(wrong):
        raise ValueError(f"label {wrong[0]} is not one of 0, 1")
    if not np.issubdtype(scores.dtype, np.floating):
        scores = scores.astype(np.float64)
    return scores, labels.astype(np.float64)
