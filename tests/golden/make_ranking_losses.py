"""Ranking losses of sentence-transformers' cross-encoders on small score matrices: writes expected_ranking_losses.json.

Run it with an interpreter that has sentence-transformers 6.x: python tests/golden/make_ranking_losses.py. Each loss is
the peer's own class, around a model that hands back the scores it is given. Lists shorter than a row are cut before
the peer sees them and are masked cells (False in "mask") for this project.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.cross_encoder import CrossEncoder, losses  # type: ignore[import-not-found]

HERE = Path(__file__).resolve().parent
LENGTHS = {"graded": [5, 5, 5], "ragged": [6, 3, 1, 4], "binary": [7, 2], "large": [4, 4]}


class Given(CrossEncoder):  # type: ignore[misc]
    """A cross-encoder whose score of the texts (q, "q d") is the cell [q, d] of a matrix."""

    num_labels, device = 1, torch.device("cpu")

    def __init__(self, scores: torch.Tensor) -> None:
        torch.nn.Module.__init__(self)
        self.scores = scores

    def preprocess(self, pairs: list[tuple[str, str]], **options: Any) -> dict[str, torch.Tensor]:
        return {"cells": torch.tensor([[int(part) for part in document.split()] for _, document in pairs])}

    def forward(self, tokens: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"scores": self.scores[tokens["cells"][:, 0], tokens["cells"][:, 1]]}


def matrices(name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """scores, relevance, mask of one case, all (Q, N); scores have 3 decimals and no ties."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor(LENGTHS[name])
    shape = (len(lengths), int(lengths.max()))
    spread = 40 if name == "large" else 3
    scores = torch.randperm(2000 * spread, generator=generator)[: shape[0] * shape[1]].reshape(shape)
    relevance = torch.randint(0, 2 if name == "binary" else 5, shape, generator=generator).float()
    if name == "ragged":
        relevance[3] = 2.0  # a query without any pair
    return (scores - 1000 * spread) / 1000, relevance, torch.arange(shape[1]) < lengths[:, None]


def with_gradient(loss: type, name: str, seed: int, **options: Any) -> dict[str, Any]:
    """Value and gradient with respect to the scores of a listwise loss on one case."""
    scores, relevance, mask = matrices(name, seed)
    scores.requires_grad_()
    lengths = mask.sum(1).tolist()
    documents = [[f"{q} {d}" for d in range(length)] for q, length in enumerate(lengths)]
    labels = [row[:length] for row, length in zip(relevance, lengths, strict=True)]
    value = loss(Given(scores), **options)([["query"] * len(lengths), documents], labels)
    (gradient,) = torch.autograd.grad(value, scores)
    return {"value": rounded(value), "gradient": rounded(gradient)}


def margin_mse(scores: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """MarginMSELoss of a (B, n + 1) matrix, column 0 the positive."""
    scores = scores.clone().requires_grad_()
    columns = [[f"{q} {c}" for q in range(len(scores))] for c in range(scores.shape[1])]
    value = losses.MarginMSELoss(Given(scores))([["query"] * len(scores), *columns], labels)
    (gradient,) = torch.autograd.grad(value, scores)
    return {"value": rounded(value), "gradient": rounded(gradient)}


def rounded(tensor: torch.Tensor) -> Any:
    """Nested lists of numbers with 7 significant digits."""
    return [rounded(row) for row in tensor] if tensor.dim() else float(f"{tensor.item():.7g}")


def expected() -> dict[str, Any]:
    cases = {}
    for seed, name in enumerate(LENGTHS):
        scores, relevance, mask = matrices(name, seed)
        cases[name] = {
            "scores": rounded(scores), "relevance": rounded(relevance), "mask": mask.tolist(),
            "ListNetLoss()": with_gradient(losses.ListNetLoss, name, seed),
            "LambdaLoss()": with_gradient(losses.LambdaLoss, name, seed),
            "LambdaLoss(k=2, sigma=0.5)": with_gradient(losses.LambdaLoss, name, seed, k=2, sigma=0.5),
        }  # fmt: skip
    scores, teacher = matrices("graded", 7)[0], matrices("graded", 8)[0]
    return {
        "sentence-transformers": version("sentence-transformers"),
        "listwise": cases,
        "margin": {
            "scores": rounded(scores), "teacher": rounded(teacher),
            "MarginMSELoss(), one negative": margin_mse(scores[:, :2], (teacher[:, 0] - teacher[:, 1])),
            "MarginMSELoss(), four negatives": margin_mse(scores, teacher),
        },
    }  # fmt: skip


if __name__ == "__main__":
    text = json.dumps(expected(), allow_nan=False).replace(', "', ',\n"')
    (HERE / "expected_ranking_losses.json").write_text(text + "\n", encoding="utf8")
