"""Claims: by how much dense retrieval is behind sparse, on which questions, and what accounts for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from experiments.analysis import compare
from experiments.analysis.claims import (
    FEWEST,
    Claim,
    Grounds,
    by_sign,
    groups_check,
    number,
    plain,
    said,
    verdict,
)
from experiments.analysis.compare import GAP
from experiments.analysis.features import BANDS, RARE, overlap_bands

OTHER_BANDS = (2, 3, 4, 8, 10)  # numbers of bands that the claim about matched overlap is tried with as well


def gap_claim(g: Grounds) -> Claim | None:
    dense, sparse = g.names
    if g.where.sum() < FEWEST:
        return None
    effect = g.bootstrap.mean(g.gap, g.where)
    at = {name: g.bootstrap.mean(compare.gap(g.study, *g.names, name), g.where) for name in ("R@1", "R@10")}
    values = [g.study.systems[name].metrics[GAP][g.where].mean() for name in g.names]
    words = by_sign(effect, "is below", "cannot be told from", "is above")
    text = f"{dense} {words} {sparse}: {GAP} {plain(values[0])} against {plain(values[1])}, {said(effect)}."
    check = "; ".join(f"by {name} {said(e)}: {verdict(effect, e)}" for name, e in at.items())
    articles = compare.share_of_articles(g.study, g.gap, g.where)
    if articles:
        check += f"; {dense} is behind in {articles[0]} and ahead in {articles[1]} of {articles[2]} articles"
    return Claim("gap", text, effect, check + ".", {"gap": effect, **at})


def overlap_claim(g: Grounds) -> Claim | None:
    """The gap in the group of questions that share most with their passage, against the group that shares least."""
    claim = contrast_claim(
        g,
        "overlap",
        -1,
        0,
        "whose words stand in the passage most",
        "whose words stand in it least",
        "question_words",
    )
    if claim is None:
        return None
    most, least = (g.features["overlap"].masks[i] & g.where for i in (-1, 0))
    alone = {
        name: g.bootstrap.difference((values, most), (values, least))
        for name in g.names
        for values in [g.study.systems[name].metrics[GAP]]
    }
    each = " and ".join(f"{name} by {said(estimate)}" for name, estimate in alone.items())
    check = f"{claim.check} Each alone, from least to most, moves in {GAP}: {each}."
    return replace(claim, check=check, numbers=claim.numbers | alone)


# feature, group, the group it is held against (a label, or a place where labels are made from the data), how the two
# are called, what the counter-check holds equal
CONTRASTS: tuple[tuple[str, int | str, int | str, str, str, str], ...] = (
    (
        "rarest",
        "rare",
        "not rare",
        f"with a word that at most {RARE} passages hold",
        "without one",
        "overlap",
    ),
    ("numbers", "some", "none", "with a number", "without one", "overlap"),
    ("question_words", -1, 0, "that are longest", "that are shortest", "overlap"),
    ("passage_words", -1, 0, "about the longest passages", "about the shortest", "overlap"),
    (
        "answer",
        "last third",
        "first third",
        "answered in the last third of the passage",
        "in the first third",
        "passage_words",
    ),
)


def contrast_claim(
    g: Grounds, name: str, one: int | str, other: int | str, one_words: str, other_words: str, equal: str
) -> Claim | None:
    """Whether the gap differs between two groups of a feature; counter-check: within groups of another feature."""
    dense, sparse = g.names
    masks = _two_groups(g, name, one, other)
    if masks is None:
        return None
    a, b = ((g.gap, mask & g.where) for mask in masks)
    if min(a[1].sum(), b[1].sum()) < FEWEST:
        return None
    first, second = (g.bootstrap.mean(*part) for part in (a, b))
    effect = g.bootstrap.difference(a, b)
    matched = g.bootstrap.difference(a, b, g.features[equal].masks)
    words = by_sign(
        effect,
        f"this moves the gap towards {sparse}",
        "this does not move the gap measurably",
        f"this moves the gap towards {dense}",
    )
    text = (
        f"On questions {one_words}, {dense} - {sparse} is {said(first)}; on those {other_words} it is {said(second)}: "
        f"{words}, {said(effect)}."
    )
    check = (
        f"inside groups of like {g.features[equal].title}, each counted equally, the difference is "
        f"{said(matched)}: {verdict(effect, matched)}."
    )
    numbers = {"one": first, "other": second, "difference": effect, "matched": matched}
    return Claim(name.replace("_", "-"), text, effect, check, numbers)


def _two_groups(
    g: Grounds, name: str, one: int | str, other: int | str
) -> tuple[np.ndarray, np.ndarray] | None:
    """The masks of the two groups, None where there is no such group; ``rarest`` is split in two at RARE."""
    feature = g.features[name]
    masks = dict(zip(feature.labels, feature.masks, strict=True))
    if name == "rarest":
        masks = {"rare": g.facts.rarest <= RARE, "not rare": g.facts.rarest > RARE}
    a, b = (feature.labels[key] if isinstance(key, int) else key for key in (one, other))
    return (masks[a], masks[b]) if a in masks and b in masks and a != b else None


def matched_claim(g: Grounds) -> Claim | None:
    """How much of the gap is owed to how often each degree of overlap occurs."""
    dense, sparse = g.names
    bands, dropped = _bands(g, BANDS)
    if len(bands) < 2:
        return None
    raw = g.bootstrap.mean(g.gap, g.where)
    effect, mix = g.bootstrap.standardised(g.gap, g.where, list(bands.values()))
    others = {n: _bands(g, n)[0] for n in OTHER_BANDS}
    with_others = {
        n: g.bootstrap.standardised(g.gap, g.where, list(masks.values()))[0]
        for n, masks in others.items()
        if len(masks) > 1
    }
    inside = g.bootstrap.means(g.gap, [mask & g.where for mask in g.features["overlap"].masks])
    words = by_sign(effect, f"{dense} is below {sparse}", "neither is ahead", f"{dense} is above {sparse}")
    text = (
        f"With {len(bands)} bands of lexical overlap counted equally, whatever they hold ({_sizes(g, bands)}"
        f"{f'; left out: {_sizes(g, dropped)}' if dropped else ''}), {words}: {said(effect)}, where the questions as "
        f"they come give {said(raw)}. How often each degree of overlap occurs here "
        f"{by_sign(mix, f'works for {sparse}', 'makes no measurable difference', f'works for {dense}')}: {said(mix)}."
    )
    groups = groups_check(inside, f"{dense} is below {sparse}", "above it")
    check = f"group by group (questions), from least overlap to most: {groups}"
    if with_others:
        check += " With other numbers of bands: " + "; ".join(
            f"{n} {number(e.value)}, {verdict(effect, e)}" for n, e in with_others.items()
        )
        check += "."
    numbers = {"matched": effect, "raw": raw, "mix": mix}
    numbers |= {f"group {i}": e for i, e in enumerate(inside, start=1)}
    numbers |= {f"{n} bands": e for n, e in with_others.items()}
    return Claim("matched-overlap", text, effect, check, numbers)


def _bands(g: Grounds, count: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Bands of overlap by their labels: those with enough questions, and the others."""
    feature = overlap_bands(g.facts, count)
    masks = {label: mask & g.where for label, mask in zip(feature.labels, feature.masks, strict=True)}
    kept = {label: mask for label, mask in masks.items() if mask.sum() >= FEWEST}
    return kept, {label: mask for label, mask in masks.items() if label not in kept and mask.any()}


