"""Exact search where its rough scores are of little help: near ties by the thousand, errors that grow on the way."""

from pathlib import Path

import numpy as np
import pytest

from sbert.retrieval.search import _Candidates, exact_search, reached


def in_order(queries: np.ndarray, passages: np.ndarray, k: int, similarity: str) -> list[list[int]]:
    """By one fp64 product, rounded to fp32, and a stable sort."""
    q, p = queries.astype(np.float64), passages.astype(np.float64)
    scores = np.stack([(p * row).sum(axis=1) for row in q])
    if similarity == "cosine":
        scores /= np.linalg.norm(p, axis=1) * np.linalg.norm(q, axis=1)[:, None]
    return np.argsort(-scores.astype(np.float32), axis=1, kind="stable")[:, :k].tolist()


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("passage_chunk", [700, 3000, 10000])
def test_near_ties_by_the_thousand(similarity: str, passage_chunk: int) -> None:
    """More passages than are kept undecided, which differ in the last bits or not at all; others before and after."""
    rng = np.random.default_rng(0)
    one = rng.normal(size=24).astype(np.float32)
    passages = rng.normal(size=(6000, 24)).astype(np.float32) * 0.3
    passages[1000:4000] = one
    passages[1500:3500:3, 5] = np.nextafter(one[5], np.float32(9))
    passages[4500] = 2 * one
    queries = np.stack([one, *rng.normal(size=(3, 24)).astype(np.float32)])
    for k in (1, 7, 100):
        found = exact_search(queries, passages, k, similarity, query_chunk=3, passage_chunk=passage_chunk)
        assert found.ids == in_order(queries, passages, k, similarity)


@pytest.mark.parametrize("first", ["short", "long"])
def test_scores_of_longer_passages_are_less_sure(first: str) -> None:
    """Dot products: the error bound of one chunk is a million times that of the others, and counts whenever its
    scores are compared with theirs."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        query = rng.normal(size=(1, 64)).astype(np.float32)
        short = rng.normal(size=(300, 64))
        long = rng.normal(size=(100, 64))
        long -= (long @ query.T) * query / (query @ query.T)  # nearly 0 with the query, however long
        passages = np.concatenate([short, 1e6 * long] if first == "short" else [1e6 * long, short])
        passages = passages.astype(np.float32)
        found = exact_search(query, passages, 200, "dot", passage_chunk=100)
        assert found.ids == in_order(query, passages, 200, "dot")


def test_nothing_that_an_error_of_the_bound_could_hide_is_left_out() -> None:
    """Scores off by just less than the bound, to the worst side, which grows from one chunk to the next."""
    near = _Candidates(1, 2)
    near.error = 0.5
    assert near.add(np.array([[5.0, 4.0, 3.1, 2.9]], dtype=np.float32), 0, 0) == []
    assert near.cut(0).tolist() == [0, 1, 2]  # 4.0 may be 3.5 and 3.1 be 3.6
    near.error = 2.0
    near.add(np.array([[0.1, -0.1]], dtype=np.float32), 0, 4)
    assert near.cut(0).tolist() == [0, 1, 2, 4]  # the third was 2.9: beaten by two for sure


def test_vectors_of_nearly_unit_length_are_ranked_by_cosine() -> None:
    """Where the division by the length is left out, its effect still counts: lengths differ more than angles."""
    rng = np.random.default_rng(2)
    one = rng.normal(size=8)
    one /= np.linalg.norm(one)
    passages = one + 1e-5 * rng.normal(size=(300, 8))
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    passages = (passages * (1 + 9e-5 * rng.uniform(-1, 1, size=(300, 1)))).astype(np.float32)
    query = (one + 0.1 * rng.normal(size=8))[None].astype(np.float32)
    for chunk in (50, 300):
        found = exact_search(query, passages, 30, passage_chunk=chunk)
        assert found.ids == in_order(query, passages, 30, "cosine")


@pytest.mark.parametrize("k, n", [(1, 4), (1, 8), (3, 100), (10, 83), (10, 79)])
def test_what_k_scores_reach(k: int, n: int) -> None:
    rough = np.random.default_rng(k).normal(size=(6, n)).astype(np.float32)
    least = reached(rough, k)
    assert ((rough >= least[:, None]).sum(axis=1) >= k).all()
    assert np.isfinite(least).all() == (n >= 8 * k)


def test_nothing_of_a_memory_map_stays_in_the_result(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.eye(5, dtype=np.float64))
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    found = exact_search(np.eye(5), mapped, 2)
    assert found.ids[3] == [3, 0] and type(found.scores[3]) is np.ndarray
