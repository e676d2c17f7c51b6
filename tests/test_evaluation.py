"""Metrics by hand, evaluation over several sets at once, and the tables a run prints."""

import importlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from data.examples import DataSet, Example
from losses import PAIRWISE
from sbert.encode import Encoded
from sbert.evaluation import classification_metrics, evaluate, evaluate_objective, similarity_metrics
from sbert.model import modelWithPooling
from sbert.objectives import modelForClassificationTraining, modelForRegressionTraining
from sbert.report import before_after_table, percent, similarity_tables, table

MEASURES = ("cosine", "euclidean", "manhattan", "dot")


def dataset(name: str, task: str, rows: Sequence[tuple], split: str = "test") -> DataSet:
    """Rows: the texts, then the label."""
    return DataSet(name, split, task, "en", [Example(tuple(row[:-1]), row[-1]) for row in rows], {})


# ---------------------------------------------------------------- correlations


def test_pearson_and_spearman_by_hand_with_a_tie() -> None:
    """The dot product with 1 is the value itself. Values 1, 2, 2, 3 have ranks 1, 2.5, 2.5, 4."""
    u = np.array([[1.0], [2.0], [2.0], [3.0]], dtype=np.float32)
    found = similarity_metrics(u, np.ones_like(u), [0.0, 0.25, 0.5, 1.0])
    assert found["spearman_dot"] == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert found["pearson_dot"] == pytest.approx(1 / math.sqrt(2 * 0.546875))


def test_four_measures_by_hand() -> None:
    """Each measure ranks the four pairs in an order of its own; rho = 1 - 6 sum(d^2) / (4 * 15)."""
    u = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (4, 1))
    v = np.array([[2.0, 0.0], [9.0, 3.0], [1.0, 4.5], [-2.0, 3.0]], dtype=np.float32)
    found = similarity_metrics(u, v, [1.0, 0.75, 0.5, 0.25])
    assert set(found) == {f"{kind}_{measure}" for kind in ("pearson", "spearman") for measure in MEASURES}
    assert found["spearman_cosine"] == pytest.approx(1.0)
    assert found["spearman_dot"] == pytest.approx(1 - 6 * 2 / 60)  # 2, 9, 1, -2
    assert found["spearman_manhattan"] == pytest.approx(1 - 6 * 6 / 60)  # -1, -11, -4.5, -6
    assert found["spearman_euclidean"] == pytest.approx(1 - 6 * 8 / 60)  # -1, -8.54, -4.5, -4.24
    deviation = np.array([3, 1, -1, -3]) / 8
    distance = -np.array([1.0, 11.0, 4.5, 6.0])
    by_hand = (deviation @ distance) / math.sqrt(
        (deviation @ deviation) * ((distance - distance.mean()) ** 2).sum()
    )
    assert found["pearson_manhattan"] == pytest.approx(by_hand)


@pytest.mark.parametrize(
    "values, scores",
    [
        ([1.0, 2.0, 3.0], [0.5, 0.5, 0.5]),
        ([2.0, 2.0, 2.0], [0.0, 0.5, 1.0]),
        ([1.0], [0.5]),
        ([], []),
        ([1.0, math.nan], [0, 1]),
        ([1.0, 2.0, math.inf], [0, 0.5, 1]),
    ],
)
def test_undefined_correlations_are_nan(
    values: list[float], scores: list[float], recwarn: pytest.WarningsRecorder
) -> None:
    u = np.array(values, dtype=np.float32)[:, None]
    found = similarity_metrics(u, np.ones_like(u), scores)
    assert math.isnan(found["pearson_dot"])
    assert math.isnan(found["spearman_dot"])
    assert not recwarn.list


# ---------------------------------------------------------------- classes


def test_classification_metrics_by_hand() -> None:
    """Hits 1, 2, 0; named 4, 5, 1 times; F1 = 2 hits / named."""
    found = classification_metrics(np.array([0, 1, 1, 1, 0]), np.array([0, 0, 1, 1, 2]), 3)
    assert found == pytest.approx({"accuracy": 3 / 5, "f1_macro": (2 / 4 + 4 / 5 + 0) / 3})


