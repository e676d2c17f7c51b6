"""Claims: what dense retrieval finds that sparse does not, and what fusing and re-ranking make of both."""

from __future__ import annotations

import numpy as np

from experiments.analysis import compare
from experiments.analysis.claims import (
    FEWEST,
    Claim,
    Grounds,
    by_sign,
    groups_check,
    plain,
    said,
    share,
    verdict,
)
from experiments.analysis.compare import GAP


def adds_claim(g: Grounds) -> Claim | None:
    """What dense finds of what sparse misses, against what it finds of all; counter-checks: the same the other way round,
    and five of each against the first ten of one. (That the better run makes up more of the other's misses than the other
    way round says only that it is the better.)"""
    dense, sparse = g.names
    d, s = (g.study.systems[name].rank for name in g.names)
    missed = {sparse: (s > 1) & g.where, dense: (d > 1) & g.where}
    if min(mask.sum() for mask in missed.values()) < FEWEST:
        return None
    rescued = g.bootstrap.mean((d <= 1).astype(float), missed[sparse])
    converse = g.bootstrap.mean((s <= 1).astype(float), missed[dense])
    effect = g.bootstrap.difference(
        ((d <= 1).astype(float), missed[sparse]), ((d <= 1).astype(float), g.where)
    )
    back = g.bootstrap.difference(((s <= 1).astype(float), missed[dense]), ((s <= 1).astype(float), g.where))
    better = sparse if (s <= 10)[g.where].sum() >= (d <= 10)[g.where].sum() else dense
    five = ((d <= 5) | (s <= 5)).astype(float) - (g.study.systems[better].rank <= 10)
    budget = g.bootstrap.mean(five, g.where)
    text = (
        f"Of the {rescued.count:,} questions that {sparse} does not have at rank 1, {dense} has {share(rescued)}; of "
        f"the {converse.count:,} that {dense} does not have, {sparse} has {share(converse)}. What {sparse} misses is "
        f"{by_sign(effect, 'harder', 'no harder and no easier', 'easier')} for {dense} than all questions are, of which it "
        f"has {plain(float((d <= 1)[g.where].mean()))}: {said(effect)}."
    )
    check = (
        f"the other way round {said(back)}: {verdict(effect, back)}; ten passages, five of each, hold the right one {by_sign(budget, 'less', 'no more and no less', 'more')} often "
        f"than the first ten of {better}, the better alone: {said(budget)}."
    )
    numbers = {
        "dense of sparse's": rescued,
        "sparse of dense's": converse,
        "dense, missed - all": effect,
        "sparse, missed - all": back,
        "budget": budget,
    }
    return Claim("adds", text, effect, check, numbers)


def where_claim(g: Grounds) -> Claim | None:
    """Overlap of the questions that dense alone gets right, against those that sparse alone gets right."""
    dense, sparse = g.names
    d, s = (g.study.systems[name].rank <= 1 for name in g.names)
    known = g.where & ~np.isnan(g.facts.overlap)
    overlap = np.nan_to_num(g.facts.overlap)
    only = [(overlap, d & ~s & known), (overlap, s & ~d & known)]
    if min(mask.sum() for _, mask in only) < FEWEST:
        return None
    effect = g.bootstrap.difference(only[0], only[1])
    matched = g.bootstrap.difference(only[0], only[1], g.features["question_words"].masks)
    means = [float(values[mask].mean()) for values, mask in only]
    text = (
        f"The {int(only[0][1].sum()):,} questions that only {dense} has at rank 1 share "
        f"{by_sign(effect, 'less', 'neither less nor more', 'more')} with their passage than the "
        f"{int(only[1][1].sum()):,} that only {sparse} has: overlap {plain(means[0])} against {plain(means[1])}, "
        f"{said(effect)}."
    )
    check = (
        f"inside groups of like {g.features['question_words'].title}, each counted equally, {said(matched)}: "
        f"{verdict(effect, matched)}."
    )
    return Claim("where-it-adds", text, effect, check, {"difference": effect, "matched": matched})


def fusion_claim(g: Grounds) -> Claim | None:
    """The fused run against the better of its two parts."""
    roles = g.study.roles
    assert roles.fused is not None
    where = g.study.both(*g.names, roles.fused)
    if where.sum() < FEWEST:
        return None
    better = max(g.names, key=lambda name: g.study.systems[name].metrics[GAP][where].mean())
    rows = {row["group"]: row for row in compare.fusion_table(g.study, 1)}
    (_, both), (_, _), (_, _), (_, neither) = rows.items()
    ones = [row for name, row in rows.items() if name.startswith("only")]
    text = (
        f"At rank 1 it keeps {both['found']:,} of the {both['questions']:,} that both have, has "
        + " and ".join(f"{r['found']:,} of the {r['questions']:,} of {r['group']}" for r in ones)
        + f", and {neither['found']:,} of the {neither['questions']:,} that neither has."
    )
    return _stage_claim(g, "fusion", roles.fused, better, f"the better of its parts, {better}", where, text)


def rerank_claim(g: Grounds) -> Claim | None:
    """The re-ranked run against the run it re-ordered."""
    roles = g.study.roles
    assert roles.reranked is not None and roles.first_stage is not None
    where = g.study.both(roles.reranked, roles.first_stage)
    if where.sum() < FEWEST:
        return None
    before, after = (g.study.systems[name] for name in (roles.first_stage, roles.reranked))
    moved = compare.repairs(before.rank, after.rank, where, 1)
    missed = moved["repaired"] + moved["still missed"]
    found = moved["kept"] + moved["broken"]
    depth = compare.reordered_depth(before, after, where)
    there = int(((before.rank > 1) & (before.rank <= depth) & where).sum())
    text = (
        f"Of the {missed:,} questions without the right passage at rank 1 it repairs {moved['repaired']:,} ({there:,} had "
        f"it among the first {depth}, which is what was re-ordered); of the {found:,} with it, it breaks "
        f"{moved['broken']:,}."
    )
    return _stage_claim(g, "rerank", roles.reranked, roles.first_stage, roles.first_stage, where, text)


def _stage_claim(
    g: Grounds, name: str, stage: str, base: str, base_words: str, where: np.ndarray, detail: str
) -> Claim:
    """A later stage against an earlier one; counter-checks: at rank 1, and in every group of overlap."""
    change = compare.gap(g.study, stage, base)
    effect = g.bootstrap.mean(change, where)
    first = g.bootstrap.mean(compare.gap(g.study, stage, base, "R@1"), where)
    groups = g.bootstrap.means(change, [mask & where for mask in g.features["overlap"].masks])
    values = [g.study.systems[run].metrics[GAP][where].mean() for run in (stage, base)]
    words = by_sign(effect, "is below", "cannot be told from", "is above")
    text = f"{stage} {words} {base_words}: {GAP} {plain(values[0])} against {plain(values[1])}, {said(effect)}. {detail}"
    check = (
        f"by R@1 {said(first)}: {verdict(effect, first)}; by groups of overlap (questions), from least to most: "
        f"{groups_check(groups, 'below', 'above')}"
    )
    numbers = {"difference": effect, "R@1": first, **{f"group {i}": e for i, e in enumerate(groups, start=1)}}
    return Claim(name, text, effect, check, numbers)
