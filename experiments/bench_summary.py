"""What is said of repeated measurements: median, smallest, largest, spread; and the table of a benchmark."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from sbert.report import percent, table

UNITS = {"encode": "sentences/s", "train": "examples/s", "rerank": "pairs/s"}
SIDES = ("ours", "peer")


def summary(values: Sequence[float]) -> dict[str, float]:
    """{"median", "min", "max", "spread"}; spread = (max - min) / median, so 0.1 is ten per cent."""
    median = statistics.median(values)
    return {
        "median": median,
        "min": min(values),
        "max": max(values),
        "spread": (max(values) - min(values)) / median,
    }


def summarize(rounds: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """rounds: one {"ours": measurement, "peer": measurement} a round (no "peer" when ours runs alone).

    Gives per side the summary of its "per_second" and the range of its quality, and under "ratio" the summary of
    ours / peer, taken round by round: the two of a round ran one after the other, so what slows the machine for a
    while slows both.
    """
    out: dict[str, Any] = {}
    for side in SIDES:
        found = [r[side] for r in rounds if side in r]
        if found:
            quality = [m["quality"] for m in found]
            out[side] = {
                **summary([m["per_second"] for m in found]),
                "quality": {"median": statistics.median(quality), "min": min(quality), "max": max(quality)},
            }
    ratios = [r["ours"]["per_second"] / r["peer"]["per_second"] for r in rounds if "peer" in r]
    if ratios:
        out["ratio"] = {**summary(ratios), "rounds": ratios}
    return out


def against_default(cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Ours in half precision over the peer in fp32, which is its default, round by round: {"stsb bf16": their summary}."""
    default = {
        c["task"]: [r["peer"]["per_second"] for r in c["rounds"]]
        for c in cells
        if c["precision"] == "fp32" and c["backend"] == "torch" and "peer" in c["summary"]
    }
    return {
        f"{c['task']} {c['precision']}": summary(
            [r["ours"]["per_second"] / peer for r, peer in zip(c["rounds"], default[c["task"]], strict=True)]
        )
        for c in cells
        if c["precision"] != "fp32" and c["backend"] == "torch" and c["task"] in default
    }


def bench_table(
    what: str, cells: Sequence[Mapping[str, Any]], over_default: Mapping[str, float | Mapping[str, float]]
) -> str:
    """One row a cell (task and precision) and side; the ratio stands in the row of ours.

    over_default: what against_default gave. Older records, whose cells did not take turns, hold ratios of medians.
    """
    header = ["task", "precision", "side", UNITS[what], "min", "max", "ours / peer", "min", "max", "Spearman"]
    rows = []
    for cell in cells:
        found = cell["summary"]
        for side in SIDES:
            if side not in found:
                continue
            ratio = found.get("ratio") if side == "ours" else None
            rows.append(
                [
                    cell["task"],
                    cell["precision"],
                    side if cell["backend"] == "torch" or side == "ours" else f"peer, {cell['backend']}",
                    *(f"{found[side][name]:,.1f}" for name in ("median", "min", "max")),
                    *(f"{ratio[name]:.2f}" if ratio else "-" for name in ("median", "min", "max")),
                    percent(found[side]["quality"]["median"]),
                ]
            )
    measured = ", ".join(dict.fromkeys(cell["quality_of"] for cell in cells))
    more = "".join(
        f"\nours, {cell}, over the peer's default (fp32): {_with_range(ratio)}"
        for cell, ratio in over_default.items()
    )
    more += "".join(f"\n{limit_line(cell)}" for cell in cells if "limit" in cell)
    return f"{table(header, rows)}\n\nSpearman x 100: {measured}, median of the rounds{more}"


def _with_range(ratio: float | Mapping[str, float]) -> str:
    if isinstance(ratio, Mapping):
        return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
    return f"{ratio:.2f}, of medians that were taken one after the other"


def limit_line(cell: Mapping[str, Any]) -> str:
    """What share of the machine's limit ours reached, and what the time of a sample of the work went to. Shares are of the time
    without the profiler; where the profiled run took longer, of that."""
    whole = max(1.0, sum(cell["profile"].values()))
    groups = ", ".join(
        f"{name} {100 * share / whole:.0f} %"
        for name, share in cell["profile"].items()
        if share / whole >= 0.01
    )
    limit = cell["limit"]
    rate = limit["gflop"] / limit["seconds"]
    return (
        f"ours, {cell['task']} {cell['precision']}: {100 * cell['share_of_limit']:.0f} % of the limit, its matrix products "
        f"at {rate:,.0f} GFLOP/s; its time: {groups}"
    )
