"""FAISS search against exact search; without faiss-cpu only what it says then is tested."""

from __future__ import annotations

import importlib.util
import logging
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbert.errors import RunError
from sbert.retrieval import approximate
from sbert.retrieval.approximate import (
    KINDS,
    TRAINABLE,
    Approximate,
    build,
    file_of,
    load_approximate,
    parameters_for,
    recall_against,
    save_approximate,
)
from sbert.retrieval.index import load_index, save_index
from sbert.retrieval.search import Ranking, exact_search

needs_faiss = pytest.mark.skipif(
    importlib.util.find_spec("faiss") is None, reason="faiss is not installed: pip install faiss-cpu"
)


def clustered(count: int, width: int = 32, seed: int = 0) -> np.ndarray:
    """Vectors of any length around 60 centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(60, width))
    vectors = centres[rng.integers(0, 60, count)] + 0.5 * rng.normal(size=(count, width))
    return (vectors * rng.uniform(0.5, 2, (count, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def built() -> dict[str, Approximate]:
    passages = clustered(10_500)
    return {kind: build(kind, passages) for kind in KINDS}


# ---------------------------------------------------------------- recall


def ranking(*ids: list[int]) -> Ranking:
    return Ranking(list(ids), [np.arange(len(row), 0, -1, dtype=np.float32) for row in ids])


def test_recall_by_hand() -> None:
    exact, other = ranking([1, 2, 3, 4], [5, 6]), ranking([2, 1, 9, 8], [5])
    assert recall_against(exact, other, 1) == 0.5
    assert recall_against(exact, other, 2) == 0.75  # both, then one of two
    assert recall_against(exact, other, 4) == 0.5  # two of four, one of two
    assert recall_against(exact, exact, 100) == 1.0
    assert recall_against(ranking([], [1]), ranking([3], [1]), 5) == 1.0
    assert math.isnan(recall_against(ranking([]), ranking([]), 5))


def test_recall_of_rankings_that_do_not_belong_together() -> None:
    with pytest.raises(ValueError, match="k is 0"):
        recall_against(ranking([1]), ranking([1]), 0)
    with pytest.raises(ValueError, match="shorter"):
        recall_against(ranking([1], [2]), ranking([1]), 1)


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    "count, width, expected",
    [
        (TRAINABLE, 32, {"nlist": 256, "nprobe": 16, "m": 8, "nbits": 8}),
        (100_000, 384, {"nlist": 1024, "nprobe": 64, "m": 96, "nbits": 8}),
        (1_000_000, 7, {"nlist": 2048, "nprobe": 128, "m": 1, "nbits": 8}),
        (100, 10, {"nlist": 2, "nprobe": 2, "m": 2, "nbits": 8}),
    ],
)
def test_parameters_of_ivfpq(count: int, width: int, expected: dict[str, int]) -> None:
    assert parameters_for("ivfpq", count, width) == expected


# ---------------------------------------------------------------- search


@needs_faiss
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_flat_finds_what_exact_search_finds(similarity: str) -> None:
    passages, queries = clustered(700), clustered(30, seed=1)
    found = build("flat", passages, similarity).search(queries, 20)
    exact = exact_search(queries, passages, 20, similarity)
    assert found.ids == exact.ids
    for a, b in zip(found.scores, exact.scores, strict=True):
        assert a.dtype == np.float32 and a == pytest.approx(b, rel=1e-5)


@needs_faiss
@pytest.mark.parametrize(
    "kind, at_10, at_100", [("flat", 1.0, 1.0), ("hnsw", 0.98, 0.98), ("ivfpq", 0.5, 0.8)]
)
def test_recall_on_clustered_vectors(
    built: dict[str, Approximate], kind: str, at_10: float, at_100: float
) -> None:
    passages, queries = clustered(10_500), clustered(50, seed=1)
    exact, found = exact_search(queries, passages, 100), built[kind].search(queries, 100)
    assert built[kind].kind == kind and len(built[kind]) == 10_500
    assert recall_against(exact, found, 10) >= at_10
    assert recall_against(exact, found, 100) >= at_100
    for ids, scores in zip(found.ids, found.scores, strict=True):
        assert len(ids) == len(set(ids)) == 100
        assert (np.diff(scores) <= 0).all()


@needs_faiss
def test_more_asked_for_than_hnsw_has_in_hand(built: dict[str, Approximate]) -> None:
    queries = clustered(10, seed=1)
    exact, found = exact_search(queries, clustered(10_500), 400), built["hnsw"].search(queries, 400)
    assert recall_against(exact, found, 400) > 0.95
    assert built["hnsw"].parameters["efSearch"] < 400


@needs_faiss
@pytest.mark.parametrize("kind, count", [("hnsw", 1000), ("ivfpq", TRAINABLE)])
def test_built_twice_it_is_the_same(kind: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever number of threads FAISS may use, which stays what it was: it is built with one."""
    import faiss

    used: list[int] = []
    prepared = approximate._prepared

    def watched(*vectors: Any) -> np.ndarray:
        used.append(faiss.omp_get_max_threads())
        return prepared(*vectors)

    monkeypatch.setattr(approximate, "_prepared", watched)
    before, passages, files = faiss.omp_get_max_threads(), clustered(count), []
    try:
        for threads in (1, 3):
            faiss.omp_set_num_threads(threads)
            files.append(faiss.serialize_index(build(kind, passages).index).tobytes())
            assert faiss.omp_get_max_threads() == threads
    finally:
        faiss.omp_set_num_threads(before)
    assert files[0] == files[1] and set(used) == {1}


