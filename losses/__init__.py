"""Loss functions: tensors in, one scalar tensor out. No model, no tokenizer, no distributed code.

Shape letters: B batch, D embedding width, K labels, Q queries, N passages.
"""

from losses.cosent import cosent_loss
from losses.regression import cosine_regression_loss
from losses.similarity import PAIRWISE, pairwise_cosine, pairwise_dot, pairwise_euclidean, pairwise_manhattan
from losses.triplet import triplet_loss

__all__ = [
    "PAIRWISE",
    "cosent_loss",
    "cosine_regression_loss",
    "pairwise_cosine",
    "pairwise_dot",
    "pairwise_euclidean",
    "pairwise_manhattan",
    "triplet_loss",
]
