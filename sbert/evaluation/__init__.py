"""Evaluation: metrics of a model on data sets, as one flat dict such as {"stsb-test/spearman_cosine": 0.82}."""

from sbert.evaluation.evaluate import evaluate, evaluate_objective
from sbert.evaluation.nli import classification_metrics
from sbert.evaluation.sts import similarity_metrics

__all__ = ["classification_metrics", "evaluate", "evaluate_objective", "similarity_metrics"]
