"""evaluate on a cross-encoder: every kind of set in one pass, with numbers worked out from the scores of each pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from data import NLI_LABELS, DataSet, Example
from sbert import CrossEncoder, evaluate
from sbert.errors import RunError
from sbert.evaluation import cross as module
from sbert.predict import Predicted


def dataset(name: str, task: str, *examples: Example) -> DataSet:
    return DataSet(name, "all", task, "unknown", list(examples), {})


SCORES = {
    ("a", "b"): 0.1, ("c", "d"): 0.9, ("e", "f"): 0.4, ("g", "h"): 0.6,
    ("q", "right"): 0.5, ("q", "wrong"): 0.7, ("q", "late"): 0.8, ("p", "right"): 0.3, ("p", "wrong"): 0.2,
}  # fmt: skip
PAIRS = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")]


@pytest.fixture
def scored(tiny_model_dir: Path) -> Any:
    """A model whose predict looks its scores up."""
    model = CrossEncoder.from_pretrained(tiny_model_dir)
    calls: list[list[tuple[str, str]]] = []

    def lookup(_: CrossEncoder, pairs: list[tuple[str, str]], **options: Any) -> Predicted:
        calls.append(list(pairs))
        return Predicted(np.array([SCORES[pair] for pair in pairs], dtype=np.float32), len(pairs), 0, 0.0)

    with mock.patch.object(module, "predict", lookup):
        yield model, calls


def test_sets_of_every_kind_in_one_pass(scored: Any) -> None:
    model, calls = scored
    gold = [0.0, 1.0, 0.5, 0.2]
    sts = dataset("s", "sts", *(Example(pair, label) for pair, label in zip(PAIRS, gold, strict=True)))
    binary = dataset(
        "b", "sts", *(Example(pair, label) for pair, label in zip(PAIRS, [0.0, 1.0, 1.0, 0.0], strict=True))
    )
    triplets = dataset(
        "t", "triplet", Example(("q", "right", "wrong"), None), Example(("p", "right", "wrong"), None)
    )
    margins = dataset("m", "margin", Example(("p", "right", "wrong"), 0.5))
    ranking = dataset(
        "r",
        "ranking",
        Example(("q", "right", "wrong", "late"), (1.0, 0.0, 0.0)),
        Example(("p", "right", "wrong"), (1.0, 0.0)),
    )
    nli = dataset("n", "nli", Example(("a", "b"), 1))
    found = evaluate(model, [sts, binary, triplets, margins, ranking, nli])
    assert len(calls) == 1
    ours = [SCORES[pair] for pair in PAIRS]
    assert found["s/spearman"] == pytest.approx(spearmanr(ours, gold).statistic)
    assert found["s/pearson"] == pytest.approx(pearsonr(ours, gold).statistic, abs=1e-6)
    assert "s/ap" not in found and found["b/ap"] == pytest.approx((1 + 2 / 3) / 2)  # ranks 1 and 3
    assert found["t/accuracy"] == 0.5 and found["m/accuracy"] == 1.0
    assert found["r/mrr@10"] == pytest.approx((1 / 3 + 1) / 2)  # third of three; first of two
    assert not any(key.startswith("n/") for key in found)  # one score is no class


def test_retrieved_documents_and_k(scored: Any) -> None:
    model, _ = scored
    ranking = dataset("r", "ranking", Example(("q", "wrong", "late", "right"), (0.0, 0.0, 1.0), retrieved=2))
    everything = evaluate(model, ranking)
    assert everything["r/mrr@10"] == pytest.approx(1 / 3) and everything["r/base_mrr@10"] == 0
    assert evaluate(model, ranking, always_rerank_positives=False)["r/mrr@10"] == 0
    assert evaluate(model, ranking, k=2)["r/mrr@2"] == 0


def test_nli_of_three_labels(tiny_model_dir: Path) -> None:
    model = CrossEncoder.from_pretrained(tiny_model_dir, num_labels=3)
    logits = np.array([[2, 0, 1], [0, 1, 3], [0, 5, 1]], dtype=np.float32)
    nli = dataset("n", "nli", *(Example(pair, label) for pair, label in zip(PAIRS, [0, 1, 1], strict=False)))
    with mock.patch.object(module, "predict", lambda *_, **__: Predicted(logits, 3, 0, 0.0)):
        found = evaluate(model, [nli, dataset("s", "sts", Example(("a", "b"), 0.5))])
    assert found["n/accuracy"] == pytest.approx(2 / 3)
    assert (
        found["n/confusion/entailment/neutral"] == 1 and found["n/confusion/contradiction/contradiction"] == 1
    )
    assert not any(key.startswith("s/") for key in found)


@pytest.mark.parametrize("head", ["classification", "native"])
def test_classes_are_matched_by_name(tiny_model_dir: Path, head: str) -> None:
    """A published model may list its classes in another order."""
    model = CrossEncoder.from_pretrained(tiny_model_dir, num_labels=3, head=head)
    names = ["ENTAILMENT", "neutral", "contradiction"]
    model.model.config.id2label = dict(enumerate(names))
    logits = torch.from_numpy(model.predict(PAIRS))
    with mock.patch.object(module, "predict", lambda *_, **__: Predicted(np.array([[9.0, 0, 0]]), 1, 0, 0.0)):
        assert evaluate(model, dataset("n", "nli", Example(("a", "b"), 1)))["n/accuracy"] == 1  # entailment
    model.fresh = []
    model.set_labels(NLI_LABELS)
    assert list(model.model.config.id2label.values()) == list(NLI_LABELS)
    torch.testing.assert_close(torch.from_numpy(model.predict(PAIRS)), logits[:, [2, 0, 1]])
    model.model.config.id2label = {0: "a", 1: "b", 2: "c"}
    with pytest.raises(RunError, match="labels are a, b, c; needed are contradiction, entailment, neutral"):
        evaluate(model, dataset("n", "nli", Example(("a", "b"), 1)))


@pytest.mark.parametrize("task", ["sts", "ranking", "triplet"])
def test_scores_that_are_no_numbers(tiny_model_dir: Path, task: str) -> None:
    model = CrossEncoder.from_pretrained(tiny_model_dir)
    with torch.no_grad():
        model.head.out_proj.bias.fill_(float("nan"))  # type: ignore[union-attr]
    example = {
        "sts": Example(("a", "b"), 0.5), "ranking": Example(("a", "b", "c"), (1.0, 0.0)),
        "triplet": Example(("a", "b", "c"), None),
    }[task]  # fmt: skip
    with pytest.raises(RunError, match=r"scores are not finite, the first is of \('a', 'b'\)"):
        evaluate(model, dataset("s", task, example))


def test_no_examples(tiny_model_dir: Path) -> None:
    with pytest.raises(ValueError, match="s has no examples to score"):
        evaluate(CrossEncoder.from_pretrained(tiny_model_dir), dataset("s", "sts"))
