"""Losses, similarities and evaluator metrics of sentence-transformers on small fixed tensors.

Part of make_golden.py (which see for how to run); the inputs stand in expected_losses.json beside the values.
Each loss is the peer's own class, around a model that hands back the tensors it is given.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sentence_transformers import util  # type: ignore[import-not-found]
from sentence_transformers.sentence_transformer import losses  # type: ignore[import-not-found]
from sentence_transformers.sentence_transformer.evaluation import (  # type: ignore[import-not-found]
    EmbeddingSimilarityEvaluator,
)

ROWS, WIDTH = 6, 5
SIMILARITIES = {
    "cosine": util.pairwise_cos_sim,
    "dot": util.pairwise_dot_score,
    "euclidean": util.pairwise_euclidean_sim,
    "manhattan": util.pairwise_manhattan_sim,
}


class Given(torch.nn.Module):
    """A model whose sentence embeddings are the tensors it is called with; encode() looks texts up."""

    similarity_fn_name = "cosine"
    model_card_data = SimpleNamespace(
        set_evaluation_metrics=lambda *ignored: None
    )  # the evaluator reports here

    def __init__(self, by_text: dict[str, torch.Tensor] | None = None) -> None:
        super().__init__()
        self.by_text = by_text or {}

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"sentence_embedding": features["embedding"]}

    def encode(self, sentences: list[str], **options: Any) -> np.ndarray:
        return torch.stack([self.by_text[text] for text in sentences]).numpy()


def drawn(seed: int) -> torch.Tensor:
    """A (ROWS, WIDTH) fp32 tensor whose numbers have 3 decimals, so that JSON holds them exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-1500, 1500, (ROWS, WIDTH), generator=generator).float() / 1000


def loss_values(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, scores: torch.Tensor) -> dict[str, Any]:
    """Value and gradient with respect to `a` for every loss; the keys say class and arguments."""
    model = Given()
    triplet = losses.TripletLoss(model, losses.TripletDistanceMetric.EUCLIDEAN, triplet_margin=1.0)
    ranking = losses.MultipleNegativesRankingLoss(model, scale=20.0)
    mega_batch = losses.MegaBatchMarginLoss(model, 0.8, 0.3, use_mini_batched_version=False)
    cases: dict[str, tuple[torch.nn.Module, list[torch.Tensor]]] = {
        "CoSENTLoss(scale=20)": (losses.CoSENTLoss(model, scale=20.0), [a, b]),
        "CosineSimilarityLoss()": (losses.CosineSimilarityLoss(model), [a, b]),
        "TripletLoss(euclidean, margin=1)": (triplet, [a, b, c]),
        "MultipleNegativesRankingLoss(scale=20), pairs": (ranking, [a, b]),
        "MultipleNegativesRankingLoss(scale=20), triplets": (ranking, [a, b, c]),
        "MegaBatchMarginLoss(0.8, 0.3)": (mega_batch, [a, b]),
    }
    values = {}
    for name, (loss, columns) in cases.items():
        anchor = columns[0].clone().requires_grad_(True)
        value = loss([{"embedding": x} for x in [anchor, *columns[1:]]], scores)
        (gradient,) = torch.autograd.grad(value, anchor)
        values[name] = {"value": round(value.item(), 8), "gradient_a": rounded(gradient)}
    return values


def rounded(tensor: torch.Tensor) -> Any:
    """Nested lists with 8 decimals."""
    return np.round(tensor.double().numpy(), 8).tolist()


def metrics_of(a: torch.Tensor, b: torch.Tensor, scores: torch.Tensor) -> dict[str, float]:
    """EmbeddingSimilarityEvaluator's metrics of the pairs (a_i, b_i), over all four similarities."""
    first, second = [f"a{i}" for i in range(ROWS)], [f"b{i}" for i in range(ROWS)]
    model = Given(dict(zip(first + second, torch.cat([a, b]), strict=True)))
    evaluator = EmbeddingSimilarityEvaluator(
        first, second, scores.tolist(), similarity_fn_names=list(SIMILARITIES), name="golden", write_csv=False
    )
    return {key: round(float(value), 8) for key, value in evaluator(model).items()}


def expected_losses() -> dict[str, Any]:
    """Everything of expected_losses.json."""
    a, b, c = drawn(1), drawn(2), drawn(3)
    b = (b + a).round(decimals=3)  # nearer to a, so that only some rows violate the margins
    scores = torch.tensor([0.9, 0.25, 0.5, 0.5, 1.0, 0.0])  # with a tie
    pairwise = {name: rounded(function(a, b)) for name, function in SIMILARITIES.items()}
    return {
        "a": rounded(a), "b": rounded(b), "c": rounded(c), "scores": rounded(scores),
        "losses": loss_values(a, b, c, scores),
        "pairwise": pairwise,
        "evaluator": metrics_of(a, b, scores),
    }  # fmt: skip
