"""classificationHead by hand and against ELECTRA's own; the dropout rate in the config of each family."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import transformers
from transformers.models.electra.modeling_electra import ElectraClassificationHead

from heads.classification import classificationHead, dropout_of


def config(**values: Any) -> transformers.PreTrainedConfig:
    return transformers.ElectraConfig(**{"hidden_size": 2, "num_labels": 1, **values})


def test_head_by_hand() -> None:
    """dense [[1, -1], [2, 0]] + (0, 1) on (3, 1): (2, 7); gelu; (0.5, -1) + 0.25."""
    head = classificationHead(config()).eval()
    with torch.no_grad():
        head.dense.weight.copy_(torch.tensor([[1.0, -1.0], [2.0, 0.0]]))
        head.dense.bias.copy_(torch.tensor([0.0, 1.0]))
        head.out_proj.weight.copy_(torch.tensor([[0.5, -1.0]]))
        head.out_proj.bias.copy_(torch.tensor([0.25]))
    gelu = [x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in (2, 7)]
    expected = 0.5 * gelu[0] - gelu[1] + 0.25
    token = torch.tensor([[3.0, 1.0]])
    assert head(token).tolist() == [[pytest.approx(expected, abs=1e-6)]]
    others = torch.full((1, 4, 2), 9.0)
    others[:, 0] = token
    torch.testing.assert_close(head(others), head(token))


@pytest.mark.parametrize("num_labels", [1, 3])
def test_head_is_electras(num_labels: int) -> None:
    torch.manual_seed(0)
    theirs = ElectraClassificationHead(config(hidden_size=8, num_labels=num_labels)).eval()
    ours = classificationHead(config(hidden_size=8, num_labels=num_labels)).eval()
    ours.load_state_dict(theirs.state_dict())  # the same names
    hidden = torch.randn(3, 5, 8)
    assert ours(hidden).shape == (3, num_labels)
    torch.testing.assert_close(ours(hidden), theirs(hidden), rtol=0, atol=0)
    torch.testing.assert_close(ours(hidden[:, 0]), theirs(hidden), rtol=0, atol=0)


def test_head_drops_before_and_after_the_dense_layer() -> None:
    head = classificationHead(config(hidden_size=64, classifier_dropout=0.5)).train()
    with torch.no_grad():
        head.dense.weight.copy_(torch.eye(64))
        head.dense.bias.fill_(20.0)  # gelu leaves it alone
    seen: list[torch.Tensor] = []
    head.dense.register_forward_hook(lambda m, i, o: seen.append(i[0]))
    head.out_proj.register_forward_hook(lambda m, i, o: seen.append(i[0]))
    head(torch.ones(8, 64))
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert {round(x) for x in seen[1].unique().tolist()} == {0, 40, 44}


def test_head_starts_small() -> None:
    torch.manual_seed(0)
    head = classificationHead(config(hidden_size=200, num_labels=50, initializer_range=0.1))
    for layer in (head.dense, head.out_proj):
        assert layer.weight.std().item() == pytest.approx(0.1, rel=0.05) and not layer.bias.any()
    plain = type("Config", (), {"hidden_size": 200, "num_labels": 1})()
    assert classificationHead(plain).dense.weight.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(
    "family, values, expected",
    [
        ("Bert", {"classifier_dropout": 0.3}, 0.3),
        ("Bert", {"classifier_dropout": None, "hidden_dropout_prob": 0.2}, 0.2),
        ("Bert", {"classifier_dropout": 0.0, "hidden_dropout_prob": 0.2}, 0.0),
        ("Roberta", {"classifier_dropout": 0.3}, 0.3),
        ("Roberta", {"classifier_dropout": None, "hidden_dropout_prob": 0.2}, 0.2),
        ("XLMRoberta", {"classifier_dropout": 0.3}, 0.3),
        ("Electra", {"classifier_dropout": None, "hidden_dropout_prob": 0.2}, 0.2),
        ("DistilBert", {"seq_classif_dropout": 0.3, "dropout": 0.2}, 0.3),
        ("DebertaV2", {"cls_dropout": 0.3, "hidden_dropout_prob": 0.2}, 0.3),
        ("DebertaV2", {"hidden_dropout_prob": 0.2}, 0.2),
        ("ModernBert", {"classifier_dropout": 0.3}, 0.3),
        ("ModernBert", {}, 0.0),
        ("Albert", {"classifier_dropout_prob": 0.3, "hidden_dropout_prob": 0.2}, 0.3),
        ("MPNet", {"hidden_dropout_prob": 0.2}, 0.2),
        ("XLNet", {"summary_last_dropout": 0.3, "dropout": 0.2}, 0.3),
        ("T5", {"dropout_rate": 0.2, "classifier_dropout": 0.3}, 0.3),
        ("GPT2", {"resid_pdrop": 0.2, "summary_first_dropout": 0.3}, 0.2),
    ],
)
def test_dropout_rate_of_each_family(family: str, values: dict[str, Any], expected: float) -> None:
    made = getattr(transformers, f"{family}Config")(**values)
    assert dropout_of(made) == expected


def test_dropout_of_an_unknown_config() -> None:
    assert dropout_of(object()) == 0.1
    assert dropout_of(type("Config", (), {"dropout": True})()) == 0.1
