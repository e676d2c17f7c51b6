"""Training objectives for dense retrieval: questions and passages, one encoder or two, the batch as the negatives.

    objective(features, answer) -> {"loss": scalar}
    features   two columns: questions (Q, T_q) and the distinct passages of the batch (N, T_p), N >= 1
    answer     (Q, N): 1 the question's passage, 0 a wrong one, nan one that must not count against it (it answers the
               question as well, or is known to)

Every passage of the batch is a negative of every question it does not answer, mined ("hard") negatives included.
Shape letters: Q questions, N passages, T tokens, D embedding width.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from losses import mega_batch_margin_loss, softmax_ranking_loss
from sbert.chunks import Chunks, Features, count_of, parts_of
from sbert.model import modelWithPooling
from sbert.objectives import Encode, Objective, embedding_of
from sbert.packing import is_packed
from sbert.towers import TwoTowers


def towers_of(model: modelWithPooling | TwoTowers) -> tuple[modelWithPooling, modelWithPooling]:
    """(encoder of questions, encoder of passages): one and the same where there are no two."""
    return (model.query, model.document) if isinstance(model, TwoTowers) else (model, model)


class DenseObjective(Objective):
    """Base: similarities of all questions and passages, for every Matryoshka width.

    similarity: "cosine" or "dot". dims: the loss is summed over the embeddings' first d dimensions, for every d of it
    (Kusupati et al. 2022, arXiv 2205.13147); () is the whole width alone.
    """

    tasks: tuple[str, ...] = ("retrieval", "ranking", "triplet")

    def __init__(
        self,
        model: modelWithPooling | TwoTowers,
        similarity: str = "cosine",
        dims: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if similarity not in ("cosine", "dot"):
            raise ValueError(f"similarity {similarity!r}: allowed are cosine, dot")
        for d in dims:
            if not 1 <= d <= model.width:
                raise ValueError(f"dims {d}: allowed are 1 to {model.width}, the width of the embedding")
        self.model = model
        self.similarity = similarity
        self.dims = tuple(dims) or (model.width,)

    def plan(self, features: Features, rows: int = 0) -> list[tuple[Encode, Chunks]]:
        """Questions and passages apart, for their lengths differ, and so may their encoders."""
        if len(features) != self.columns:
            raise ValueError(
                f"{type(self).__name__} takes questions and passages, got {len(features)} columns"
            )
        plan = []
        for tower, column in zip(towers_of(self.model), features, strict=True):
            lengths = column["attention_mask"].sum(1).tolist()
            packed = is_packed(tower.model)
            count = count_of(len(lengths), rows) if rows else parts_of(lengths, self.model.device, packed)
            plan.append((embedding_of(tower), Chunks.of([column], count)))
        return plan

    def loss(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        questions, passages = representations
        assert answer is not None
        positive = answer.nan_to_num(0.0).argmax(1)  # (Q,)
        counted = ~answer.isnan()
        total = torch.zeros((), device=questions.device)
        for d in self.dims:
            q, p = questions[:, :d], passages[:, :d]
            if self.similarity == "cosine":
                q, p = F.normalize(q, dim=-1), F.normalize(p, dim=-1)
            total = total + self.contrast(q @ p.T, positive, counted)
        return {"loss": total}

    def contrast(self, similarities: Tensor, positive: Tensor, counted: Tensor) -> Tensor:
        """similarities (Q, N), positive (Q,) column of the right passage, counted (Q, N) bool -> scalar."""
        raise NotImplementedError


class DenseRanking(DenseObjective):
    """Multiple-negatives ranking: which of the batch's passages answers the question? (losses/ranking.py)

    scale: similarities are multiplied by it, 1 / temperature. symmetric: the mean of that loss and its mirror image,
    which of the batch's questions does the passage answer? (one right question a row; others of that passage left out)
    """

    def __init__(
        self,
        model: modelWithPooling | TwoTowers,
        similarity: str = "cosine",
        dims: Sequence[int] = (),
        scale: float = 20.0,
        symmetric: bool = False,
    ) -> None:
        super().__init__(model, similarity, dims)
        self.scale, self.symmetric = scale, symmetric

    def contrast(self, similarities: Tensor, positive: Tensor, counted: Tensor) -> Tensor:
        scores = self.scale * similarities
        forward = softmax_ranking_loss(scores, positive, counted)
        if not self.symmetric:
            return forward
        own = torch.arange(len(positive), device=scores.device)  # the question of each row
        same = (
            positive[:, None] == positive[None, :]
        )  # (Q, Q): questions of one passage are nobody's negatives
        mask = (counted[:, positive].T & ~same) | torch.eye(len(own), dtype=torch.bool, device=scores.device)
        backward = softmax_ranking_loss(scores[:, positive].T, own, mask)
        return (forward + backward) / 2


class DenseMegaBatchMargin(DenseObjective):
    """Mega-batch margin: the hardest wrong passage of the batch, and two margins (losses/mega_batch_margin.py)."""

    def __init__(
        self,
        model: modelWithPooling | TwoTowers,
        similarity: str = "cosine",
        dims: Sequence[int] = (),
        positive_margin: float = 0.8,
        negative_margin: float = 0.3,
    ) -> None:
        super().__init__(model, similarity, dims)
        self.positive_margin, self.negative_margin = positive_margin, negative_margin

    def contrast(self, similarities: Tensor, positive: Tensor, counted: Tensor) -> Tensor:
        return mega_batch_margin_loss(
            similarities, positive, counted, self.positive_margin, self.negative_margin
        )
