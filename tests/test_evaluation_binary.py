"""Average precision and best thresholds: by hand, by invariances, and against scikit-learn (tests/golden)."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sbert.evaluation.binary import binary_metrics

GOLDEN = json.loads(
    (Path(__file__).parent / "golden" / "expected_ranking_metrics.json").read_text(encoding="utf8")
)["binary"]


def found_for(scores: list[float], labels: list[int]) -> dict[str, float]:
    return binary_metrics(np.array(scores), np.array(labels))


def at(threshold: float, scores: list[float], labels: list[int]) -> tuple[float, float]:
    """F1 and accuracy of the decision score >= threshold, counted the plain way."""
    called, gold = np.array(scores) >= threshold, np.array(labels) == 1
    hits = (called & gold).sum()
    f1 = 2 * hits / (called.sum() + gold.sum()) if gold.any() else math.nan
    return float(f1), float((called == gold).mean())


# ---------------------------------------------------------------- by hand


def test_five_rows_by_hand() -> None:
    """In falling order: 1, 0, 1, 1, 0. F1 is best with four rows called positive, accuracy with four (4 of 5)."""
    found = found_for([0.9, 0.8, 0.6, 0.4, 0.1], [1, 0, 1, 1, 0])
    assert found == pytest.approx(
        {
            "ap": (1 / 1 + 2 / 3 + 3 / 4) / 3,
            "f1": 2 * 3 / (4 + 3),
            "f1_threshold": 0.25,
            "accuracy_best": 4 / 5,
            "accuracy_threshold": 0.25,
        }
    )


def test_f1_and_accuracy_may_want_different_thresholds() -> None:
    """In falling order: 1, 0, 0, 0, 1. F1 calls the first positive, or all: 2/3 against 4/7; accuracy the first."""
    found = found_for([5, 4, 3, 2, 1], [1, 0, 0, 0, 1])
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["f1_threshold"] == found["accuracy_threshold"] == 4.5
    found = found_for([5, 4, 3, 2, 1], [0, 0, 0, 1, 1])  # F1: all, 4/7; accuracy: none, 3/5
    assert found["f1"] == pytest.approx(4 / 7)
    assert found["f1_threshold"] == 1.0
    assert found["accuracy_best"] == pytest.approx(3 / 5)
    assert found["accuracy_threshold"] == np.nextafter(5.0, np.inf)


def test_equal_scores_count_as_one_group() -> None:
    """0.5 is shared by one positive and two negatives: no threshold parts them. Groups: 1 of 1, then 1 of 3."""
    scores, labels = [0.9, 0.5, 0.5, 0.5, 0.1], [1, 0, 1, 0, 0]
    found = found_for(scores, labels)
    assert found["ap"] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 4)
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["f1_threshold"] == pytest.approx(0.7)
    assert found["accuracy_best"] == pytest.approx(4 / 5)


def test_the_highest_of_equally_good_thresholds() -> None:
    """Negative above positive, twice: accuracy is 1/2 with none, 2 or 4 called positive."""
    found = found_for([4, 3, 2, 1], [0, 1, 0, 1])
    assert found["accuracy_best"] == 0.5
    assert found["accuracy_threshold"] == np.nextafter(4.0, np.inf)
    twice = found_for([6, 5, 4, 3, 2, 1], [1, 0, 0, 1, 1, 0])  # F1 1/2, 2/5, 1/3, 4/7, 3/4, 2/3
    assert twice["f1_threshold"] == 1.5
    equal = found_for([6, 5, 4, 3], [1, 0, 1, 0])  # F1 2/3, 1/2, 4/5, 2/3; accuracy 3/4, 1/2, 3/4, 1/2
    assert equal["f1_threshold"] == 3.5
    assert equal["accuracy_threshold"] == 5.5


def test_rows_in_another_order_give_the_same() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 300)
    scores = (rng.integers(0, 20, 300) + 6 * labels) / 7  # many ties
    found = binary_metrics(scores, labels)
    for _ in range(5):
        turned = rng.permutation(300)
        assert binary_metrics(scores[turned], labels[turned]) == found
    by_class = np.argsort(labels)
    assert binary_metrics(scores[by_class], labels[by_class]) == found
    assert binary_metrics(scores[by_class[::-1]], labels[by_class[::-1]]) == found


def test_only_the_order_of_the_scores_counts() -> None:
    rng = np.random.default_rng(4)
    scores, labels = rng.normal(size=40), rng.integers(0, 2, 40)
    found, other = binary_metrics(scores, labels), binary_metrics(np.exp(scores), labels)
    for name in ("ap", "f1", "accuracy_best"):
        assert other[name] == found[name]


# ---------------------------------------------------------------- thresholds


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_threshold_reaches_its_value_on_the_scores_themselves(dtype: type) -> None:
    rng = np.random.default_rng(5)
    for size in (1, 2, 3, 10, 60):
        labels = rng.integers(0, 2, size)
        labels[0] = 1
        scores = (rng.normal(size=size) + labels).astype(dtype)
        found = binary_metrics(scores, labels)
        assert at(found["f1_threshold"], scores, labels)[0] == pytest.approx(found["f1"])
        assert at(found["accuracy_threshold"], scores, labels)[1] == pytest.approx(found["accuracy_best"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("low", [1.0, -1.0, 0.0])
def test_scores_with_no_number_between_them_are_still_parted(dtype: type, low: float) -> None:
    """Their midpoint rounds to one of the two: where that is the lower one, the threshold is the upper one."""
    first = dtype(low)
    second = np.nextafter(first, dtype(9))
    third = np.nextafter(second, dtype(9))
    for lower, upper in ((first, second), (second, third)):
        scores = np.array([lower, upper], dtype=dtype)
        found = binary_metrics(scores, np.array([0, 1]))
        assert (scores >= dtype(found["f1_threshold"])).tolist() == [False, True]
        assert (scores >= dtype(found["accuracy_threshold"])).tolist() == [False, True]
        none = binary_metrics(scores, np.array([0, 0]))
        assert (scores >= dtype(none["accuracy_threshold"])).tolist() == [False, False]


def test_large_scores_have_a_finite_midpoint() -> None:
    found = binary_metrics(np.array([2e38, 3e38], dtype=np.float32), np.array([0, 1]))
    assert found["f1_threshold"] == pytest.approx(2.5e38)


def test_integers_and_bools() -> None:
    assert found_for([3, 2], [True, False]) == found_for([3.0, 2.0], [1, 0])  # type: ignore[list-item]
    assert found_for([3, 2], [1, 0])["f1_threshold"] == 2.5


# ---------------------------------------------------------------- one class, refused input


def test_no_positives_leave_recall_undefined(recwarn: pytest.WarningsRecorder) -> None:
    found = found_for([0.2, 0.5], [0, 0])
    assert [name for name, value in found.items() if math.isnan(value)] == ["ap", "f1", "f1_threshold"]
    assert found["accuracy_best"] == 1.0
    assert found["accuracy_threshold"] == np.nextafter(0.5, np.inf)
    assert not recwarn.list


def test_no_negatives() -> None:
    assert found_for([0.2, 0.5, 0.2], [1, 1, 1]) == {
        "ap": 1.0,
        "f1": 1.0,
        "f1_threshold": 0.2,
        "accuracy_best": 1.0,
        "accuracy_threshold": 0.2,
    }


@pytest.mark.parametrize(
    "scores, labels, message",
    [
        ([], [], "no rows"),
        ([1.0, 2.0], [1], r"scores \(2,\) and labels \(1,\)"),
        ([[1.0]], [[1]], r"scores \(1, 1\)"),
        ([1.0, math.nan], [1, 0], "row 1: the score is not finite"),
        ([math.inf, 1.0], [1, 0], "row 0: the score is not finite"),
        ([1.0, 2.0], [1, 2], "label 2 is not one of 0, 1"),
        ([1.0, 2.0], [0.5, 1], "label 0.5 is not one of 0, 1"),
        ([1.0, 2.0], [math.nan, 1], "label nan is not one of 0, 1"),
    ],
)
def test_what_it_refuses(scores: list, labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        found_for(scores, labels)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- scikit-learn and sentence-transformers


def test_the_golden_samples_hold_ties_and_both_classes() -> None:
    assert len(GOLDEN) >= 16
    assert sum(len(set(row["scores"])) < len(row["scores"]) for row in GOLDEN) >= 5
    assert [sorted(set(row["labels"])) for row in GOLDEN[-2:]] == [[1], [0]]


@pytest.mark.parametrize("row", GOLDEN[:-1])
def test_scikit_learn_and_the_peer_give_the_same(row: dict) -> None:
    """AP and best F1 of scikit-learn; best accuracy and both thresholds of sentence-transformers."""
    found = found_for(row["scores"], row["labels"])
    for name in ("ap", "f1", "f1_threshold", "accuracy_best", "accuracy_threshold"):
        assert found[name] == pytest.approx(row[name], abs=1e-9), name


def test_without_positives_the_peers_say_0_where_we_say_nan() -> None:
    row = GOLDEN[-1]
    found = found_for(row["scores"], row["labels"])
    assert row["ap"] == row["f1"] == row["f1_threshold"] == 0.0
    assert all(math.isnan(found[name]) for name in ("ap", "f1", "f1_threshold"))
    assert found["accuracy_best"] == row["accuracy_best"] == 1.0
    assert found["accuracy_threshold"] == pytest.approx(row["accuracy_threshold"], abs=1e-9)