def test_a_class_that_nobody_names_counts_as_zero() -> None:
    found = classification_metrics(np.array([0, 1, 1]), np.array([0, 1, 1]), 3)
    assert found == pytest.approx({"accuracy": 1.0, "f1_macro": 2 / 3})


def test_a_class_never_predicted_and_no_rows() -> None:
    found = classification_metrics(np.array([0, 0, 0, 0]), np.array([0, 0, 1, 1]), 2)
    assert found == pytest.approx({"accuracy": 0.5, "f1_macro": (2 * 2 / 6 + 0) / 2})
    nothing = np.array([], dtype=np.int64)
    assert classification_metrics(nothing, nothing, 3) == {"accuracy": 0.0, "f1_macro": 0.0}


# ---------------------------------------------------------------- evaluate, with vectors by hand

VECTORS = {  # text -> embedding
    "origin": (1.0, 0.0),
    "near": (2.0, 0.0),
    "aside": (1.0, 4.5),
    "far": (9.0, 3.0),
    "behind": (-2.0, 3.0),
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Puts VECTORS in the place of an encoder; returns what it was asked to embed, call by call."""
    calls: list[list[str]] = []

    def encode(_: object, texts: Sequence[str], **options: object) -> Encoded:
        calls.append(list(texts))
        return Encoded(np.array([VECTORS[t] for t in texts], dtype=np.float32), len(texts), 0, 0.0)

    monkeypatch.setattr(importlib.import_module("sbert.evaluation.evaluate"), "encode", encode)
    return calls


STS = dataset(
    "pairs",
    "sts",
    [("origin", "near", 1.0), ("origin", "far", 0.75), ("origin", "aside", 0.5), ("origin", "behind", 0.25)],
)
TRIPLETS = dataset(
    "triplets",
    "triplet",
    [
        ("origin", "near", "aside", None),  # right by every measure
        ("origin", "far", "aside", None),  # right by cosine and dot only
        ("origin", "behind", "aside", None),  # right by Euclidean only
        ("origin", "aside", "aside", None),  # a tie: wrong
    ],
    split="all",
)
NLI = dataset("nli", "nli", [("origin", "far", 0), ("near", "aside", 1), ("near", "behind", 2)], split="dev")


def test_triplet_accuracy_by_hand(asked: list[list[str]]) -> None:
    assert evaluate(object(), TRIPLETS) == {
        "triplets/accuracy_cosine": 0.5,
        "triplets/accuracy_dot": 0.5,
        "triplets/accuracy_euclidean": 0.5,
        "triplets/accuracy_manhattan": 0.25,
    }


def test_several_sets_are_embedded_in_one_call(asked: list[list[str]]) -> None:
    found = evaluate(object(), [STS, TRIPLETS, NLI])
    assert len(asked) == 1
    assert sorted(asked[0]) == sorted(VECTORS)  # each distinct text once
    sts = {f"pairs-test/{kind}_{measure}" for kind in ("pearson", "spearman") for measure in MEASURES}
    assert set(found) == sts | {f"triplets/accuracy_{measure}" for measure in MEASURES}
    assert found["pairs-test/spearman_dot"] == pytest.approx(0.8)
    assert found["triplets/accuracy_manhattan"] == 0.25


def test_nli_needs_a_classifier(asked: list[list[str]]) -> None:
    assert evaluate(object(), NLI) == {}
    assert asked == []
    without = modelForRegressionTraining(modelWithPooling(torch.nn.Identity()))
    assert evaluate_objective(without, [NLI]) == {}


def test_nli_with_a_classifier_by_hand(asked: list[list[str]]) -> None:
    """Logits (v_x, v_y, -v_x): "far" is class 0, "aside" class 1, "behind" class 1 (3 against 2)."""
    objective = modelForClassificationTraining.__new__(modelForClassificationTraining)
    torch.nn.Module.__init__(objective)
    objective.concat, objective.classifier = "u,v", torch.nn.Linear(4, 3, bias=False)
    objective.model = None
    with torch.no_grad():
        objective.classifier.weight.copy_(torch.tensor([[0, 0, 1.0, 0], [0, 0, 0, 1.0], [0, 0, -1.0, 0]]))
    found = evaluate_objective(objective, [NLI, STS])
    assert found["nli-dev/accuracy"] == pytest.approx(2 / 3)
    assert found["nli-dev/f1_macro"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert "pairs-test/spearman_cosine" in found
    assert len(asked) == 1


def test_nothing_to_evaluate(asked: list[list[str]]) -> None:
    assert evaluate(object(), []) == {}
    assert asked == []


# ---------------------------------------------------------------- evaluate, with an encoder


def test_each_distinct_text_goes_through_the_encoder_once(tiny_model_dir: Path) -> None:
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    rows: list[int] = []
    model.model.register_forward_pre_hook(
        lambda _, __, inputs: rows.append(len(inputs["input_ids"])), with_kwargs=True
    )
    texts = ["a man", "a woman plays", "a dog runs in the park", "a cat"]
    first = dataset(
        "one", "sts", [(texts[0], texts[1], 0.2), (texts[0], texts[2], 0.9), (texts[1], texts[0], 0.4)]
    )
    second = dataset("two", "sts", [(texts[3], texts[0], 0.1), (texts[3], texts[3], 1.0)])
    found = evaluate(model, [first, second])
    assert sum(rows) == len(texts)
    alone = {**evaluate(model, first), **evaluate(model, second)}
    assert found == pytest.approx(alone, abs=1e-5)
    vectors = dict(zip(texts, torch.from_numpy(model.encode(texts)), strict=True))
    cosines = [PAIRWISE["cosine"](*(vectors[t] for t in example.texts)).item() for example in first.examples]
    by_hand = np.corrcoef(cosines, [0.2, 0.9, 0.4])[0, 1]
    assert found["one-test/pearson_cosine"] == pytest.approx(by_hand, abs=1e-4)


# ---------------------------------------------------------------- tables


def test_percent() -> None:
    assert [percent(x) for x in (0.81234, -0.5, 0.0, 1)] == ["81.23", "-50.00", "0.00", "100.00"]
    assert percent(math.nan) == "-"
    assert percent(None) == "-"


def test_table_is_aligned() -> None:
    lines = table(["set", "pairs"], [["a", "1"], ["longer", "1,000"]]).splitlines()
    assert lines == ["set     pairs", "------  -----", "a           1", "longer  1,000"]


def test_similarity_tables() -> None:
    metrics = {f"pairs-test/{kind}_{m}": 0.5 for kind in ("spearman", "pearson") for m in MEASURES}
    metrics |= {"pairs-test/pearson_dot": math.nan, "pairs-test/spearman_cosine": 0.8172}
    metrics |= {f"triplets/accuracy_{m}": 0.25 for m in MEASURES}
    lines = similarity_tables(
        metrics, {"pairs-test": 1379, "triplets": 12}, {"triplets": "seen in training"}
    ).splitlines()
    assert lines[0].split()[:3] == ["set", "pairs", "rho-cosi"]
    assert lines[2].split() == ["pairs-test", "1,379", "81.72", *["50.00"] * 6, "-"]
    assert lines[3].split() == ["triplets*", "12", *["25.00"] * 4, *["-"] * 4]
    assert lines[-1] == "* seen in training"


def test_before_after_table() -> None:
    before = {"a/spearman_cosine": 0.5, "b/accuracy": math.nan}
    after = {"a/spearman_cosine": 0.75, "b/accuracy": 0.4, "c/accuracy_cosine": 0.9}
    lines = before_after_table(before, after, {"a": 10, "b": 20, "c": 30, "d": 40}, {}).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["a", "10", "Spearman", "50.00", "75.00", "+25.00"],
        ["b", "20", "accuracy", "-", "40.00", "-"],
        ["c", "30", "accuracy", "-", "90.00", "-"],
    ]
