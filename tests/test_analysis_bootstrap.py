"""Intervals of the analysis: against the binomial, against every possible resample, and over articles."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom

from experiments.analysis.bootstrap import Bootstrap, Estimate


def test_a_share_is_the_binomial() -> None:
    """Drawing 40 of 40 questions, 13 of them found, is 40 throws of a coin of 13 / 40."""
    found = np.array([1.0] * 13 + [0.0] * 27)
    estimate = Bootstrap(40, resamples=40_000).mean(found)
    expected = binom.ppf([0.025, 0.975], 40, 13 / 40) / 40
    assert estimate.value == 13 / 40 and estimate.count == 40 and estimate.articles is None
    np.testing.assert_allclose(estimate.questions, expected, atol=1e-12)


def test_a_group_is_every_possible_resample() -> None:
    """Of 5 questions 3 are in the group; all 3,125 equally likely draws, those without one of the group left out."""
    values, where = np.array([0.5, -1.0, 0.25, 9.0, 9.0]), np.array([True, True, True, False, False])
    means = []
    for draw in itertools.product(range(5), repeat=5):
        inside = [values[i] for i in draw if where[i]]
        means += [np.mean(inside)] if inside else []
    estimate = Bootstrap(5, resamples=100_000).mean(values, where)
    assert estimate.value == pytest.approx(-0.25 / 3) and estimate.count == 3
    np.testing.assert_allclose(estimate.questions, np.quantile(means, [0.025, 0.975]), atol=1e-9)


def test_articles_are_drawn_whole() -> None:
    """Two articles of like questions: of the draws (a a), (a b), (b a), (b b) each end has a quarter."""
    values = np.array([1.0, 1.0, 1.0, 0.0])
    estimate = Bootstrap(4, ["a", "a", "a", "b"]).mean(values)
    assert estimate.value == 0.75 and estimate.articles == (0.0, 1.0) == estimate.interval
    assert estimate.questions == (0.25, 1.0)  # binomial of 4 with 3 / 4: 2.5 % at one, 97.5 % at four
    wide = Bootstrap(4, ["a", "b", "c", "d"]).mean(values)
    assert wide.articles == wide.questions  # each question an article of its own


def test_differences_and_strata_by_hand() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.5])
    one = np.array([True, True, False, True, False, False])
    first = np.array([True, True, True, False, False, False])
    bootstrap = Bootstrap(6, resamples=200)
    # plain: (1 + 0 + 1) / 3 - (1 + 0 + .5) / 3; strata: (.5 - 1) and (1 - .25), whose mean is .125
    assert bootstrap.difference((values, one), (values, ~one)).value == pytest.approx(2 / 3 - 0.5)
    matched = bootstrap.difference((values, one), (values, ~one), [first, ~first])
    assert matched.value == pytest.approx(0.125) and matched.count == 6
    # a stratum of one kind of questions only is left out
    lone = bootstrap.difference((values, one), (values, ~one), [first, one & ~first])
    assert lone.value == pytest.approx(-0.5) and lone.count == 3
    none = bootstrap.difference((values, one), (values, ~one), [one])
    assert np.isnan(none.value) and none.sign == 0 and none.count == 0
    # one question of 1.0 and five of mean .5, each group counted by half
    small = np.array([True, False, False, False, False, False])
    equal, mix = bootstrap.standardised(values, np.ones(6, dtype=bool), [small, ~small])
    assert (equal.value, mix.value) == (pytest.approx((1 + 0.5) / 2), pytest.approx(3.5 / 6 - 0.75))


def test_pairs_stay_together() -> None:
    """A difference that is the same for every question has no spread, however far the questions differ."""
    a = np.array([0.1, 0.9, 0.4, 0.7])
    estimate = Bootstrap(4).mean((a + 0.05) - a)
    assert estimate.questions == (pytest.approx(0.05), pytest.approx(0.05)) and estimate.sign == 1


def test_the_seed_decides_and_nothing_else() -> None:
    values = np.random.default_rng(1).normal(size=50)
    one, again, other = (Bootstrap(50, resamples=300, seed=seed).mean(values) for seed in (3, 3, 4))
    assert one == again and one.questions != other.questions
    bootstrap = Bootstrap(50, resamples=300, seed=3)
    bootstrap.mean(-values)
    assert bootstrap.mean(values) == one  # whatever was computed before


@pytest.mark.parametrize(
    ("questions", "articles", "sign"),
    [
        ((0.1, 0.2), None, 1),
        ((-0.2, -0.1), None, -1),
        ((-0.1, 0.1), None, 0),
        ((0.1, 0.2), (-0.1, 0.3), 0),
        ((-0.1, 0.2), (0.1, 0.1), 0),  # of one article: no width, and nothing to go by
        ((0.1, 0.3), (0.2, 0.4), 1),
        ((0.1, 0.2), (math.nan, math.nan), 1),
    ],
)
def test_a_difference_lies_outside_of_both_intervals(
    questions: tuple[float, float], articles: tuple[float, float] | None, sign: int
) -> None:
    assert Estimate(0.0, questions, articles, 9).sign == sign
