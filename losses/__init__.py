"""Loss functions: tensors in, one scalar tensor out. No model, no tokenizer, no distributed code.

Shape letters: B batch, D embedding width, K labels, Q queries, N candidates (documents) of a query, n negatives of a query.
"""

from losses.cosent import cosent_loss
from losses.distillation import distillation_loss
from losses.listwise import lambda_loss, listnet_loss
from losses.margin_mse import margin_mse_loss, margins_of
from losses.mega_batch_margin import mega_batch_margin_loss
from losses.ranking import softmax_ranking_loss
from losses.regression import cosine_regression_loss
from losses.similarity import PAIRWISE, pairwise_cosine, pairwise_dot, pairwise_euclidean, pairwise_manhattan
from losses.triplet import triplet_loss

__all__ = [
    "PAIRWISE",
    "cosent_loss",
    "cosine_regression_loss",
    "distillation_loss",
    "lambda_loss",
    "listnet_loss",
    "margin_mse_loss",
    "margins_of",
    "mega_batch_margin_loss",
    "pairwise_cosine",
    "pairwise_dot",
    "pairwise_euclidean",
    "pairwise_manhattan",
    "softmax_ranking_loss",
    "triplet_loss",
]
