"""Intervals by the paired bootstrap: questions drawn with replacement, and whole articles drawn with replacement.

Questions about the same article are alike, so they say less than as many independent ones would; the interval over
articles (a cluster bootstrap; Field and Welsh 2007) allows for that. A difference of two systems is paired: each draw
holds both results of a question.

Every statistic here is a function of sums over the questions drawn: a mean is a sum of values over a sum of ones.
Questions whose values are the same are exchangeable, so a draw of Q questions is a multinomial draw of how often each
distinct row occurs, which is the same bootstrap without Q x resamples numbers.

Shape letters: Q questions, S sums, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RESAMPLES, SEED = 10_000, 0
TAILS = (0.025, 0.975)
CHUNK = 2**22  # numbers held at once by one multinomial draw

Statistic = Callable[[np.ndarray], np.ndarray]  # sums (..., S) -> (...)
Interval = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % intervals; ``articles`` is None where articles are not known. NaN: nothing to average."""

    value: float
    questions: Interval
    articles: Interval | None
    count: int  # questions that it rests on

    @property
    def interval(self) -> Interval:
        """The one to decide by: from the lower to the upper end of both. Of few articles there are few draws, which can
        lie closer together than those of questions."""
        low, high = zip(self.questions, self.articles or self.questions, strict=True)
        return float(np.fmin(*low)), float(np.fmax(*high))

    @property
    def sign(self) -> int:
        """1 or -1 where ``interval`` lies above or below 0; 0 where it holds 0 or there is none."""
        low, high = self.interval
        return int(low > 0) - int(high < 0)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Bootstrap:
    """Draws over ``count`` questions; ``clusters``: the article of each, or None. The same seed, the same intervals."""

    def __init__(
        self, count: int, clusters: Sequence[str] | None = None, resamples: int = RESAMPLES, seed: int = SEED
    ) -> None:
        self.count, self.resamples, self.seed = count, resamples, seed
        self.cluster: np.ndarray | None = None
        if clusters is not None:
            self.cluster = np.unique(np.array(clusters), return_inverse=True)[1]

    def estimate(
        self, columns: np.ndarray, statistics: Sequence[Statistic], used: Sequence[int]
    ) -> list[Estimate]:
        """columns: (Q, S), summed over each draw. used: of each statistic, how many questions it rests on.

        All statistics see the same draws.
        """
        observed = columns.sum(axis=0)
        by_question = self._draw(*np.unique(columns, axis=0, return_counts=True))
        by_article = None
        if self.cluster is not None:
            of_articles = np.zeros((int(self.cluster.max()) + 1, columns.shape[1]))
            np.add.at(of_articles, self.cluster, columns)
            by_article = self._draw(
                of_articles, np.ones(len(of_articles), dtype=int)
            )  # the same draws every time
        return [
            Estimate(
                float(_quietly(statistic, observed)),
                _interval(_quietly(statistic, by_question)),
                None if by_article is None else _interval(_quietly(statistic, by_article)),
                count,
            )
            for statistic, count in zip(statistics, used, strict=True)
        ]

    def mean(self, values: np.ndarray, where: np.ndarray | None = None) -> Estimate:
        """values (Q,) -> their mean over the questions in ``where`` (Q,) bool, all of them by default."""
        return self.means(values, [np.ones(self.count, dtype=bool) if where is None else where])[0]

    def means(self, values: np.ndarray, masks: Sequence[np.ndarray]) -> list[Estimate]:
        """values (Q,) -> the mean over the questions of each mask (Q,) bool."""
        columns, used = _columns([values] * len(masks), masks)
        return self.estimate(columns, [ratio(i) for i in range(len(masks))], used)

    def difference(
        self,
        one: tuple[np.ndarray, np.ndarray],
        other: tuple[np.ndarray, np.ndarray],
        strata: Sequence[np.ndarray] | None = None,
    ) -> Estimate:
        """Mean of ``one`` minus mean of ``other``, each (values (Q,), mask (Q,) bool).

        strata: masks (Q,) bool; the difference is taken inside each and averaged, each counted equally. Those
        without questions of both kinds are left out.
        """
        strata = [np.ones(self.count, dtype=bool)] if strata is None else strata
        kept = [s for s in strata if (one[1] & s).any() and (other[1] & s).any()]
        masks = [mask & s for s in kept for mask in (one[1], other[1])]
        columns, used = _columns([values for _ in kept for values in (one[0], other[0])], masks)

        def statistic(sums: np.ndarray) -> np.ndarray:
            if not kept:
                return np.full(sums.shape[:-1], np.nan)
            means = [ratio(i)(sums) for i in range(len(masks))]
            return np.mean([a - b for a, b in zip(means[::2], means[1::2], strict=True)], axis=0)

        return self.estimate(columns, [statistic], [sum(used)])[0]

    def standardised(
        self, values: np.ndarray, where: np.ndarray, strata: Sequence[np.ndarray]
    ) -> tuple[Estimate, Estimate]:
        """values (Q,), where and strata (Q,) bool -> their mean over ``where`` with the strata counted equally; and the
        plain mean minus that one, which is what the mix of strata makes of it. Every stratum needs questions."""
        masks = [where, *(where & s for s in strata)]
        columns, used = _columns([values] * len(masks), masks)

        def equal(sums: np.ndarray) -> np.ndarray:
            return np.mean([ratio(i)(sums) for i in range(1, len(masks))], axis=0)

        statistics = [equal, lambda sums: ratio(0)(sums) - equal(sums)]
        matched, mix = self.estimate(columns, statistics, [sum(used[1:]), used[0]])
        return matched, mix

    def _draw(self, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """rows (N, S), each occurring ``counts`` (N,) times -> (R, S) sums of as many rows drawn with replacement."""
        total = counts.sum()
        random = np.random.default_rng(self.seed)
        step = max(1, CHUNK // len(rows))
        sizes = [min(step, self.resamples - start) for start in range(0, self.resamples, step)]
        return np.concatenate([random.multinomial(total, counts / total, size) @ rows for size in sizes])


def ratio(i: int) -> Statistic:
    """The mean of the i-th (values, mask) of ``_columns``."""
    return lambda sums: sums[..., 2 * i] / sums[..., 2 * i + 1]


def _columns(values: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Of each mask two columns, the values where it holds and ones where it holds: (Q, 2 * masks); and its size."""
    count = len(values[0]) if values else 1
    columns = np.zeros((count, 2 * len(masks)))
    for i, (row, mask) in enumerate(zip(values, masks, strict=True)):
        columns[:, 2 * i] = np.where(mask, row, 0.0)
        columns[:, 2 * i + 1] = mask
    return columns, [int(mask.sum()) for mask in masks]


def _quietly(statistic: Statistic, sums: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return statistic(sums)


def _interval(draws: np.ndarray) -> Interval:
    """Percentiles of the draws; one that holds no question of the stratum says nothing and is left out."""
    kept = draws[~np.isnan(draws)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.quantile(kept, TAILS)
    return float(low), float(high)
