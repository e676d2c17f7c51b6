"""BM25 scores of frequent terms, which take a way of their own, are bm25s's to the last bit."""

import numpy as np
import pytest

from sbert.retrieval.sparse import BM25, FREQUENT


def corpus(count: int) -> list[str]:
    """Words of every frequency: w0 in nearly all passages, w59 in few."""
    rng = np.random.default_rng(0)
    return [" ".join(f"w{min(int(rng.exponential(8)), 59)}" for _ in range(20)) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 7, 300])
def test_scores_are_those_of_bm25s(count: int) -> None:
    bm25 = BM25(corpus(count))
    assert bm25._index is not None
    for query in ("w0 w1 w2", "w0 w40 w1 w0 w55", "w59 w3 nothing w30", "w50"):
        known = [bm25.term_ids[word] for word in query.split() if word in bm25.term_ids]
        if known:
            assert bm25.scores(query).tolist() == bm25._index.get_scores_from_ids(known).tolist()


def test_only_frequent_terms_have_a_whole_row() -> None:
    bm25 = BM25(corpus(300))
    holds = {term: sum(term in text.split() for text in corpus(300)) for term in bm25.term_ids}
    frequent = {bm25.term_ids[term] for term, number in holds.items() if number > 300 / FREQUENT}
    assert 0 < len(bm25._frequent) < len(bm25.term_ids)
    assert set(bm25._frequent) == frequent


@pytest.mark.parametrize("k", [1, 10, 37, 290, 400])
@pytest.mark.parametrize("only_matching", [True, False])
def test_what_is_found_is_what_sorting_all_scores_finds(k: int, only_matching: bool) -> None:
    """Scores are rounded so that many tie; some queries match fewer than k passages."""
    bm25 = BM25(corpus(300), k1=0.0)
    queries = ["w0 w1", "w45 w50", "w59", "w0 w1 w2 w3 w4 w5", "nothing"]
    found = bm25.search(queries, k, only_matching=only_matching)
    for query, ids, scores in zip(queries, found.ids, found.scores, strict=True):
        whole = bm25.scores(query)
        order = [i for i in np.argsort(-whole, kind="stable").tolist() if whole[i] > 0 or not only_matching]
        assert ids == order[:k]
        assert scores.tolist() == whole[ids].tolist()
