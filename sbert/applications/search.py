"""Semantic search: the texts of a corpus that are most like each query.

    semantic_search(model.encode_query(questions), model.encode_document(corpus), top_k=10)

The same answer as sentence-transformers' ``util.semantic_search``, in one order: equal scores go to the earlier text.
The work is done by the exact search of sbert/retrieval, in chunks. Shape letters: Q queries, N texts, D embedding width.
"""

from typing import Any

import numpy as np

from sbert.retrieval.search import Ranking, exact_search


def semantic_search(
    queries: np.ndarray, corpus: np.ndarray, top_k: int = 10, similarity: str = "cosine"
) -> Ranking:
    """queries (Q, D) or (D,), corpus (N, D) -> the min(top_k, N) best of each query. Raises ValueError as exact_search."""
    return exact_search(np.atleast_2d(queries), corpus, top_k, similarity)


def hits(ranking: Ranking) -> list[list[dict[str, Any]]]:
    """The form of the peer: of each query [{"corpus_id": position, "score": score}, ...], best first."""
    return [
        [{"corpus_id": i, "score": float(score)} for i, score in zip(ids, scores, strict=True)]
        for ids, scores in zip(ranking.ids, ranking.scores, strict=True)
    ]
