"""What a run prints: tables that fit a terminal, made of the metrics it also writes as JSON."""

import math
from collections.abc import Mapping, Sequence

RETRIEVAL = ("recall@1", "recall@5", "recall@10", "recall@20", "recall@100", "mrr@10", "ndcg@10", "map@100")
MEASURES = ("cosine", "euclidean", "manhattan", "dot")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the first to the left, the others to the right."""
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(
            str(cell).ljust(w) if i == 0 else str(cell).rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def percent(value: float | None) -> str:
    """A correlation or a share x 100 with two decimals; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.2f}"


def similarity_tables(
    metrics: Mapping[str, float], pairs: Mapping[str, int], marks: Mapping[str, str]
) -> str:
    """What a bi-encoder came to, ``*`` where a note belongs to the set. One row a set: of pairs Spearman and Pearson of
    every measure, of triplets their accuracy; of parallel and of retrieval sets a table of their own."""
    searched = {key: count for key, count in pairs.items() if f"{key}/mrr@10" in metrics}
    translated = {key: count for key, count in pairs.items() if f"{key}/accuracy_mean" in metrics}
    compared = {key: count for key, count in pairs.items() if key not in searched and key not in translated}
    rows = []
    for key, count in compared.items():
        correlated = f"{key}/spearman_cosine" in metrics
        names = [f"{kind}_{m}" for kind in ("spearman", "pearson") for m in MEASURES]
        names = names if correlated else [*(f"accuracy_{m}" for m in MEASURES), *[""] * len(MEASURES)]
        cells = [percent(metrics.get(f"{key}/{name}")) for name in names]
        rows.append([key + "*" * (key in marks), f"{count:,}", *cells])
    header = ["set", "pairs", *(f"{kind}-{measure[:4]}" for kind in ("rho", "r") for measure in MEASURES)]
    note = "rho: Spearman x 100, r: Pearson x 100 (triplet sets: accuracy x 100); cosine, -Euclidean, -Manhattan, dot"
    tables = [table(header, rows) + "\n" + note] if rows else []
    if translated:
        kinds = [name.split("/")[1] for name in metrics if name.split("/")[0] in translated]
        tables.append(metrics_table(metrics, translated, marks, list(dict.fromkeys(kinds)), "pairs"))
    if searched:
        tables.append(metrics_table(metrics, searched, marks, RETRIEVAL, "questions"))
    return "\n\n".join(tables) + notes(marks)


def metrics_table(
    metrics: Mapping[str, float],
    counts: Mapping[str, int],
    marks: Mapping[str, str],
    names: Sequence[str],
    unit: str,
) -> str:
    """One row a set, one column a metric that any of them has, x 100; thresholds as they are."""
    shown = [name for name in names if any(f"{key}/{name}" in metrics for key in counts)]
    rows = [
        [
            key + "*" * (key in marks),
            f"{count:,}",
            *(
                f"{metrics[f'{key}/{n}']:.4f}"
                if n == "f1_threshold" and f"{key}/{n}" in metrics
                else percent(metrics.get(f"{key}/{n}"))
                for n in shown
            ),
        ]
        for key, count in counts.items()
    ]
    return table(["set (x 100)", unit, *shown], rows)


def cross_tables(metrics: Mapping[str, float], pairs: Mapping[str, int], marks: Mapping[str, str]) -> str:
    """What a cross-encoder came to: one table a kind of metrics, one row a set; confusion counts of NLI sets."""
    out = []
    for names in (
        ("spearman", "pearson", "ap", "f1", "f1_threshold"),
        ("accuracy", "f1_macro"),
        ("mrr@10", "ndcg@10", "map", "base_mrr@10", "base_ndcg@10", "base_map"),
    ):
        keys = {key: count for key, count in pairs.items() if f"{key}/{names[0]}" in metrics}
        if keys:
            out.append(metrics_table(metrics, keys, marks, names, "rows"))
    return "\n\n".join(out) + confusion_tables(metrics, pairs) + notes(marks)


def confusion_tables(metrics: Mapping[str, float], pairs: Mapping[str, int]) -> str:
    """Of every NLI set: rows the gold label, columns what was said."""
    out = ""
    for key in pairs:
        found = {name: int(v) for name, v in metrics.items() if name.startswith(f"{key}/confusion/")}
        labels = list(dict.fromkeys(name.split("/")[-1] for name in found))
        if found:
            rows = [
                [gold, *(f"{found[f'{key}/confusion/{gold}/{said}']:,}" for said in labels)]
                for gold in labels
            ]
            out += "\n\n" + table([f"{key}: gold \\ said", *labels], rows)
    return out


def before_after_table(
    before: Mapping[str, float],
    after: Mapping[str, float],
    pairs: Mapping[str, int],
    marks: Mapping[str, str],
) -> str:
    """One row a set: the main metric before and after training."""
    rows = []
    for key, count in pairs.items():
        for name, label in (
            ("spearman_cosine", "Spearman"),
            ("spearman", "Spearman"),
            ("mrr@10", "MRR@10"),
            ("ndcg@10", "nDCG@10"),
            ("accuracy", "accuracy"),
            ("accuracy_cosine", "accuracy"),
            ("accuracy_mean", "accuracy"),
        ):
            metric = f"{key}/{name}"
            if metric in after:
                change = after[metric] - before[metric] if metric in before else math.nan
                rows.append(
                    [
                        key + "*" * (key in marks),
                        f"{count:,}",
                        label,
                        percent(before.get(metric)),
                        percent(after[metric]),
                        "-" if math.isnan(change) else f"{100 * change:+.2f}",
                    ]
                )
    return table(["set", "pairs", "x 100", "before", "after", "change"], rows) + notes(marks)


def notes(marks: Mapping[str, str]) -> str:
    return "".join(f"\n* {note}" for note in marks.values())
