"""report.md: the claims first, then the tables that they rest on, then examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.analysis import compare
from experiments.analysis.bootstrap import Bootstrap, Estimate
from experiments.analysis.claims import FEWEST, Claim, number, plain, said
from experiments.analysis.compare import BUCKETS, CUTOFFS, GAP, Pair, Stratum
from experiments.analysis.failures import Failure, escaped
from experiments.analysis.features import Feature
from experiments.analysis.study import METRICS, Study

SPLIT_NOTE = (
    "A split by overlap holds still what a sparse run scores by. It tells on which questions a gap arises; it is no "
    "experiment, since any run looks worse where what it works with is scarce. Each claim alone: the command above with "
    "`--claim NAME` in place of `--output`."
)


FEWEST_ARTICLES = 20
FEW = " (so few articles that the second is rather too narrow)"


@dataclass(frozen=True)
class Findings:
    """Everything that was computed. ``strata``: of every pair, in the order of ``pairs``; ``main``: dense and sparse."""

    study: Study
    bootstrap: Bootstrap
    features: list[Feature]
    metrics: dict[str, dict[str, float | None]]
    pairs: list[Pair]
    strata: list[list[Stratum]]
    main: list[Stratum]
    claims: list[Claim]
    failures: dict[str, list[Failure]]
    command: str


def markdown(found: Findings, pictures: Mapping[str, str] | None) -> str:
    """pictures: file name -> caption; None where they could not be drawn."""
    study = found.study
    parts = [
        f"# {study.dataset.key}: who finds what",
        _introduction(found),
        _numbered(found.claims),
        _pictures(pictures),
        "## Every run\n\n" + metrics_table(found.metrics, study),
        shared_table(study),
        _pairs(found.pairs),
        _splits(found),
        _fusion(study),
        _reranking(study),
        *(_failures(title, rows, study) for title, rows in found.failures.items() if rows),
        _definitions(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    rule = "|---|" + "---:|" * (len(header) - 1)
    return "\n".join(
        ["| " + " | ".join(header) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)]
    )


def _introduction(found: Findings) -> str:
    study, bootstrap = found.study, found.bootstrap
    articles = len(set(study.article() or ()))
    roles = {
        "sparse": study.roles.sparse,
        "dense": study.roles.dense,
        "fused": study.roles.fused,
        "re-ranked": study.roles.reranked,
    }
    over = (
        f"over questions, and over the {articles} articles that they are about, since questions about one text are not "
        f"independent{FEW if articles < FEWEST_ARTICLES else ''}; where a sentence decides, 0 has to lie outside of both"
        if articles
        else "over questions (articles are not known here)"
    )
    return "\n".join(
        [
            f"{len(study):,} questions, {len(study.dataset.passages):,} passages. "
            + ", ".join(f"{role}: **{name}**" for role, name in roles.items() if name)
            + ".",
            "",
            f"Differences are followed by 95 % intervals of a paired bootstrap ({bootstrap.resamples:,} resamples, seed "
            f"{bootstrap.seed}) {over}. They are not corrected for the number of claims. Reproduce with:",
            "",
            f"    {found.command}",
            *(f"\nNote: {note}" for note in study.notes),
        ]
    )


def _numbered(claims: Sequence[Claim]) -> str:
    if not claims:
        return f"## Claims\n\nNone: nothing is said about fewer than {FEWEST} questions."
    lines = ["## Claims", "", SPLIT_NOTE, ""]
    for i, claim in enumerate(claims, start=1):
        lines.append(f"{i}. {claim.text}\n   *Counter-check:* {claim.check} (`--claim {claim.name}`)")
    return "\n".join(lines)


def _pictures(pictures: Mapping[str, str] | None) -> str:
    if pictures is None:
        return "*No pictures: matplotlib is not installed (`pip install matplotlib`).*"
    return "## Pictures\n\n" + "\n\n".join(f"{text}:\n\n![{text}]({name})" for name, text in pictures.items())


def metrics_table(metrics: Mapping[str, Mapping[str, float | None]], study: Study, draw: Any = table) -> str:
    """One row a run. R@k is the share of relevant passages among the first k; a dash: the lists end before k."""
    rows = [
        [
            name,
            f"{int(study.systems[name].covered.sum()):,}",
            *("-" if value is None else plain(value) for value in row.values()),
        ]
        for name, row in metrics.items()
    ]
    return draw(["run", "questions", *METRICS], rows)


def shared_table(study: Study) -> str:
    """The same table on the questions of all runs, where some were made for a sample."""
    where = study.both(*study.systems)
    if where.all() or not where.any():
        return ""
    metrics = {
        name: compare.metrics_of(system, where, len(study.dataset.passages))
        for name, system in study.systems.items()
    }
    rows = [[name, *("-" if x is None else plain(x) for x in row.values())] for name, row in metrics.items()]
    return (
        f"On the {where.sum():,} questions that every run was made for:\n\n{table(['run', *METRICS], rows)}"
    )


def _pairs(pairs: Sequence[Pair]) -> str:
    rows = []
    for pair in pairs:
        for k in CUTOFFS:
            shares = pair.found[k]
            total = max(1, sum(shares.values()))
            rows.append(
                [
                    f"{pair.one} / {pair.other}",
                    str(k),
                    *(f"{count:,} ({100 * count / total:.1f} %)" for count in shares.values()),
                ]
            )
    differences = [
        [f"{pair.one} - {pair.other}", *(said(estimate) for estimate in pair.gaps.values())] for pair in pairs
    ]
    header = ["pair", "at", "both", "only the first", "only the second", "neither"]
    return (
        "## Who finds what the other misses\n\n"
        + table(header, rows)
        + "\n\n"
        + table(["difference", "R@1", "R@10", GAP], differences)
    )


def _splits(found: Findings) -> str:
    """The main pair, split by every feature."""
    roles = found.study.roles
    title = {feature.name: feature.title for feature in found.features}
    rows: list[list[str]] = []
    last = ""
    for stratum in found.main:
        if stratum.feature != last:
            rows.append([f"**{title[stratum.feature]}**", *[""] * (1 + 3 * len(CUTOFFS) + 1)])
            last = stratum.feature
        shares = [
            f"{100 * stratum.found[k][kind] / max(1, stratum.count):.1f}"
            for k in CUTOFFS
            for kind in ("only one", "only other", "neither")
        ]
        rows.append([stratum.label, f"{stratum.count:,}", *shares, brief(stratum.gap)])
    header = ["", "questions"]
    for k in CUTOFFS:
        header += [f"only {roles.dense} @{k}", f"only {roles.sparse} @{k}", f"neither @{k}"]
    return (
        f"## {roles.dense} and {roles.sparse}, by question\n\nPer cent of the questions of a row; the rest is found by "
        f"both. The gap is {roles.dense} - {roles.sparse} in {GAP}. The other pairs: `splits.md`.\n\n"
        + table([*header, "gap"], rows)
    )


def brief(estimate: Estimate) -> str:
    """An estimate with its deciding interval."""
    low, high = estimate.interval
    return f"{number(estimate.value)} [{number(low)}, {number(high)}]"


def splits_file(found: Findings) -> str:
    """splits.md: every pair in every group."""
    title = {feature.name: feature.title for feature in found.features}
    parts = [f"# {found.study.dataset.key}: every pair, split by question"]
    for pair, strata in zip(found.pairs, found.strata, strict=True):
        rows = [
            [
                f"{title[s.feature]}: {s.label}",
                str(k),
                *(f"{count:,}" for count in s.found[k].values()),
                brief(s.gap) if k == CUTOFFS[0] else "",
            ]
            for s in strata
            for k in CUTOFFS
        ]
        header = [
            "questions",
            "at",
            "both",
            f"only {pair.one}",
            f"only {pair.other}",
            "neither",
            f"gap, {GAP}",
        ]
        parts.append(f"## {pair.one} and {pair.other}\n\n{table(header, rows)}")
    return "\n\n".join(parts) + "\n"


def _fusion(study: Study) -> str:
    roles = study.roles
    if not roles.fused:
        return ""
    rows = []
    for k in CUTOFFS:
        for row in compare.fusion_table(study, k):
            share = f"{100 * row['found'] / row['questions']:.1f} %" if row["questions"] else "-"
            rows.append([row["group"], str(k), f"{row['questions']:,}", f"{row['found']:,}", share])
    header = ["found by", "at", "questions", f"found by {roles.fused}", "share"]
    return f"## What {roles.fused} recovers and breaks\n\n" + table(header, rows)


def _reranking(study: Study) -> str:
    roles = study.roles
    if not roles.reranked or not roles.first_stage:
        return ""
    before, after = study.systems[roles.first_stage], study.systems[roles.reranked]
    where = before.covered & after.covered
    counts = compare.transitions(before.rank, after.rank, where)
    rows = [[name, *(f"{x:,}" for x in row)] for name, row in zip(BUCKETS, counts, strict=True)]
    moved = [
        [f"R@{k}", *(f"{x:,}" for x in compare.repairs(before.rank, after.rank, where, k).values())]
        for k in CUTOFFS
    ]
    return (
        f"## What {after.name} repairs and breaks\n\nQuestions by the rank of the right passage: row in {before.name}, "
        f"column in {after.name}, whose lists end at {after.depth}.\n\n"
        + table([f"{before.name} \\ {after.name}", *BUCKETS], rows)
        + "\n\n"
        + table(["", "repaired", "broken", "kept", "still missed"], moved)
    )


def _failures(title: str, rows: Sequence[Failure], study: Study) -> str:
    out = [f"## {title}"]
    for row in rows:
        ranks = ", ".join(f"{name} {'-' if rank is None else rank}" for name, rank in row.ranks.items())
        overlap = "-" if row.overlap is None else f"{row.overlap:.2f}"
        right, first = (
            f"{escaped(text)} ({escaped(name)})" if name else escaped(text)
            for name, text in ((row.right_title, row.right), (row.first_title, row.first))
        )
        out.append(
            f"- **{escaped(row.question)}** (overlap {overlap}; rank of the right passage: {ranks})\n"
            f"  - right: {right}\n"
            f"  - {row.run} has first: {first}"
        )
    return "\n\n".join([out[0], "\n".join(out[1:])])


def _definitions(found: Findings) -> str:
    dataset = found.study.dataset
    return "\n".join(
        [
            "## Definitions",
            "",
            "- overlap: share of the question's content words, weighted with their BM25 idf in this pool, that occur in the",
            "  right passage; words as BM25 has them, not stemmed; of Korean, pairs of neighbouring letters inside words.",
            "- rarest word: in how many passages the rarest of those words occurs, of those that occur at all.",
            "- answer position: first place in the right passage with the answer's letters.",
            "- R@k: share of a question's relevant passages among the first k; `found at k`: at least one of them is.",
            "- files, features and ranks of every question: `questions.csv`; every number: `analysis.json`.",
            "",
            "Data: " + "; ".join(f"{name} sha256 {sha256}" for name, sha256 in dataset.files.items()) + ".",
        ]
    )
