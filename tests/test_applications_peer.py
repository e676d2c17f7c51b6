"""Applications against sentence-transformers, its bucc2018.py and scikit-learn: see tests/golden/make_applications.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbert.applications import (
    agglomerative,
    community_detection,
    k_means,
    mine_parallel,
    paraphrase_mining,
    principal_components,
    semantic_search,
    v_measure,
)
from sbert.applications.agreement import average_precision
from sbert.applications.parallel import parallel_metrics
from sbert.applications.search import hits

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parent / "golden" / "expected_applications.json").read_text(encoding="utf8")
)
VECTORS = np.array(GOLDEN["vectors"], dtype=np.float32)  # (60, 16)
CLOSE = pytest.approx


def cases(name: str) -> Any:
    return pytest.mark.parametrize("case", GOLDEN[name], ids=range(len(GOLDEN[name])))


@cases("search")
def test_search(case: dict[str, Any]) -> None:
    found = hits(semantic_search(VECTORS[:8], VECTORS[8:], case["top_k"], case["similarity"]))
    for ours, theirs in zip(found, case["hits"], strict=True):
        assert [hit["corpus_id"] for hit in ours] == [hit["corpus_id"] for hit in theirs]
        assert [hit["score"] for hit in ours] == CLOSE([hit["score"] for hit in theirs], abs=1e-6)


@cases("paraphrases")
@pytest.mark.parametrize("chunk", [1, 7, 60, 2048])
def test_paraphrases(case: dict[str, Any], chunk: int) -> None:
    first, second, scores = paraphrase_mining(VECTORS, case["top_k"], case["max_pairs"], query_chunk=chunk)
    assert scores.tolist() == CLOSE([score for score, _, _ in case["pairs"]], abs=1e-6)
    ours, theirs = (
        set(zip(first.tolist(), second.tolist(), strict=True)),
        {(i, j) for _, i, j in case["pairs"]},
    )
    assert ours == theirs and len(first) == len(case["pairs"])
    assert (first < second).all()


def test_precision_of_mined_pairs() -> None:
    case = GOLDEN["average_precision"]
    first, second, _ = paraphrase_mining(VECTORS)
    found = average_precision(
        zip(first.tolist(), second.tolist(), strict=True), {(i, j) for i, j in case["gold"]}
    )
    assert found["average_precision"] == CLOSE(case["average_precision"], abs=1e-6)


@cases("communities")
@pytest.mark.parametrize("chunk", [1, 13, 1024])
def test_communities(case: dict[str, Any], chunk: int) -> None:
    found = community_detection(VECTORS, case["threshold"], case["min_size"], chunk=chunk)
    assert found == case["communities"]


@cases("k_means")
def test_k_means_from_the_same_start(case: dict[str, Any]) -> None:
    found = k_means(VECTORS, case["clusters"], start=VECTORS[: case["clusters"]])
    assert found.labels.tolist() == case["labels"]
    assert found.inertia == CLOSE(case["inertia"], abs=1e-6)


@cases("agglomerative")
def test_agglomerative(case: dict[str, Any]) -> None:
    ours = agglomerative(VECTORS, case["clusters"], case["threshold"], case["linkage"])
    groups = {(a, b) for a, b in zip(ours.tolist(), case["labels"], strict=True)}
    assert len(groups) == len(set(case["labels"])) == len(set(ours.tolist()))  # one to one
    assert list(dict.fromkeys(ours.tolist())) == list(range(len(groups)))  # numbered by first text


def test_agreement() -> None:
    expected = iter(GOLDEN["agreement"])
    for a in GOLDEN["k_means"]:
        for b in GOLDEN["agglomerative"]:
            assert v_measure(a["labels"], b["labels"]) == CLOSE(next(expected), abs=1e-6)


def test_components() -> None:
    points, share = principal_components(VECTORS, 3)
    assert share.tolist() == CLOSE(GOLDEN["components"]["share"], abs=1e-6)
    assert np.abs(points) == CLOSE(np.array(GOLDEN["components"]["points"]), abs=1e-5)


@pytest.mark.parametrize("case", GOLDEN["parallel"][1:], ids=range(len(GOLDEN["parallel"]) - 1))
def test_parallel(case: dict[str, Any]) -> None:
    target = np.array(GOLDEN["parallel"][0]["target"], dtype=np.float32)
    found = mine_parallel(VECTORS[:30], target, case["k"], case["threshold"])
    assert found.scores.tolist() == CLOSE([score for score, _, _ in case["pairs"]], abs=1e-5)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [
        (s, t) for _, s, t in case["pairs"]
    ]
    metrics = parallel_metrics(found, set(enumerate(GOLDEN["parallel"][0]["order"])))
    assert metrics["best_f1"] == CLOSE(case["best_f1"], abs=1e-6)
    assert metrics["best_threshold"] == CLOSE(case["best_threshold"], abs=1e-5)
