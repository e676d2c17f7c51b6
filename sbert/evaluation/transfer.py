"""Transfer tasks: what a linear classifier reads off frozen embeddings (SBERT paper, section 5 and Table 5; SentEval).

The classifier is multinomial logistic regression with L2 on its weights and none on its bias:

    mean over rows of -log softmax(x W + b)[label]  +  l2 * s / 2 * |W|^2,     x: (N, D), W: (D, K), b: (K,)

s is the mean variance of the training rows' features, so that one grid of strengths serves embeddings of any length.
Features are not standardised: each dimension keeps its own variance, as in SentEval.

Protocol. The paper says "logistic regression, 10-fold cross-validation"; where it is silent, SentEval is followed (but
for SST-2's phrases, see data.senteval):
- one set of rows: FOLDS stratified folds; for each of them the strength is chosen by INNER-fold cross-validation on the
  other rows, the classifier is trained anew on all of these, and the accuracy is the mean over the folds.
- train, dev, test: the strength is chosen on dev, the classifier trained on train alone (SentEval does not join dev).
- train, test: the strength is chosen by FOLDS-fold cross-validation on train, then trained on all of train.
Of equally good strengths the stronger is taken. Folds are drawn with SEED, SentEval's number (its generator draws others).
SentEval chooses from other strengths, by FOLDS folds inside too, and trains with Adam and early stopping or scikit-learn's
solver; here every fit goes to the optimum of a convex function, and one that did not get there is counted.

Shape letters: N rows, D features, K classes.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from sbert.errors import RunError

STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)  # of l2, the strongest first
FOLDS, INNER, SEED = 10, 5, 1111
TOLERANCE = 1e-6  # the largest entry of the gradient at the end, in the coordinates of ``fit``
MAX_ITERATIONS = 500


@dataclass(frozen=True)
class Fit:
    """weight: (D, K), bias: (K,), float64. gradient: its largest entry at the end, in the coordinates of ``fit``."""

    weight: Tensor
    bias: Tensor
    gradient: float

    @property
    def converged(self) -> bool:
        return self.gradient <= TOLERANCE

    def predict(self, x: Tensor) -> np.ndarray:
        """x: (N, D) -> (N,) class ids; of equal scores the smaller id."""
        return (x @ self.weight + self.bias).argmax(1).numpy()


@dataclass(frozen=True)
class Outcome:
    """Accuracies (0..1) and chosen strengths, one a test part; predicted: (N,) class ids of all test rows in order."""

    accuracies: list[float]
    strengths: list[float]
    predicted: np.ndarray
    fits: int
    unconverged: int

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """Standard deviation over the folds (n - 1); nan of a single test part."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else float("nan")

    @property
    def usual_strength(self) -> tuple[float, int]:
        """The strength chosen most often, and how often."""
        return Counter(self.strengths).most_common(1)[0]


def stratified_folds(labels: np.ndarray, k: int, seed: int) -> np.ndarray:
    """(N,) class ids -> (N,) fold of every row, 0..k-1: a pure function of its arguments.

    The rows of each class are shuffled and dealt out in turn, one class after the other, so that folds differ by at
    most one row in size, and by at most one in the rows they have of a class.
    """
    shuffle = random.Random(seed).shuffle
    dealt: list[int] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label).tolist()
        shuffle(rows)
        dealt += rows
    fold = np.empty(len(labels), dtype=np.int64)
    fold[dealt] = np.arange(len(labels)) % k
    return fold


def loss_and_gradient(
    x: Tensor, onehot: Tensor, weight: Tensor, bias: Tensor, ridge: float
) -> tuple[float, Tensor, Tensor]:
    """x: (N, D), onehot: (N, K), weight: (D, K), bias: (K,) -> the loss above and its gradient in weight and bias.

    ridge: l2 * s of the formula above.
    """
    logits = torch.addmm(bias, x, weight)  # (N, K)
    log_p = torch.log_softmax(logits, dim=1)
    loss = -(log_p * onehot).sum() / len(x) + ridge / 2 * weight.square().sum()
    residual = (log_p.exp() - onehot) / len(x)
    of_weight = (residual.T @ x).T + ridge * weight  # x.T @ residual takes three times as long
    return float(loss), of_weight, residual.sum(0)


