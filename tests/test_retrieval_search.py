"""Exact search against a plain loop, in many shapes and chunk sizes."""

from pathlib import Path

import numpy as np
import pytest

from sbert.retrieval.search import Ranking, best, exact_search, norms_of


def plain(queries: np.ndarray, passages: np.ndarray, k: int, similarity: str) -> tuple[list, list]:
    """One pair at a time, in fp64; the score is rounded to fp32, and a stable sort keeps the order of equals."""
    ids, scores = [], []
    for q in np.asarray(queries, dtype=np.float64):
        row = []
        for p in np.asarray(passages, dtype=np.float64):
            length = np.sqrt(q @ q) * np.sqrt(p @ p) if similarity == "cosine" else 1.0
            row.append(np.float32(q @ p / length if length else 0.0))
        order = sorted(range(len(row)), key=lambda j: -row[j])[:k]
        ids.append(order)
        scores.append([row[j] for j in order])
    return ids, scores


def same(found: Ranking, other: Ranking) -> bool:
    """To the last bit."""
    return found.ids == other.ids and all(
        a.dtype == b.dtype and a.tolist() == b.tolist()
        for a, b in zip(found.scores, other.scores, strict=True)
    )


# ---------------------------------------------------------------- exact search


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize(
    "q, n, d, k",
    [
        (1, 1, 1, 1),
        (1, 40, 8, 5),
        (7, 40, 3, 40),
        (5, 33, 16, 100),
        (3, 64, 384, 10),
        (0, 5, 4, 2),
        (4, 0, 4, 2),
    ],
)
def test_a_plain_loop_finds_the_same(similarity: str, q: int, n: int, d: int, k: int) -> None:
    rng = np.random.default_rng(q + n)
    queries, passages = rng.normal(size=(q, d)) * 3, rng.normal(size=(n, d)) * rng.uniform(0.1, 5, (n, 1))
    queries, passages = queries.astype(np.float32), passages.astype(np.float32)
    ids, scores = plain(queries, passages, k, similarity)
    for query_chunk, passage_chunk in [(256, 16384), (1, 1), (2, 7), (3, 32)]:
        found = exact_search(
            queries, passages, k, similarity, query_chunk=query_chunk, passage_chunk=passage_chunk
        )
        assert found.ids == ids
        assert len(found) == q and all(len(row) == min(k, n) for row in found.scores)
        for row, expected in zip(found.scores, scores, strict=True):
            assert row.dtype == np.float32
            assert row == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_by_hand() -> None:
    queries, passages = np.array([[2.0, 0], [0, 1]]), np.array([[0, 3.0], [1, 1], [5, 0], [0, 0]])
    found = exact_search(queries, passages, 2)
    assert found.ids == [[2, 1], [0, 1]]
    assert found.scores[0] == pytest.approx([1, np.sqrt(0.5)])
    assert exact_search(queries, passages, 4).ids == [[2, 1, 0, 3], [0, 1, 2, 3]]
    found = exact_search(queries, passages, 2, "dot")
    assert found.ids == [[2, 1], [0, 1]]
    assert [row.tolist() for row in found.scores] == [[10, 2], [3, 1]]
    short = exact_search(queries, np.array([[1e-14, 0], [0.5e-14, 1e-300]]), 2)
    # divided by 1e-12, as torch does
    assert short.ids[0] == [0, 1] and short.scores[0] == pytest.approx([0.01, 0.005])


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_chunks_change_nothing_where_much_ties(similarity: str) -> None:
    """Few distinct passages, copied many times over, and more that differ from them in the last bits only: a matrix
    product rounds those differently from one shape to another."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(5, 48)).astype(np.float32)
    passages = kinds[rng.integers(0, 5, 200)]
    passages[::7] = np.nextafter(passages[::7], np.float32(9))
    queries = np.concatenate([rng.normal(size=(6, 48)), kinds[:2]]).astype(np.float32)
    for k in (1, 13, 199):
        whole = exact_search(queries, passages, k, similarity)
        for query_chunk, passage_chunk in [(1, 200), (8, 3), (3, 17), (5, 64), (8, 199)]:
            chunks = {"query_chunk": query_chunk, "passage_chunk": passage_chunk}
            assert same(exact_search(queries, passages, k, similarity, **chunks), whole)
        for i in range(len(queries)):
            alone = exact_search(queries[i : i + 1], passages, k, similarity)
            assert same(alone, Ranking(whole.ids[i : i + 1], whole.scores[i : i + 1]))


@pytest.mark.parametrize("k", [1, 5, 24, 25, 26])
def test_copies_come_in_the_order_of_the_corpus(k: int) -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(2, 200)).astype(np.float32)
    passages = np.stack([other, *[one] * 12, other, *[one] * 12])
    expected = [*range(1, 13), *range(14, 26), 0, 13][:k]
    for chunk in (1, 4, 11, 26):
        assert exact_search(one[None], passages, k, passage_chunk=chunk).ids == [expected]


def test_what_the_matrix_product_confuses_is_told_apart() -> None:
    """Scores that differ by less than fp32 sums can tell, but not by less than fp32 can hold: 1e8 - 1e8 + small."""
    small = np.array([1, 3, 2, 5, 4, 0], dtype=np.float32)
    passages = np.stack([[1e8, *[x / 8] * 8, -1e8] for x in small]).astype(np.float32)
    for chunk in (1, 2, 5, 6):
        for k in (1, 2, 4):
            found = exact_search(np.ones((1, 10)), passages, k, "dot", passage_chunk=chunk)
            assert found.ids == [[3, 4, 1, 2, 0, 5][:k]]
            assert found.scores[0].tolist() == [5, 4, 3, 2][:k]


def test_half_precision_on_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    passages = rng.normal(size=(50, 24)).astype(np.float16)
    np.save(tmp_path / "p.npy", passages)
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    queries = rng.normal(size=(4, 24)).astype(np.float32)
    for similarity in ("cosine", "dot"):
        ids, _ = plain(queries, passages, 9, similarity)
        whole = exact_search(queries, mapped, 9, similarity)
        assert whole.ids == ids
        assert same(exact_search(queries, passages, 9, similarity, passage_chunk=8), whole)
        assert same(exact_search(queries, passages.astype(np.float32), 9, similarity), whole)


def test_known_norms_are_used() -> None:
    rng = np.random.default_rng(3)
    queries, passages = rng.normal(size=(2, 8)), rng.normal(size=(20, 8))
    norms = norms_of(passages, chunk=7)
    assert norms == pytest.approx(np.linalg.norm(passages, axis=1))
    assert same(exact_search(queries, passages, 5, norms=norms), exact_search(queries, passages, 5))
    norms[4] /= 100  # a wrong one shows
    assert [row[0] for row in exact_search(np.abs(queries), np.abs(passages), 5, norms=norms).ids] == [4, 4]
    with pytest.raises(ValueError, match=r"norms \(3,\) of 20 passages"):
        exact_search(queries, passages, 5, norms=norms[:3])


def test_vectors_very_long_very_short_and_zero() -> None:
    rng = np.random.default_rng(4)
    passages = rng.normal(size=(30, 6)) * 10.0 ** rng.integers(-11, 25, (30, 1))
    passages[11] = 0
    queries = np.concatenate([rng.normal(size=(2, 6)) * 1e10, np.zeros((1, 6))])
    for similarity in ("cosine", "dot"):
        ids, _ = plain(queries, passages, 30, similarity)
        assert exact_search(queries, passages, 30, similarity, passage_chunk=4).ids == ids
        assert exact_search(queries, passages, 3, similarity, passage_chunk=4).ids == [row[:3] for row in ids]
        assert ids[2] == list(range(30))


@pytest.mark.parametrize(
    "queries, passages, options, message",
    [
        ((3,), (4, 3), {}, r"queries \(3,\) and passages \(4, 3\)"),
        ((2, 3), (4, 2), {}, r"queries \(2, 3\) and passages \(4, 2\)"),
        ((2, 3), (4, 3, 1), {}, r"passages \(4, 3, 1\)"),
        ((2, 3), (4, 3), {"similarity": "euclidean"}, "'euclidean': allowed are cosine, dot"),
        ((2, 3), (4, 3), {"k": 0}, "k is 0"),
        ((2, 3), (4, 3), {"passage_chunk": 0}, "a chunk of 0 rows"),
        ((2, 3), (4, 3), {"query_chunk": -1}, "a chunk of -1 rows"),
    ],
)
def test_what_search_refuses(queries: tuple, passages: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        exact_search(np.ones(queries), np.ones(passages), **{"k": 1, **options})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_vectors_that_are_no_numbers(bad: float) -> None:
    good, wrong = np.ones((6000, 2)), np.ones((6000, 2))
    wrong[5000, 1] = bad
    with pytest.raises(ValueError, match="vector 5000 is not finite"):
        exact_search(good[:1], wrong, 1)
    with pytest.raises(ValueError, match="vector 5000 is not finite"):
        exact_search(wrong, good, 1)


def test_best_of_equals_is_the_smaller_position() -> None:
    scores = np.array([1.0, 3, 3, 2, 3])
    assert best(scores, np.array([9, 8, 2, 1, 5]), 2).tolist() == [2, 4]
    assert best(scores, np.arange(5), 9).tolist() == [1, 2, 4, 3, 0]
    assert best(scores, np.arange(5), 0).tolist() == []


def test_a_ranking_cut() -> None:
    ranking = Ranking([[3, 1, 2], []], [np.array([3.0, 2, 1]), np.array([])])
    assert len(ranking) == 2
    assert ranking.cut(2).ids == [[3, 1], []]
    assert [row.tolist() for row in ranking.cut(2).scores] == [[3, 2], []]
    assert same(ranking.cut(None), ranking)
