"""The confusion matrix by hand, and what it refuses."""

import numpy as np
import pytest

from sbert.evaluation.nli import classification_metrics, confusion_matrix

PREDICTED, GOLD = np.array([0, 1, 1, 1, 0, 2]), np.array([0, 0, 1, 1, 2, 2])


def test_confusion_matrix_by_hand_rows_are_gold() -> None:
    found = confusion_matrix(PREDICTED, GOLD, 3)
    assert found.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert np.issubdtype(found.dtype, np.integer)


def test_swapped_sides_transpose_it_and_order_of_rows_does_not_matter() -> None:
    found = confusion_matrix(PREDICTED, GOLD, 3)
    assert (confusion_matrix(GOLD, PREDICTED, 3) == found.T).all()
    turned = np.random.default_rng(0).permutation(len(GOLD))
    assert (confusion_matrix(PREDICTED[turned], GOLD[turned], 3) == found).all()


def test_classes_that_never_occur_and_no_rows() -> None:
    assert confusion_matrix(np.array([1]), np.array([1]), 4).tolist()[1] == [0, 1, 0, 0]
    nothing = np.array([], dtype=np.int64)
    assert confusion_matrix(nothing, nothing, 2).tolist() == [[0, 0], [0, 0]]


def test_the_metrics_are_those_of_the_matrix() -> None:
    found = confusion_matrix(PREDICTED, GOLD, 3)
    metrics = classification_metrics(PREDICTED, GOLD, 3)
    assert metrics["accuracy"] == pytest.approx(np.trace(found) / found.sum())
    assert metrics["f1_macro"] == pytest.approx((2 / 4 + 4 / 5 + 2 / 3) / 3)
    assert classification_metrics(np.array([1]), np.array([1]), 2) == {"accuracy": 1.0, "f1_macro": 0.5}


@pytest.mark.parametrize(
    "predicted, gold, message",
    [
        ([0, 3], [0, 1], "predicted class 3 is not one of 0..2"),
        ([0, 1], [0, -1], "gold class -1 is not one of 0..2"),
        ([0, 1], [0], r"predicted \(2,\) and gold \(1,\) must be two lists of one length"),
        ([[0]], [[0]], "must be two lists"),
    ],
)
def test_what_it_refuses(predicted: list, gold: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrix(np.array(predicted), np.array(gold), 3)
