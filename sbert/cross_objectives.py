"""Training objectives of a cross-encoder: the same form as those of the bi-encoder (sbert/objectives.py).

    objective(features, answer) -> {"loss": scalar, ...}
    features   one column: input_ids, attention_mask, token_type_ids (P, T), a row a pair
    answer     (B,) class ids or scores in 0..1; or (Q, N) relevance of each query's candidates, nan where there is none

Shape letters: P pairs, K labels, Q queries, N candidates a query.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losses import lambda_loss, listnet_loss, margin_mse_loss, margins_of, softmax_ranking_loss
from sbert.chunks import Chunks, Features, count_of
from sbert.cross_encoder import CrossEncoder
from sbert.objectives import Encode, Objective

CHUNK_ROWS = 32  # pairs of a ranking batch that go through the encoder together


class CrossObjective(Objective):
    """Base: ``embed`` gives the logits of every pair, ``score`` a loss on them in fp32."""

    columns = 1
    tasks: tuple[str, ...]
    ranks: bool = False  # whether an answer is (Q, N)
    one_positive: bool = False  # whether a row has exactly one right candidate
    num_negatives: int = 0  # candidates to draw from the batch's other queries
    num_labels: int = 1

    def __init__(self, model: CrossEncoder) -> None:
        nn.Module.__init__(self)
        self.model = model
        if self.tasks != ("nli",) and model.num_labels != 1:
            name = type(self).__name__
            raise ValueError(
                f"{name} needs a model of one score a pair; this one has {model.num_labels} labels"
            )

    def plan(self, features: Features, rows: int = 0) -> list[tuple[Encode, Chunks]]:
        """(P, K) logits. The candidates of a ranking batch differ in length: they run in length-sorted parts."""
        (batch,) = features
        pairs = len(batch["input_ids"])
        count = count_of(pairs, rows or CHUNK_ROWS) if rows or self.ranks else 1
        return [(lambda part: self.model(**part)["logits"], Chunks.of([batch], count))]

    def loss(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        assert answer is not None
        (logits,) = representations
        if not self.ranks:
            return {"loss": self.pair_loss(logits, answer), "logits": logits}
        mask = ~answer.isnan()
        scores = torch.zeros_like(answer).masked_scatter(mask, logits.squeeze(1))
        return {"loss": self.list_loss(scores, answer.nan_to_num(0.0), mask), "logits": logits}

    def pair_loss(self, logits: Tensor, answer: Tensor) -> Tensor:
        """(P, K), (P,) -> scalar."""
        raise NotImplementedError

    def list_loss(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        """(Q, N) three times -> scalar; masked cells hold 0."""
        raise NotImplementedError


class CrossClassification(CrossObjective):
    """Cross-entropy over K classes: NLI (SBERT paper, section 4.2, trains BERT this way)."""

    tasks = ("nli",)

    def __init__(self, model: CrossEncoder) -> None:
        super().__init__(model)
        self.num_labels = model.num_labels

    def pair_loss(self, logits: Tensor, answer: Tensor) -> Tensor:
        return F.cross_entropy(logits, answer)


class CrossRegression(CrossObjective):
    """Mean squared error of the raw score, no activation, and a gold score in 0..1: the write-up's one-label case."""

    tasks = ("sts",)

    def pair_loss(self, logits: Tensor, answer: Tensor) -> Tensor:
        return F.mse_loss(logits.squeeze(1), answer)


class CrossBinary(CrossObjective):
    """Binary cross-entropy of the sigmoid of the score and a gold score in 0..1, whole or fractional."""

    tasks = ("sts",)

    def pair_loss(self, logits: Tensor, answer: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits.squeeze(1), answer)


class CrossRanking(CrossObjective):
    """Softmax over a query's right document, its own wrong ones and ``num_negatives`` of the batch's others.

    The score is ``scale * sigmoid(logit)``: bounded, so that an easy negative cannot be pushed away for ever.
    """

    tasks = ("ranking", "triplet")
    ranks = one_positive = True

    def __init__(self, model: CrossEncoder, num_negatives: int = 4, scale: float = 10.0) -> None:
        super().__init__(model)
        self.num_negatives, self.scale = num_negatives, scale

    def list_loss(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        return softmax_ranking_loss(self.scale * scores.sigmoid(), mask=mask)  # the right one is always first


class CrossMarginMSE(CrossObjective):
    """Margin MSE: the difference of two raw scores learns a teacher's difference (losses/margin_mse.py)."""

    tasks = ("margin",)
    ranks = True

    def list_loss(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        return margin_mse_loss(scores[:, 0], scores[:, 1:], margins_of(relevance))


class CrossListNet(CrossObjective):
    """ListNet on graded candidates (losses/listwise.py)."""

    tasks = ("ranking",)
    ranks = True

    def list_loss(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        return listnet_loss(scores, relevance, mask)


class CrossLambda(CrossObjective):
    """LambdaLoss on graded candidates (losses/listwise.py)."""

    tasks = ("ranking",)
    ranks = True

    def list_loss(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        return lambda_loss(scores, relevance, mask)
