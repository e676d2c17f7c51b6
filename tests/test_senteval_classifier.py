"""Logistic regression and its protocol: numbers by hand, invariances, folds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sbert.errors import RunError
from sbert.evaluation import transfer
from sbert.evaluation.transfer import (
    FOLDS,
    INNER,
    STRENGTHS,
    TOLERANCE,
    TransferTask,
    f1_of_class,
    fit,
    loss_and_gradient,
    principal_axes,
    stratified_folds,
)


def one_hot(labels: list[int] | np.ndarray) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.as_tensor(labels)).double()


def clouds(rows: int = 60, classes: int = 3, width: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds of points, one a class, of unequal sizes and of unequal spread by dimension."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, size=rows, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    points = rng.normal(size=(classes, width))[labels] + rng.normal(size=(rows, width))
    return points * np.geomspace(0.1, 3, width) + 7, labels


def test_loss_by_hand() -> None:
    """Two rows, two classes, W = (0, ln 3), b = 0: probabilities 3/4 for row 1 at class 1, 1/2 and 1/2 for row 0."""
    x = torch.tensor([[0.0], [1.0]]).double()
    weight, bias = torch.tensor([[0.0, math.log(3)]]).double(), torch.zeros(2).double()
    loss, of_weight, of_bias = loss_and_gradient(x, one_hot([0, 1]), weight, bias, 0.5)
    assert loss == pytest.approx((math.log(2) + math.log(4 / 3)) / 2 + 0.25 * math.log(3) ** 2)
    # residuals p - onehot: row 0 (-1/2, 1/2), row 1 (1/4, -1/4); x^T residual / 2 + ridge * W
    assert of_weight.flatten().tolist() == pytest.approx([1 / 8, -1 / 8 + 0.5 * math.log(3)])
    assert of_bias.tolist() == pytest.approx([-1 / 8, 1 / 8])


def test_gradient_against_finite_differences() -> None:
    points, labels = clouds()
    x, onehot = torch.from_numpy(points), one_hot(labels)
    rng = torch.Generator().manual_seed(1)
    weight, bias = (torch.randn(shape, generator=rng, dtype=torch.float64) / 4 for shape in ((5, 3), (3,)))
    _, of_weight, of_bias = loss_and_gradient(x, onehot, weight, bias, 0.3)
    for value, gradient in ((weight, of_weight), (bias, of_bias)):
        for i in range(value.numel()):
            sides = []
            for sign in (1, -1):
                moved = value.clone().flatten()
                moved[i] += sign * 1e-6
                given = (moved.view_as(value), bias) if value is weight else (weight, moved)
                sides.append(loss_and_gradient(x, onehot, *given, 0.3)[0])
            assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(float(gradient.flatten()[i]), abs=1e-8)


def test_optimum_by_hand() -> None:
    """x = -1, 1 of classes 0, 1: W = (-w, w), b = 0 with sigmoid(-2 w) = l2 * w, so l2 = 1 / (1 + e^2) gives w = 1."""
    found = fit(torch.tensor([[-1.0], [1.0]]).double(), one_hot([0, 1]), 1 / (1 + math.exp(2)))
    assert found.converged
    assert found.weight.flatten().tolist() == pytest.approx([-1, 1], abs=1e-6)
    assert found.bias.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_optimum_equals_that_of_another_method() -> None:
    points, labels = clouds(width=2)
    ridge = 0.05 * points.var(0).mean()

    def loss(v: np.ndarray) -> float:
        logits = points @ v[:6].reshape(2, 3) + v[6:]
        right = logits[np.arange(len(labels)), labels]
        return float((np.log(np.exp(logits).sum(1)) - right).mean() + ridge / 2 * (v[:6] ** 2).sum())

    slow = minimize(
        loss, np.zeros(9), method="Powell", options={"xtol": 1e-9, "ftol": 1e-14, "maxiter": 10**5}
    )
    found = fit(torch.from_numpy(points), one_hot(labels), 0.05)
    ours = np.concatenate([found.weight.flatten().numpy(), found.bias.numpy()])
    assert found.converged
    assert loss(ours) <= slow.fun + 1e-12
    assert loss(ours) == pytest.approx(slow.fun, abs=1e-8)
    assert ours[:6] == pytest.approx(slow.x[:6], abs=1e-3)


def test_separable_points_are_separated() -> None:
    points = np.array([[0, 0], [1, 0], [0, 1], [5, 5], [6, 5], [5, 6]], dtype=np.float32)
    labels = np.array([0, 0, 0, 1, 1, 1])
    for l2 in STRENGTHS:
        found = fit(torch.from_numpy(points).double(), one_hot(labels), l2)
        assert (
            found.converged and found.predict(torch.from_numpy(points).double()).tolist() == labels.tolist()
        )


def test_a_start_changes_the_way_and_not_the_end() -> None:
    points, labels = clouds(rows=200)
    x, onehot = torch.from_numpy(points), one_hot(labels)
    cold = fit(x, onehot, 0.01)
    warm = fit(x, onehot, 0.01, fit(x, onehot, 1.0))
    assert cold.converged and warm.converged
    torch.testing.assert_close(warm.weight, cold.weight, atol=1e-4, rtol=0)


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_neither_place_nor_axes_nor_length_matter(factor: float) -> None:
    """Embeddings shifted, turned and made longer give the same probabilities at the same strength."""
    points, labels = clouds(rows=200)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(5, 5)))[0]
    moved = factor * (points @ turn) + 5 * factor
    plain, other = torch.from_numpy(points), principal_axes(moved)
    one, two = (fit(x, one_hot(labels), 0.03) for x in (plain, other))
    p, q = (torch.softmax(x @ f.weight + f.bias, 1) for x, f in ((plain, one), (other, two)))
    assert one.converged and two.converged
    torch.testing.assert_close(p, q, atol=1e-5, rtol=0)


def test_a_fit_that_ends_early_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    points, labels = clouds(rows=200)
    monkeypatch.setattr(transfer, "MAX_ITERATIONS", 2)
    found = fit(torch.from_numpy(points), one_hot(labels), 0.003)
    assert not found.converged and found.gradient > TOLERANCE
    outcome = TransferTask(points, labels).cross_validate()
    assert outcome.unconverged == outcome.fits > 0


@pytest.mark.parametrize(("k", "seed"), [(10, 1111), (5, 1111), (3, 7)])
def test_folds(k: int, seed: int) -> None:
    labels = np.array([0] * 47 + [1] * 31 + [2] * 5 + [1] * 20)
    fold = stratified_folds(labels, k, seed)
    sizes = np.bincount(fold, minlength=k)
    assert sizes.sum() == len(labels) and sizes.max() - sizes.min() <= 1
    for label in range(3):
        of_class = np.bincount(fold[labels == label], minlength=k)
        assert of_class.max() - of_class.min() <= 1
    assert (fold == stratified_folds(labels, k, seed)).all()
    assert (fold != stratified_folds(labels, k, seed + 1)).any()


def test_folds_stay_what_they_are() -> None:
    """Whatever would change them would change every recorded number."""
    assert stratified_folds(np.array([0, 1, 0, 1, 1, 0, 0, 1, 2, 2]), 3, 1111).tolist() == FROZEN


FROZEN = [2, 1, 0, 1, 2, 0, 1, 0, 0, 2]


def test_cross_validation_tests_each_row_once_by_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are trained on are never those tested on, and the strength is chosen without the tested rows."""
    points, labels = clouds(rows=40, classes=2)
    seen: list[int] = []
    plain_fit, plain_choose = TransferTask._fit, TransferTask._choose
    chosen_on: list[set[int]] = []

    def choose(self, parts):
        parts = list(parts)
        assert len(parts) == INNER and all(not set(train) & set(test) for train, test in parts)
        chosen_on.append({row for part in parts for rows in part for row in rows})
        return plain_choose(self, parts)

    def fit_once(self, train, l2):
        assert set(train) == chosen_on[-1] and l2 in STRENGTHS
        seen.extend(set(range(40)) - set(train))
        return plain_fit(self, train, l2)

    monkeypatch.setattr(TransferTask, "_choose", choose)
    monkeypatch.setattr(TransferTask, "_fit", fit_once)
    outcome = TransferTask(points, labels).cross_validate()
    assert sorted(seen) == list(range(40))
    assert outcome.fits == FOLDS * (INNER * len(STRENGTHS) + 1) and outcome.unconverged == 0
    assert outcome.accuracy == pytest.approx(np.mean(outcome.accuracies))
    assert outcome.accuracy == pytest.approx((outcome.predicted == labels).mean())  # 4 rows a fold
    assert outcome.deviation == pytest.approx(np.std(outcome.accuracies, ddof=1))


