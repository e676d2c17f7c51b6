"""Retrieval: sparse and dense search, an index on disk, fusion, windows over long passages, re-ranking, mining, run files.
Names are loaded on first use; those that need a model, ``best_weight`` and ``fingerprint_of`` bring torch with them.

    bm25 = BM25(passages, "words").search(questions, k=100)
    dense, _ = dense_search(model, questions, encode_pool(model, passages), k=100)
    fused = convex_combination(bm25, dense, weight=0.5)
"""

from typing import Any

_HOME = {
    "ANALYZERS": "sbert.retrieval.sparse",
    "Approximate": "sbert.retrieval.approximate",
    "BM25": "sbert.retrieval.sparse",
    "DensePool": "sbert.retrieval.dense",
    "DenseStage": "sbert.retrieval.pipeline",
    "Found": "sbert.retrieval.pipeline",
    "Index": "sbert.retrieval.index",
    "Ranking": "sbert.retrieval.search",
    "Rules": "sbert.retrieval.mining",
    "SparseStage": "sbert.retrieval.pipeline",
    "best_of": "sbert.retrieval.windows",
    "best_weight": "sbert.retrieval.fusion",
    "blend": "sbert.retrieval.pipeline",
    "convex_combination": "sbert.retrieval.fusion",
    "cut_texts": "sbert.retrieval.windows",
    "dense_search": "sbert.retrieval.dense",
    "encode_pool": "sbert.retrieval.dense",
    "evaluate_retrieval": "sbert.retrieval.dense",
    "exact_search": "sbert.retrieval.search",
    "fingerprint_of": "sbert.retrieval.index",
    "fuse": "sbert.retrieval.pipeline",
    "holding": "sbert.retrieval.windows",
    "load_approximate": "sbert.retrieval.approximate",
    "load_index": "sbert.retrieval.index",
    "load_pool": "sbert.retrieval.dense",
    "mine": "sbert.retrieval.mining",
    "read_run": "sbert.retrieval.trec",
    "recall_against": "sbert.retrieval.approximate",
    "reciprocal_rank_fusion": "sbert.retrieval.fusion",
    "rerank": "sbert.retrieval.pipeline",
    "save_approximate": "sbert.retrieval.approximate",
    "save_index": "sbert.retrieval.index",
    "save_pool": "sbert.retrieval.dense",
    "search_pool": "sbert.retrieval.dense",
    "to_ranking": "sbert.retrieval.trec",
    "write_run": "sbert.retrieval.trec",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sbert.retrieval' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
