"""What people do with sentence embeddings: each a function of vectors, and a command.

    python -m sbert.applications search|paraphrases|parallel|cluster|map|keywords|recommend --help

Names are loaded on first use. They take arrays (N, D), as ``model.encode`` gives them, and know no model:

    pairs = paraphrase_mining(model.encode(texts))
    communities = community_detection(model.encode(texts), threshold=0.75)
"""

from typing import Any

_HOME = {
    "agglomerative": "sbert.applications.clustering",
    "build_parser": "sbert.applications.flags",
    "candidate_phrases": "sbert.applications.keywords",
    "community_detection": "sbert.applications.communities",
    "distinctive_phrases": "sbert.applications.keywords",
    "k_means": "sbert.applications.clustering",
    "mine_parallel": "sbert.applications.parallel",
    "paraphrase_mining": "sbert.applications.paraphrases",
    "principal_components": "sbert.applications.maps",
    "recommend": "sbert.applications.recommendation",
    "semantic_search": "sbert.applications.search",
    "v_measure": "sbert.applications.agreement",
    "write_projector": "sbert.applications.maps",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sbert.applications' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
