"""The commands that look at texts as a whole: clusters, and pictures."""

from pathlib import Path

import numpy as np

from sbert.applications import maps
from sbert.applications.agreement import v_measure
from sbert.applications.clustering import agglomerative, k_means
from sbert.applications.communities import community_detection
from sbert.applications.output import Result, shorten
from sbert.applications.session import Session
from sbert.applications.texts import Texts
from sbert.errors import RunError

OF_EACH = 3  # texts printed of a cluster
MOST_IN_HEAT_MAP = 2000  # texts: (N, N) cosines are held, and a picture has no more dots


def cluster(session: Session) -> Result:
    args, texts = session.args, session.read(session.args.data)
    vectors = session.encode(texts.texts)
    try:
        if args.method == "communities":
            threshold = 0.75 if args.threshold is None else args.threshold
            found = community_detection(vectors, threshold, args.min_size or 10, progress=True)
        elif args.method == "agglomerative":
            labels = agglomerative(vectors, args.clusters, args.threshold, args.linkage or "ward")
            found = _members(vectors, labels)
        else:
            wanted = args.clusters or min(10, len(texts))
            found = _members(vectors, k_means(vectors, wanted, args.seed).labels)
    except ValueError as error:  # more clusters than texts, too many texts
        raise RunError(f"cluster: {error}") from None
    result = _clusters(texts, found, args.show)
    result.metrics = {"texts": len(texts), "clusters": len(found)}
    if args.method == "communities":
        result.metrics["texts_in_communities"] = len(result.found)
    elif texts.labels:
        of = {i: number for number, members in enumerate(found) for i in members}
        result.metrics |= v_measure(texts.labels, [of[i] for i in range(len(texts))])
    return result


def _members(vectors: np.ndarray, labels: np.ndarray) -> list[list[int]]:
    """Clusters, largest first, their texts by falling cosine with the cluster's mean."""
    out = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        near = vectors[rows] @ vectors[rows].mean(axis=0)
        out.append(rows[np.argsort(-near, kind="stable")].tolist())
    return sorted(out, key=len, reverse=True)


def _clusters(texts: Texts, found: list[list[int]], show: int) -> Result:
    result = Result([], [])
    for number, members in enumerate(found, start=1):
        if number <= show:
            result.shown.append(f"cluster {number}, {len(members):,} texts")
            result.shown += [f"    {shorten(texts.texts[i])}" for i in members[:OF_EACH]]
        for i in members:
            row = {"cluster": number, "id": texts.ids[i], "text": texts.texts[i]}
            result.found.append(row | ({"label": texts.labels[i]} if texts.labels else {}))
    return result


def picture(session: Session) -> Result:
    """map: whichever of --png, --heat-map and --projector was asked for; the coordinates with --output."""
    args, texts = session.args, session.read(session.args.data)
    if args.png or args.heat_map:
        maps.check_matplotlib()
    if args.heat_map and len(texts) > MOST_IN_HEAT_MAP:
        limit = f"--limit {MOST_IN_HEAT_MAP} draws the first"
        raise RunError(f"--heat-map: {len(texts):,} texts, at most {MOST_IN_HEAT_MAP:,} ({limit})")
    vectors = session.encode(texts.texts)
    points, share = maps.principal_components(vectors)
    labels = texts.labels or None
    result = Result([], [], {"texts": len(texts), "variance_shown": float(share.sum())})
    if args.png:
        maps.draw_map(Path(args.png), points, texts.texts, labels)
    if args.heat_map:
        maps.draw_heat_map(Path(args.heat_map), vectors @ vectors.T, texts.texts)
    if args.projector:
        maps.write_projector(Path(args.projector), vectors, texts.texts, labels)
    result.shown = [path for path in (args.png, args.heat_map, args.projector) if path]
    for i, (x, y) in enumerate(points.tolist()):
        row = {"id": texts.ids[i], "x": x, "y": y, "text": texts.texts[i]}
        result.found.append(row | ({"label": labels[i]} if labels else {}))
    return result
