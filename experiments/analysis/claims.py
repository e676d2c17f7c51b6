"""What a claim is and how its numbers become words: the sentences say what the numbers say, whichever way they point.

A claim is an effect with its intervals, a sentence chosen by the sign of the interval (above 0, below 0, or 0 inside:
"no difference that can be told from chance"), and a counter-check: the same effect where another explanation is shut
out, with a verdict computed the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiments.analysis import compare
from experiments.analysis.bootstrap import Bootstrap, Estimate
from experiments.analysis.features import Facts, Feature
from experiments.analysis.study import Study

FEWEST = 30  # questions a group needs before anything is said about it


@dataclass(frozen=True)
class Claim:
    """``name`` is what --claim takes. ``numbers``: every estimate that the sentences quote."""

    name: str
    text: str
    effect: Estimate
    check: str
    numbers: dict[str, Estimate] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        numbers = {name: estimate.as_json() for name, estimate in self.numbers.items()}
        return {
            "name": self.name,
            "claim": self.text,
            "effect": self.effect.as_json(),
            "check": self.check,
            "numbers": numbers,
        }


@dataclass(frozen=True)
class Grounds:
    """What every claim is made from."""

    study: Study
    bootstrap: Bootstrap
    facts: Facts
    features: dict[str, Feature]

    @property
    def names(self) -> tuple[str, str]:
        """(dense, sparse)"""
        return self.study.roles.dense, self.study.roles.sparse

    @property
    def where(self) -> np.ndarray:
        """(Q,) bool: questions of both."""
        return self.study.both(*self.names)

    @property
    def gap(self) -> np.ndarray:
        """(Q,) dense - sparse."""
        return compare.gap(self.study, *self.names)


def said(estimate: Estimate) -> str:
    """An estimate and its intervals: ``-.0941 [-.1016, -.0866; articles -.1160, -.0730]``."""
    if math.isnan(estimate.value):
        return "not known"
    low, high = (number(x) for x in estimate.questions)
    over = ""
    if estimate.articles is not None:
        over = "; articles {}, {}".format(*(number(x) for x in estimate.articles))
    return f"{number(estimate.value)} [{low}, {high}{over}]"


def number(value: float) -> str:
    """Four decimals with a sign and no leading 0."""
    return f"{value:+.4f}".replace("+0.", "+.").replace("-0.", "-.")


def plain(value: float) -> str:
    """Four decimals without a sign."""
    return f"{value:.4f}".replace("0.", ".", 1) if 0 <= value < 1 else f"{value:.4f}"


def by_sign(estimate: Estimate, below: str, level: str, above: str) -> str:
    """The words for the sign of the interval."""
    return (level, above, below)[estimate.sign]


def verdict(effect: Estimate, check: Estimate) -> str:
    """Whether a counter-check bears an effect out."""
    if math.isnan(check.value):
        return "no group holds questions of both kinds"
    if effect.sign == 0:
        return "no difference here either" if check.sign == 0 else "here there is one"
    if check.sign == effect.sign:
        return "it holds"
    return "it fades: 0 is within the interval" if check.sign == 0 else "it turns round"


def groups_check(estimates: Sequence[Estimate], below: str, above: str) -> str:
    """``+.02 (80), -.01 (160), ...; ABOVE in 1 and BELOW in 0 of 2, by the interval``: an effect in each group of a feature,
    with its number of questions; nothing is said about a group of fewer than FEWEST."""
    told = [e for e in estimates if e.count >= FEWEST]
    values = ", ".join(
        f"{number(e.value)} ({e.count:,})" if e.count >= FEWEST else f"too few ({e.count:,})"
        for e in estimates
    )
    signs = [sum(e.sign == sign for e in told) for sign in (-1, 1)]
    return f"{values}; {below} in {signs[0]} and {above} in {signs[1]} of {len(told)}, by the interval."


def share(estimate: Estimate) -> str:
    """A share with its deciding interval, without signs."""
    low, high = estimate.interval
    return f"{plain(estimate.value)} [{plain(low)}, {plain(high)}]"