def fit(x: Tensor, onehot: Tensor, l2: float, start: Fit | None = None) -> Fit:
    """x: (N, D), onehot: (N, K), both float64 -> the optimum, by L-BFGS from ``start`` (default: zeros).

    Each row of W is sought in units in which the loss around W = 0 is about as steep in every direction (exactly so where
    the columns of x are uncorrelated, see ``principal_axes``). That changes the way there, not the optimum.
    """
    (_, d), k = x.shape, onehot.shape[1]
    variance = x.var(0, correction=0)  # (D,)
    ridge = l2 * float(variance.mean())
    units = torch.cat([(variance / k + ridge).rsqrt(), x.new_tensor([k**0.5])]).unsqueeze(1)  # (D + 1, 1)

    def split(v: np.ndarray) -> tuple[Tensor, Tensor]:
        both = units * torch.from_numpy(v).view(d + 1, k)
        return both[:d], both[d]

    def at(v: np.ndarray) -> tuple[float, np.ndarray]:
        loss, weight, bias = loss_and_gradient(x, onehot, *split(v), ridge)
        return loss, (units * torch.cat([weight, bias.unsqueeze(0)])).flatten().numpy()

    first = np.zeros((d + 1) * k)
    if start is not None:
        first = (torch.cat([start.weight, start.bias.unsqueeze(0)]) / units).flatten().numpy()
    options = {"maxiter": MAX_ITERATIONS, "maxfun": 2 * MAX_ITERATIONS, "gtol": TOLERANCE, "ftol": 0.0}
    found = minimize(at, first, jac=True, method="L-BFGS-B", options=options)
    return Fit(*split(found.x), float(np.abs(found.jac).max()))


def principal_axes(features: np.ndarray) -> Tensor:
    """(N, D) -> (N, D) float64: the rows seen from their mean, along the principal axes of all of them.

    Neither changes what is learned: the bias takes up a shift, and |W| is the same along any orthogonal axes. It makes
    ``fit`` several times as quick. Raises RunError when there is nothing to learn from.
    """
    x = torch.from_numpy(np.asarray(features)).double()
    if not torch.isfinite(x).all():
        raise RunError("the embeddings hold numbers that are not finite: nothing to train a classifier on")
    size = float(x.abs().max())
    x = x - x.mean(0)
    if float(x.abs().max()) <= 1e-6 * size:  # rounding
        raise RunError("the embeddings are all the same: nothing to train a classifier on")
    return x @ torch.linalg.eigh(x.T @ x).eigenvectors


def f1_of_class(predicted: np.ndarray, gold: np.ndarray, label: int) -> float:
    """F1 of one class, (N,) and (N,) class ids -> 0..1; 0 where neither side ever names it."""
    named = int((predicted == label).sum() + (gold == label).sum())
    return 2 * int(((predicted == label) & (gold == label)).sum()) / named if named else 0.0


class TransferTask:
    """The rows of one task, of all its parts. features: (N, D); labels: (N,) class ids."""

    def __init__(self, features: np.ndarray, labels: Sequence[int] | np.ndarray) -> None:
        self.labels = np.asarray(labels, dtype=np.int64)
        self.x = principal_axes(features)
        self.onehot = torch.nn.functional.one_hot(torch.from_numpy(self.labels)).double()
        self.fits = self.unconverged = 0

    def cross_validate(self) -> Outcome:
        """FOLDS folds, the strength of each chosen inside its training rows."""
        predicted = np.empty_like(self.labels)
        accuracies, strengths = [], []
        for train, test in self._parts(np.arange(len(self.labels)), FOLDS):
            strengths.append(self._choose(self._parts(train, INNER)))
            predicted[test] = self._fit(train, strengths[-1]).predict(self.x[test])
            accuracies.append(self._accuracy(predicted[test], test))
        return Outcome(accuracies, strengths, predicted, self.fits, self.unconverged)

    def train_dev_test(self, train: np.ndarray, dev: np.ndarray, test: np.ndarray) -> Outcome:
        """Arrays of row numbers; the strength is chosen on dev."""
        return self._once(train, test, self._choose([(train, dev)]))

    def train_test(self, train: np.ndarray, test: np.ndarray) -> Outcome:
        """Arrays of row numbers; the strength is chosen by FOLDS-fold cross-validation on train."""
        return self._once(train, test, self._choose(self._parts(train, FOLDS)))

    def _once(self, train: np.ndarray, test: np.ndarray, l2: float) -> Outcome:
        predicted = self._fit(train, l2).predict(self.x[test])
        return Outcome([self._accuracy(predicted, test)], [l2], predicted, self.fits, self.unconverged)

    def _parts(self, rows: np.ndarray, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rows to train on, rows to test on) of each of k folds."""
        if len(rows) < k:
            raise RunError(f"{len(rows)} rows cannot be cut into {k} folds")
        fold = stratified_folds(self.labels[rows], k, SEED)
        for number in range(k):
            yield rows[fold != number], rows[fold == number]

    def _choose(self, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
        """The strength that gets most rows right. Each fit starts from that of the next stronger one."""
        right = [0] * len(STRENGTHS)
        for train, test in parts:
            x, onehot, of_test = self.x[train], self.onehot[train], self.x[test]
            last: Fit | None = None
            for i, l2 in enumerate(STRENGTHS):
                last = self._counted(fit(x, onehot, l2, last))
                right[i] += int((last.predict(of_test) == self.labels[test]).sum())
        return STRENGTHS[right.index(max(right))]  # of equal ones the first

    def _fit(self, train: np.ndarray, l2: float) -> Fit:
        return self._counted(fit(self.x[train], self.onehot[train], l2))

    def _counted(self, found: Fit) -> Fit:
        self.fits += 1
        self.unconverged += not found.converged
        return found

    def _accuracy(self, predicted: np.ndarray, rows: np.ndarray) -> float:
        return float((predicted == self.labels[rows]).mean())
