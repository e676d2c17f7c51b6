"""The pictures of the report. matplotlib is no requirement: without it the report has none and says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.files import atomic_path
from experiments.analysis import compare
from experiments.analysis.bootstrap import Estimate
from experiments.analysis.compare import BUCKETS, GAP, Pair, Stratum
from experiments.analysis.features import Feature
from experiments.analysis.study import Study, System

INSTALL = "pip install matplotlib"
COLOURS = ("#1b6ca8", "#c8553d", "#4f9d69", "#8a5a9e", "#b8860b", "#555555")
SHARES = {  # kind of compare.counts -> colour and name
    "both": ("#4f9d69", "both"),
    "only one": ("#1b6ca8", "only the first"),
    "only other": ("#c8553d", "only the second"),
    "neither": ("#bbbbbb", "neither"),
}


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def draw_all(
    folder: Path, study: Study, pairs: Sequence[Pair], strata: Sequence[Stratum], features: Sequence[Feature]
) -> dict[str, str]:
    """Writes the PNG files; file name -> what it shows. strata: of dense against sparse."""
    roles = study.roles
    out = {
        "gap_by_overlap.png": (
            f"{GAP} of every run of all these questions by lexical overlap, and the gap {roles.dense} - {roles.sparse} with its 95 % interval",
            lambda figure: _gap_by_overlap(figure, study, strata, features[0]),
            (9.0, 3.8),
        ),
        "gap_by_feature.png": (
            f"The gap {roles.dense} - {roles.sparse} in {GAP} in every group of every feature, with 95 % intervals",
            lambda figure: _gap_by_feature(figure, study, strata, features),
            (7.0, 7.5),
        ),
        "who_finds_what.png": (
            "Who has the right passage at rank 1, and among the first 10",
            lambda figure: _who_finds_what(figure, pairs),
            (9.0, 1.2 + 0.42 * len(pairs)),
        ),
        "recall.png": (
            "Share of questions found at rank k",
            lambda figure: _recall(figure, study),
            (6.0, 4.0),
        ),
    }
    if roles.reranked:
        out["rank_transitions.png"] = (
            f"Where the right passage stood in {roles.first_stage} and where {roles.reranked} puts it",
            lambda figure: _transitions(figure, study),
            (6.0, 4.6),
        )
    for name, (_, draw, size) in out.items():
        _save(folder / name, draw, size)
    return {name: caption for name, (caption, _, _) in out.items()}


def _save(path: Path, draw: Callable[[Any], None], size: tuple[float, float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png", metadata={"Software": None})


def _bars(estimates: Sequence[Estimate]) -> np.ndarray:
    """(2, N): how far the interval reaches below and above each value."""
    return np.array([[e.value - e.interval[0], e.interval[1] - e.value] for e in estimates]).T.clip(min=0)


def _name(system: System) -> str:
    """With the number of questions where the run was made for a sample."""
    return system.name if system.covered.all() else f"{system.name} ({system.covered.sum():,} questions)"


def _gap_by_overlap(figure: Any, study: Study, strata: Sequence[Stratum], overlap: Feature) -> None:
    left, right = figure.subplots(1, 2)
    places = range(len(overlap.labels))
    asked = study.both(study.roles.dense, study.roles.sparse)
    for colour, system in zip(COLOURS * len(study.systems), study.systems.values(), strict=False):
        if (asked & ~system.covered).any():
            continue  # a run of a sample is not to be compared with the others' lines
        values = [
            system.metrics[GAP][mask & asked].mean() if (mask & asked).any() else np.nan
            for mask in overlap.masks
        ]
        left.plot(places, values, marker="o", color=colour, label=system.name)
    left.set(ylabel=GAP)
    left.legend(fontsize="small")
    found = [stratum.gap for stratum in strata if stratum.feature == overlap.name]
    right.errorbar(places, [e.value for e in found], yerr=_bars(found), fmt="o", capsize=4, color=COLOURS[0])
    right.axhline(0, color="black", linewidth=0.8)
    right.set(ylabel=f"{study.roles.dense} - {study.roles.sparse}, {GAP}")
    for axes in (left, right):
        axes.set_xticks(places, overlap.labels, rotation=20, fontsize="small")
        axes.set_xlabel("lexical overlap, groups of like size")
        axes.grid(alpha=0.3)


def _gap_by_feature(
    figure: Any, study: Study, strata: Sequence[Stratum], features: Sequence[Feature]
) -> None:
    axes = figure.subplots()
    title = {feature.name: feature.title for feature in features}
    height, ticks, labels = 0.0, [], []
    for name in dict.fromkeys(stratum.feature for stratum in strata):
        axes.text(
            0.0, height, title[name], fontsize="small", weight="bold", transform=axes.get_yaxis_transform()
        )
        for stratum in (s for s in strata if s.feature == name and s.count):
            height += 1
            bars = _bars([stratum.gap])
            axes.errorbar(stratum.gap.value, height, xerr=bars, fmt="o", capsize=3, color=COLOURS[0])
            ticks.append(height)
            labels.append(f"{stratum.label}  ({stratum.count:,})")
        height += 1.5
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(ticks, labels, fontsize="small")
    axes.set_ylim(height - 0.5, -1)
    axes.set_xlabel(f"{study.roles.dense} - {study.roles.sparse}, {GAP}")
    axes.grid(alpha=0.3, axis="x")


def _who_finds_what(figure: Any, pairs: Sequence[Pair]) -> None:
    panels = figure.subplots(1, len(compare.CUTOFFS), sharey=True)
    for axes, k in zip(panels, compare.CUTOFFS, strict=True):
        for row, pair in enumerate(pairs):
            start, total = 0.0, sum(pair.found[k].values())
            for kind, (colour, label) in SHARES.items():
                share = pair.found[k][kind] / max(1, total)
                axes.barh(row, share, left=start, color=colour, label=None if row else label)
                if share >= 0.03:
                    axes.text(
                        start + share / 2, row, f"{100 * share:.0f}", ha="center", va="center", color="white"
                    )
                start += share
        axes.set_yticks(range(len(pairs)), [f"{pair.one} / {pair.other}" for pair in pairs], fontsize="small")
        axes.set(xlim=(0, 1), title=f"R@{k}", xlabel="share of questions (per cent in the bars)")
    panels[0].invert_yaxis()
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small"
    )


def _recall(figure: Any, study: Study) -> None:
    axes = figure.subplots()
    for colour, system in zip(COLOURS * len(study.systems), study.systems.values(), strict=False):
        curve = compare.recall_curve(system, system.covered, max(1, min(100, system.depth)))
        axes.plot(range(1, len(curve) + 1), curve, color=colour, label=_name(system))
    axes.set(xscale="log", xlabel="k", ylabel="share of questions found at k")
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _transitions(figure: Any, study: Study) -> None:
    roles = study.roles
    before, after = study.systems[roles.first_stage or ""], study.systems[roles.reranked or ""]
    table = compare.transitions(before.rank, after.rank, before.covered & after.covered)
    axes = figure.subplots()
    axes.imshow(np.log1p(table), cmap="Blues")
    for (i, j), count in np.ndenumerate(table):
        dark = np.log1p(count) > 0.6 * np.log1p(table.max())
        axes.text(j, i, f"{count:,}", ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(BUCKETS)), BUCKETS, fontsize="small")
    axes.set_yticks(range(len(BUCKETS)), BUCKETS, fontsize="small")
    axes.set(xlabel=f"rank in {after.name}", ylabel=f"rank in {before.name}")