def test_the_protocols_of_given_parts() -> None:
    """Test labels that cannot be learned give no more than chance, and are predicted from train alone."""
    points, labels = clouds(rows=90, classes=2)
    train, dev, test = np.arange(50), np.arange(50, 70), np.arange(70, 90)
    other = labels.copy()
    other[70:] = 1 - other[70:]
    for run in (
        lambda task: task.train_dev_test(train, dev, test),
        lambda task: task.train_test(train, test),
    ):
        outcome, wrong = (run(TransferTask(points, given)) for given in (labels, other))
        assert outcome.predicted.tolist() == wrong.predicted.tolist() and outcome.strengths == wrong.strengths
        assert outcome.accuracy == pytest.approx(1 - wrong.accuracy) and len(outcome.predicted) == 20
        assert math.isnan(outcome.deviation) and outcome.accuracy > 0.6
    assert TransferTask(points, labels).train_dev_test(train, dev, test).fits == len(STRENGTHS) + 1
    assert TransferTask(points, labels).train_test(train, test).fits == FOLDS * len(STRENGTHS) + 1


def test_of_equal_strengths_the_strongest() -> None:
    points = np.array([[-3.0], [3.0]] * 20) + np.linspace(0, 0.1, 40)[:, None]
    outcome = TransferTask(points, np.array([0, 1] * 20)).cross_validate()
    assert outcome.accuracy == 1 and outcome.usual_strength == (STRENGTHS[0], FOLDS)


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones((40, 3)), [0, 1] * 20, "the embeddings are all the same"),
        (np.full((40, 3), np.nan), [0, 1] * 20, "not finite"),
        (np.eye(6), [0, 1] * 3, "6 rows cannot be cut into 10 folds"),
    ],
)
def test_nothing_to_learn_from(features: np.ndarray, labels: list[int], message: str) -> None:
    with pytest.raises(RunError, match=message):
        TransferTask(features, labels).cross_validate()


def test_f1_by_hand() -> None:
    """Two of the three predicted are right, two of the four there are are found: 2 * 2 / (3 + 4)."""
    predicted, gold = np.array([1, 1, 1, 0, 0, 0]), np.array([1, 1, 0, 1, 1, 0])
    assert f1_of_class(predicted, gold, 1) == pytest.approx(4 / 7)
    assert f1_of_class(np.zeros(3), np.zeros(3), 1) == 0
