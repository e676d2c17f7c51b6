"""Training objectives: a model wrapped so that one loop can train it.

    objective(features, answer) -> {"loss": scalar, ...}
    features   one dict a text column (input_ids, attention_mask: (B, T)): two columns for a pair, three for a triplet
    answer     (B,) class ids, (B,) scores in 0..1, (B, D) a teacher's vectors, or None

Every objective is ``embed`` (the part with the encoder) followed by ``score`` (a loss on vectors, in fp32), so that a
loop can also run the two apart (sbert/gradient_cache.py) without knowing which objective it is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.pair_features import CONCATENATIONS, pair_features
from losses import (
    PAIRWISE,
    cosent_loss,
    cosine_regression_loss,
    distillation_loss,
    margin_mse_loss,
    triplet_loss,
)
from sbert.chunks import Chunks, Features, count_of, parts_of
from sbert.model import modelWithPooling
from sbert.packing import is_packed

Encode = Callable[[dict[str, Tensor]], Tensor]  # what one part of a batch becomes: (rows, D)


class Objective(nn.Module):
    """Base: ``embed`` then ``score``. What an objective takes is told by ``tasks`` and ``columns``."""

    model: Any  # a modelWithPooling, two of them, or a CrossEncoder
    tasks: tuple[str, ...]  # the kinds of data it trains on: "nli", "sts", "triplet", ...
    columns: int = 2

    def forward(self, features: Features, answer: Tensor | None = None) -> dict[str, Any]:
        return self.score(self.embed(features), answer)

    def encoding(self) -> nn.Module:
        """What ``plan`` encodes with: of several processes each has the gradient of its rows alone."""
        return self.model

    def plan(self, features: Features, rows: int = 0) -> list[tuple[Encode, Chunks]]:
        """Who encodes what, in which parts: every text of ``features`` once. rows: at most so many in a part (0: as is
        best for speed)."""
        raise NotImplementedError

    def embed(self, features: Features) -> list[Tensor]:
        """The part with the encoder: features -> representations, one a column."""
        return [
            column
            for encode, chunks in self.plan(features)
            for column in chunks.restore([encode(part) for part in chunks.parts])
        ]

    def score(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        """The loss, in fp32 whatever the encoder ran in."""
        with torch.autocast(representations[0].device.type, enabled=False):
            return self.loss([r.float() for r in representations], answer)

    def loss(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        raise NotImplementedError


class SiameseObjective(Objective):
    """An objective on sentence embeddings; a raw encoder is wrapped into modelWithPooling."""

    model: modelWithPooling

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model if isinstance(model, modelWithPooling) else modelWithPooling(model)

    def plan(self, features: Features, rows: int = 0) -> list[tuple[Encode, Chunks]]:
        """Siamese means one encoder, so which column a text stands in does not matter to it: the texts of all columns
        are sorted together and run in a few parts (sbert.chunks.parts_of), or in parts of ``rows`` texts."""
        if len(features) != self.columns:
            raise ValueError(f"{type(self).__name__} takes {self.columns} text columns, got {len(features)}")
        lengths = [n for column in features for n in column["attention_mask"].sum(1).tolist()]
        packed = is_packed(self.model.model)
        count = count_of(len(lengths), rows) if rows else parts_of(lengths, self.model.device, packed)
        return [(embedding_of(self.model), Chunks.of(features, count))]


def embedding_of(model: modelWithPooling) -> Encode:
    """The encoding of a bi-encoder: input_ids, attention_mask (rows, T) -> (rows, D)."""
    return lambda part: model(**part)["sentence_embedding"]


class modelForClassificationTraining(SiameseObjective):  # noqa: N801  (the name the write-up gave it)
    """Classification objective: ``softmax(W [u; v; |u - v|])``, cross-entropy (SBERT paper, section 3, figure 1).

    num_labels: K. concat: a key of heads.CONCATENATIONS. Also returns "logits": (B, K).
    """

    tasks = ("nli",)

    def __init__(self, model: nn.Module, num_labels: int = 3, concat: str = "u,v,|u-v|") -> None:
        super().__init__(model)
        if concat not in CONCATENATIONS:
            raise ValueError(f"concat {concat!r}: allowed are {'; '.join(CONCATENATIONS)}")
        self.concat = concat
        self.classifier = nn.Linear(len(CONCATENATIONS[concat]) * self.model.width, num_labels)

    def logits(self, u: Tensor, v: Tensor) -> Tensor:
        """(B, D), (B, D) -> (B, K)."""
        return self.classifier(pair_features(u, v, self.concat))

    def loss(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        logits = self.logits(*representations)
        assert answer is not None
        return {"loss": F.cross_entropy(logits, answer), "logits": logits}


class modelForRegressionTraining(SiameseObjective):  # noqa: N801
    """Regression objective: mean squared error of cos(u, v) and a score in 0..1 (SBERT paper, section 3, figure 2).

    Raises ValueError on a score outside 0..1: the reader scales scores, nothing after it does.
    """

    tasks = ("sts",)

    def loss(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        u, v = representations
        assert answer is not None
        return {"loss": cosine_regression_loss(u, v, answer), "cosine": PAIRWISE["cosine"](u, v).detach()}


class modelForCoSENTTraining(SiameseObjective):  # noqa: N801
    """CoSENT: within a batch, pairs with higher gold scores should have higher cosines (losses/cosent.py)."""

    tasks = ("sts",)

    def __init__(self, model: nn.Module, scale: float = 20.0) -> None:
        super().__init__(model)
        self.scale = scale

    def loss(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        assert answer is not None
        return {"loss": cosent_loss(PAIRWISE["cosine"](*representations), answer, scale=self.scale)}


class modelForTripletTraining(SiameseObjective):  # noqa: N801
    """Triplet objective: anchor nearer to positive than to negative by a margin (SBERT paper, section 3)."""

    tasks = ("triplet",)
    columns = 3

    def __init__(self, model: nn.Module, margin: float = 1.0, distance: str = "euclidean") -> None:
        super().__init__(model)
        self.margin, self.distance = margin, distance

    def loss(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        a, p, n = representations
        return {"loss": triplet_loss(a, p, n, margin=self.margin, distance=self.distance)}


class modelForMarginMSETraining(SiameseObjective):  # noqa: N801
    """Margin MSE: dot(a, p) - dot(a, n) learns a teacher's difference of scores (losses/margin_mse.py)."""

    tasks = ("margin",)
    columns = 3

    def loss(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        a, p, n = representations
        assert answer is not None
        return {"loss": margin_mse_loss(PAIRWISE["dot"](a, p), PAIRWISE["dot"](a, n), answer)}


class modelForDistillationTraining(SiameseObjective):  # noqa: N801
    """Multilingual distillation: a sentence and its translation are both drawn to where a teacher has the sentence
    (losses/distillation.py). answer: (B, D), the teacher's vectors of the first column (sbert/distillation.py)."""

    tasks = ("parallel",)

    def loss(self, representations: Sequence[Tensor], answer: Tensor | None) -> dict[str, Any]:
        source, target = representations
        assert answer is not None
        return {"loss": (distillation_loss(source, answer) + distillation_loss(target, answer)) / 2}
