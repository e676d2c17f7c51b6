"""Directories written by sentence-transformers, read here: the embeddings must be its own (tests/golden/README.md)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from losses import PAIRWISE, cosent_loss, cosine_regression_loss, triplet_loss
from sbert.evaluation import similarity_metrics
from sbert.model import modelWithPooling

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/expected.json"))


def embed(model: modelWithPooling, expected: dict) -> np.ndarray:
    call = {"encode": model.encode, "query": model.encode_query, "document": model.encode_document}[
        expected["kind"]
    ]
    options = {"prompt_name": expected["prompt_name"]} if expected.get("prompt_name") else {}
    return call(expected["texts"], **options)


def assert_same(embeddings: np.ndarray, expected: dict) -> None:
    """To 1e-6 of the largest value: what rounding loses of a sum goes by its summands, not by what is left of them."""
    golden = np.array(expected["embeddings"])
    np.testing.assert_allclose(embeddings, golden, rtol=0, atol=1e-6 * max(1.0, np.abs(golden).max()))


def test_there_are_golden_cases() -> None:
    assert len(CASES) >= 20


@pytest.mark.parametrize("case", CASES)
def test_reads_what_the_peer_wrote(case: str) -> None:
    expected = json.loads((GOLDEN / case / "expected.json").read_text(encoding="utf8"))
    model = modelWithPooling.from_pretrained(GOLDEN / case / "model")
    assert_same(embed(model, expected), expected)


@pytest.mark.parametrize("case", CASES)
def test_survives_saving_and_loading(case: str, tmp_path: Path) -> None:
    expected = json.loads((GOLDEN / case / "expected.json").read_text(encoding="utf8"))
    modelWithPooling.from_pretrained(GOLDEN / case / "model").save_pretrained(tmp_path / "again")
    again = modelWithPooling.from_pretrained(tmp_path / "again")
    assert_same(embed(again, expected), expected)


def test_losses_and_similarities_equal_the_peers() -> None:
    golden = json.loads((GOLDEN / "expected_losses.json").read_text(encoding="utf8"))
    a, b, c, scores = (torch.tensor(golden[key]) for key in ("a", "b", "c", "scores"))
    ours = {
        "CoSENTLoss(scale=20)": lambda a: cosent_loss(PAIRWISE["cosine"](a, b), scores),
        "CosineSimilarityLoss()": lambda a: cosine_regression_loss(a, b, scores),
        "TripletLoss(euclidean, margin=1)": lambda a: triplet_loss(a, b, c),
    }
    for name, loss in ours.items():
        start = a.clone().requires_grad_()
        value = loss(start)
        value.backward()
        assert value.item() == pytest.approx(golden["losses"][name]["value"], abs=1e-5), name
        torch.testing.assert_close(
            start.grad, torch.tensor(golden["losses"][name]["gradient_a"]), atol=1e-5, rtol=1e-4
        )
    for name, values in golden["pairwise"].items():
        torch.testing.assert_close(PAIRWISE[name](a, b), torch.tensor(values), atol=1e-5, rtol=1e-5)
    metrics = similarity_metrics(a.numpy(), b.numpy(), scores.tolist())
    for name, value in metrics.items():
        assert value == pytest.approx(golden["evaluator"][f"golden_{name}"], abs=1e-6), name
