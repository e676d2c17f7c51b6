"""Retrieval: sparse and dense search, an index on disk, fusion, windows over long passages. No name here needs torch
but ``best_weight`` and ``fingerprint_of``; names are loaded on first use.

    bm25 = BM25(passages, "words").search(questions, k=100)
    dense = exact_search(model.encode_query(questions), model.encode_document(passages), k=100)
    fused = convex_combination(bm25, dense, weight=0.5)
"""

from typing import Any

_HOME = {
    "ANALYZERS": "sbert.retrieval.sparse",
    "BM25": "sbert.retrieval.sparse",
    "Index": "sbert.retrieval.index",
    "Ranking": "sbert.retrieval.search",
    "best_of": "sbert.retrieval.windows",
    "best_weight": "sbert.retrieval.fusion",
    "convex_combination": "sbert.retrieval.fusion",
    "cut": "sbert.retrieval.windows",
    "exact_search": "sbert.retrieval.search",
    "fingerprint_of": "sbert.retrieval.index",
    "load_index": "sbert.retrieval.index",
    "reciprocal_rank_fusion": "sbert.retrieval.fusion",
    "save_index": "sbert.retrieval.index",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sbert.retrieval' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
