"""Who finds what: tables of counts and differences that the report prints and the claims rest on.

A run finds a question "at k" when a relevant passage is among its first k.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.analysis.bootstrap import Bootstrap, Estimate
from experiments.analysis.features import Feature
from experiments.analysis.study import METRICS, NOT_FOUND, Study, System

CUTOFFS = (1, 10)  # where "finds" is looked at
GAP = "MRR@10"  # what a gap is measured in
BUCKETS = ("1", "2 to 5", "6 to 10", "11 to 20", "21 to 100", "not found")
EDGES = (2, 6, 11, 21, 101)


@dataclass(frozen=True)
class Pair:
    """One run against another on the questions that both were made for; differences are ``one`` minus ``other``."""

    one: str
    other: str
    where: np.ndarray  # (Q,) bool
    found: dict[int, dict[str, int]]  # cutoff -> both, only one, only other, neither
    gaps: dict[str, Estimate]  # R@1, R@10, MRR@10


@dataclass(frozen=True)
class Stratum:
    """One pair in one group of a feature."""

    feature: str
    label: str
    count: int
    found: dict[int, dict[str, int]]
    gap: Estimate


def metrics_of(system: System, where: np.ndarray, passages: int) -> dict[str, float | None]:
    """Means over the questions in ``where``; None for R@k where lists end before k and the pool goes on."""
    out: dict[str, float | None] = {}
    for name in METRICS:
        k = int(name.partition("@")[2])
        short = system.depth < min(k, passages)
        out[name] = None if short or not where.any() else float(system.metrics[name][where].mean())
    return out


def counts(one: np.ndarray, other: np.ndarray, where: np.ndarray) -> dict[str, int]:
    """one, other: (Q,) bool, whether found. Within ``where``: both, only one of them, neither."""
    return {
        "both": int((one & other & where).sum()),
        "only one": int((one & ~other & where).sum()),
        "only other": int((~one & other & where).sum()),
        "neither": int((~one & ~other & where).sum()),
    }


def found_by(study: Study, one: str, other: str, where: np.ndarray) -> dict[int, dict[str, int]]:
    """``counts`` at every cutoff."""
    a, b = study.systems[one].rank, study.systems[other].rank
    return {k: counts(a <= k, b <= k, where) for k in CUTOFFS}


def gap(study: Study, one: str, other: str, metric: str = GAP) -> np.ndarray:
    """(Q,) difference of a metric, question by question."""
    return study.systems[one].metrics[metric] - study.systems[other].metrics[metric]


def pairs(study: Study, bootstrap: Bootstrap) -> list[Pair]:
    """Every two runs, in the order given: the later minus the earlier."""
    out = []
    for other, one in itertools.combinations(study.systems, 2):
        where = study.both(one, other)
        gaps = {name: bootstrap.mean(gap(study, one, other, name), where) for name in ("R@1", "R@10", GAP)}
        out.append(Pair(one, other, where, found_by(study, one, other, where), gaps))
    return out


def strata(study: Study, bootstrap: Bootstrap, pair: Pair, features: list[Feature]) -> list[Stratum]:
    """A pair in every group of every feature."""
    difference = gap(study, pair.one, pair.other)
    out = []
    for feature in features:
        masks = [mask & pair.where for mask in feature.masks]
        for label, mask, estimate in zip(
            feature.labels, masks, bootstrap.means(difference, masks), strict=True
        ):
            found = found_by(study, pair.one, pair.other, mask)
            out.append(Stratum(feature.name, label, int(mask.sum()), found, estimate))
    return out


def buckets(rank: np.ndarray) -> np.ndarray:
    """(Q,) ranks -> (Q,) indices of BUCKETS; below rank 100 counts as not found."""
    return np.digitize(rank, EDGES)


def transitions(before: np.ndarray, after: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(Q,) ranks of two runs -> (6, 6) counts of questions: row the bucket before, column after."""
    table = np.zeros((len(BUCKETS), len(BUCKETS)), dtype=int)
    np.add.at(table, (buckets(before[where]), buckets(after[where])), 1)
    return table


def reordered_depth(before: System, after: System, where: np.ndarray) -> int:
    """How many leading passages were re-ordered: past it the lists of both runs are the same, or end."""
    deepest = 0
    for i in np.flatnonzero(where):
        a, b = before.ids[i], after.ids[i]
        if a != b:
            deepest = max(
                deepest,
                *(place for place, (x, y) in enumerate(zip(a, b, strict=False), start=1) if x != y),
                0,
            )
    return deepest


def repairs(before: np.ndarray, after: np.ndarray, where: np.ndarray, k: int) -> dict[str, int]:
    """What a later stage does at cutoff k: repaired (missed before, found after), broken, kept, still missed."""
    found = counts(after <= k, before <= k, where)
    return {
        "repaired": found["only one"],
        "broken": found["only other"],
        "kept": found["both"],
        "still missed": found["neither"],
    }


def fusion_table(study: Study, k: int) -> list[dict[str, Any]]:
    """Of the questions that sparse and dense find or miss at k, how many the fused run finds at k."""
    roles = study.roles
    assert roles.fused is not None
    where = study.both(roles.sparse, roles.dense, roles.fused)
    sparse, dense, fused = (
        study.systems[name].rank <= k for name in (roles.sparse, roles.dense, roles.fused)
    )
    groups = {
        "both find it": sparse & dense,
        f"only {roles.sparse}": sparse & ~dense,
        f"only {roles.dense}": ~sparse & dense,
        "neither": ~sparse & ~dense,
    }
    return [
        {"group": name, "questions": int((mask & where).sum()), "found": int((mask & where & fused).sum())}
        for name, mask in groups.items()
    ]


def first_article(study: Study, name: str) -> np.ndarray | None:
    """(Q,) bool: whether the passage ranked first is of the right article; None where articles are not known."""
    own = study.article()
    if own is None:
        return None
    titles = [passage.title for passage in study.dataset.passages]
    ids = study.systems[name].ids
    return np.array([bool(row) and titles[row[0]] == title for row, title in zip(ids, own, strict=True)])


def share_of_articles(study: Study, values: np.ndarray, where: np.ndarray) -> tuple[int, int, int] | None:
    """(below 0, above 0, all): articles by the sign of the mean of ``values`` (Q,) over their questions."""
    own = study.article()
    if own is None:
        return None
    titles = np.array(own)
    means = np.array([values[where & (titles == title)].mean() for title in np.unique(titles[where])])
    return int((means < 0).sum()), int((means > 0).sum()), len(means)


def recall_curve(system: System, where: np.ndarray, deepest: int) -> np.ndarray:
    """(deepest,) share of questions found at 1, 2, ... (a question with several relevant passages: any of them)."""
    ranks = system.rank[where]
    return np.array([(ranks <= k).mean() for k in range(1, deepest + 1)])


def rank_text(rank: int, depth: int) -> str:
    """A rank as a report writes it."""
    return f"not in the first {depth}" if rank >= NOT_FOUND else str(rank)
