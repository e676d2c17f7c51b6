"""Modules that sit on top of encoder outputs: pair features for classifiers, and the layers after pooling."""

from heads.embedding import Dense, Normalize
from heads.pair_features import CONCATENATIONS, pair_features

__all__ = ["CONCATENATIONS", "Dense", "Normalize", "pair_features"]