@needs_faiss
@pytest.mark.parametrize("kind", KINDS)
def test_small_corpora(kind: str) -> None:
    """Fewer passages than k, one, none; a zero vector; ties by position."""
    passages = np.array([[0, 2.0], [1, 1], [0, 0], [0, 3]], dtype=np.float16)
    queries = np.array([[0, 5.0], [0, 0]])
    found = build(kind, passages).search(queries, 10)
    assert found.ids == [[0, 3, 1, 2], [0, 1, 2, 3]]
    assert found.scores[0] == pytest.approx([1, 1, math.sqrt(0.5), 0], abs=1e-6)
    assert build(kind, passages).search(queries[:0], 10).ids == []
    assert build(kind, passages[:1]).search(queries, 10).ids == [[0], [0]]
    assert build(kind, passages[:0]).search(queries, 10).ids == [[], []]


@needs_faiss
def test_too_few_to_train_on_is_flat_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("sbert").propagate = True
    found = build("ivfpq", clustered(TRAINABLE - 1))
    assert found.kind == "flat" and found.parameters == {}
    assert "at least 9,984 passages, there are 9,983: a flat one is made" in caplog.text
    queries = clustered(3, seed=1)
    assert found.search(queries, 9).ids == exact_search(queries, clustered(TRAINABLE - 1), 9).ids


@needs_faiss
def test_what_is_refused(built: dict[str, Approximate]) -> None:
    good = clustered(4)
    with pytest.raises(ValueError, match="'tree': allowed are flat, hnsw, ivfpq"):
        build("tree", good)
    with pytest.raises(ValueError, match="'l2': allowed are cosine, dot"):
        build("flat", good, "l2")
    with pytest.raises(ValueError, match=r"embeddings \(32,\)"):
        build("flat", good[0])
    with pytest.raises(ValueError, match="vector 2 is not finite"):
        build("flat", np.where(np.arange(4)[:, None] == 2, np.nan, good))
    with pytest.raises(ValueError, match=r"queries \(4, 31\): expected \(Q, 32\)"):
        built["hnsw"].search(good[:, :31], 1)
    with pytest.raises(ValueError, match="k is 0"):
        built["hnsw"].search(good, 0)
    with pytest.raises(ValueError, match="vector 0 is not finite"):
        built["hnsw"].search(good * np.inf, 1)


