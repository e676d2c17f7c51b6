"""Sentence-BERT from scratch. Names are loaded on first use, so that ``train.py --help`` does not wait for torch."""

from typing import Any

_HOME = {
    "modelWithPooling": "sbert.model",
    "CrossEncoder": "sbert.cross_encoder",
    "modelForClassificationTraining": "sbert.objectives",
    "modelForRegressionTraining": "sbert.objectives",
    "modelForTripletTraining": "sbert.objectives",
    "modelForCoSENTTraining": "sbert.objectives",
    "modelForMarginMSETraining": "sbert.objectives",
    "modelForDistillationTraining": "sbert.objectives",
    "evaluate": "sbert.evaluation",
    "fit": "sbert.loop",
    "Settings": "sbert.loop",
    "Source": "sbert.source",
    "PairSource": "sbert.pair_source",
    "RankingSource": "sbert.pair_source",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sbert' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