def _sizes(g: Grounds, bands: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{label}: {int(mask.sum()):,}" for label, mask in bands.items())


def article_claim(g: Grounds) -> Claim | None:
    """Whether the right article is missed, or the right passage within it."""
    dense, sparse = g.names
    right = [found for name in g.names if (found := compare.first_article(g.study, name)) is not None]
    if not right:
        return None
    hit = [(g.study.systems[name].rank <= 1).astype(float) for name in g.names]
    inside = [r & g.where for r in right]
    if min(mask.sum() for mask in inside) < FEWEST:
        return None
    article = g.bootstrap.mean(right[0].astype(float) - right[1], g.where)
    effect = g.bootstrap.difference((hit[0], inside[0]), (hit[1], inside[1]))
    shared = g.bootstrap.mean(hit[0] - hit[1], inside[0] & inside[1])
    shares = [float(h[mask].mean()) for h, mask in zip(hit, inside, strict=True)]
    means = [float(r[g.where].mean()) for r in right]
    text = (
        f"What {dense} ranks first is of the right article for {plain(means[0])} of the questions, {sparse} "
        f"{plain(means[1])}: {said(article)}. Of those it is the right passage for {plain(shares[0])} and "
        f"{plain(shares[1])}: within the article {dense} is "
        f"{by_sign(effect, 'the weaker', 'neither weaker nor stronger', 'the stronger')}, by {said(effect)}."
    )
    check = (
        f"where both have the right article first ({shared.count:,} questions) the right passage differs by "
        f"{said(shared)}: {verdict(effect, shared)}."
    )
    numbers = {"right article": article, "right passage": effect, "both in the article": shared}
    return Claim("right-article", text, effect, check, numbers)
