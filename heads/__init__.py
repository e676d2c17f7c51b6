"""Modules on top of encoder outputs: the cross-encoder's head, pair features for classifiers, layers after pooling."""

from heads.classification import classificationHead
from heads.embedding import Dense, Normalize
from heads.pair_features import CONCATENATIONS, pair_features

__all__ = ["CONCATENATIONS", "Dense", "Normalize", "classificationHead", "pair_features"]