def test_faiss_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    for kind in KINDS:
        with pytest.raises(RunError, match="pip install faiss-cpu"):
            build(kind, clustered(5))
    with pytest.raises(RunError, match="pip install faiss-cpu"):
        load_approximate(tmp_path, "flat", 5, 32, "cosine")


# ---------------------------------------------------------------- on disk


@needs_faiss
@pytest.mark.parametrize("kind", KINDS)
def test_saved_beside_the_embeddings(kind: str, built: dict[str, Approximate], tmp_path: Path) -> None:
    passages, queries = clustered(10_500), clustered(8, seed=1)
    folder = tmp_path / "index"
    save_index(folder, passages, [str(i) for i in range(len(passages))], "model")
    path = save_approximate(folder, built[kind])
    assert path == file_of(folder, kind, built[kind].similarity) and path.parent == folder
    index = load_index(folder, "model")
    again = load_approximate(folder, kind, len(index.ids), index.width, index.similarity)
    assert (again.kind, again.parameters) == (kind, built[kind].parameters)
    for k in (10, 200):
        found, expected = again.search(queries, k), built[kind].search(queries, k)
        assert found.ids == expected.ids
        assert [row.tolist() for row in found.scores] == [row.tolist() for row in expected.scores]
    save_index(folder, passages, index.ids, "other model")
    assert not path.exists()  # it was of other vectors


@needs_faiss
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["empty", "short", "letters", "header"])
def test_a_damaged_file_is_named(
    kind: str, damage: str, built: dict[str, Approximate], tmp_path: Path
) -> None:
    path = save_approximate(tmp_path, built[kind])
    good = path.read_bytes()
    bad = {"empty": b"", "short": good[: len(good) // 2], "letters": b"x" * 4000, "header": good[:20]}
    path.write_bytes(bad[damage])
    with pytest.raises(RunError, match=f"faiss-{kind}-cosine.index: short or damaged: ") as caught:
        load_approximate(tmp_path, kind, 10_500, 32, "cosine")
    assert "\n" not in str(caught.value)


@needs_faiss
def test_a_file_that_does_not_belong_there(built: dict[str, Approximate], tmp_path: Path) -> None:
    save_approximate(tmp_path, built["flat"])
    with pytest.raises(RunError, match=r"faiss-hnsw-cosine.index: no such file"):
        load_approximate(tmp_path, "hnsw", 10_500, 32, "cosine")
    with pytest.raises(RunError, match=r"holds 10500 vectors of 32 dimensions, the index has 10501 of 32"):
        load_approximate(tmp_path, "flat", 10_501, 32, "cosine")
    with pytest.raises(RunError, match=r"flat-cosine.index: holds 10500 .* the index has 10500 of 64"):
        load_approximate(tmp_path, "flat", 10_500, 64, "cosine")
    file_of(tmp_path, "flat", "cosine").rename(file_of(tmp_path, "ivfpq", "cosine"))
    with pytest.raises(RunError, match=r"ivfpq-cosine.index: holds a IndexFlatIP, expected IndexIVFPQ"):
        load_approximate(tmp_path, "ivfpq", 10_500, 32, "cosine")


@needs_faiss
def test_a_place_that_cannot_be_written(
    built: dict[str, Approximate], tmp_path: Path, small_disk: Path
) -> None:
    with pytest.raises(RunError, match="no such folder; save_index makes it"):
        save_approximate(tmp_path / "nowhere", built["flat"])
    with pytest.raises(RunError, match=r"faiss-flat-cosine\.index: cannot be written"):
        save_approximate(small_disk, built["flat"])
    assert list(small_disk.iterdir()) == []


@needs_faiss
def test_an_index_of_one_similarity_is_not_read_for_the_other(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    save_approximate(tmp_path, build("flat", vectors, "cosine"))
    load_approximate(tmp_path, "flat", 50, 8, "cosine")
    with pytest.raises(RunError, match=r"faiss-flat-dot\.index: no such file"):
        load_approximate(tmp_path, "flat", 50, 8, "dot")
