"""Pair features of every concatenation by hand, and the layers that may follow pooling."""

import math

import pytest
import torch

from heads import CONCATENATIONS, Dense, Normalize, pair_features
from heads.embedding import ACTIVATIONS

U, V = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 4.0]])
BY_HAND = {
    "u,v": [1, -2, 3, 4],
    "|u-v|": [2, 6],
    "u*v": [3, -8],
    "|u-v|,u*v": [2, 6, 3, -8],
    "u,v,u*v": [1, -2, 3, 4, 3, -8],
    "u,v,|u-v|": [1, -2, 3, 4, 2, 6],
    "u,v,|u-v|,u*v": [1, -2, 3, 4, 2, 6, 3, -8],
}
PREFIX = "torch.nn.modules"
ACTIVATED = {  # of 1.5 and -0.5
    f"{PREFIX}.linear.Identity": (1.5, -0.5),
    f"{PREFIX}.activation.Tanh": (math.tanh(1.5), math.tanh(-0.5)),
    f"{PREFIX}.activation.ReLU": (1.5, 0.0),
    f"{PREFIX}.activation.GELU": tuple(x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in (1.5, -0.5)),
    f"{PREFIX}.activation.SiLU": tuple(x / (1 + math.exp(-x)) for x in (1.5, -0.5)),
    f"{PREFIX}.activation.Sigmoid": tuple(1 / (1 + math.exp(-x)) for x in (1.5, -0.5)),
}


def test_the_seven_concatenations_of_table_6() -> None:
    assert list(BY_HAND) == list(CONCATENATIONS)


@pytest.mark.parametrize("concat", BY_HAND)
def test_pair_features_by_hand(concat: str) -> None:
    assert pair_features(U, V, concat).tolist() == [BY_HAND[concat]]


@pytest.mark.parametrize("concat", BY_HAND)
def test_width_is_parts_times_embedding_width(concat: str) -> None:
    u, v = torch.ones(5, 7), torch.zeros(5, 7)
    assert pair_features(u, v, concat).shape == (5, 7 * len(CONCATENATIONS[concat]))
    assert len(CONCATENATIONS[concat]) == concat.count(",") + 1


def test_the_papers_concatenation_is_the_default() -> None:
    assert pair_features(U, V).tolist() == [BY_HAND["u,v,|u-v|"]]


@pytest.mark.parametrize("concat", ["", "u", "v,u", "u,v,|u-v|,", "u-v"])
def test_unknown_concatenation(concat: str) -> None:
    with pytest.raises(ValueError, match="allowed are u,v; ") as error:
        pair_features(U, V, concat)
    assert repr(concat) in str(error.value)


def test_normalize() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]])
    torch.testing.assert_close(Normalize()(x), torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.0, -1.0]]))
    assert x[0].tolist() == [3.0, 4.0]


def dense(activation: str, bias: bool = True) -> Dense:
    """(B, 3) -> (B, 2) with W (1, 2, 0; 0, 1, -1) and, with a bias, b (0.5, -0.5)."""
    layer = Dense(3, 2, bias=bias, activation=activation)
    with torch.no_grad():
        layer.linear.weight.copy_(torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]))
        if bias:
            layer.linear.bias.copy_(torch.tensor([0.5, -0.5]))
    return layer


def test_every_activation_is_covered() -> None:
    assert set(ACTIVATED) == set(ACTIVATIONS)


@pytest.mark.parametrize("activation", ACTIVATED)
def test_dense_by_hand(activation: str) -> None:
    out = dense(activation)(torch.tensor([[-1.0, 1.0, 1.0]]))  # W x + b = (1.5, -0.5)
    torch.testing.assert_close(out, torch.tensor([ACTIVATED[activation]]))


def test_dense_without_bias() -> None:
    layer = dense(f"{PREFIX}.linear.Identity", bias=False)
    assert layer.linear.bias is None
    assert layer(torch.tensor([[-1.0, 1.0, 1.0]])).tolist() == [[1.0, 0.0]]


def test_dense_is_tanh_unless_told_otherwise() -> None:
    assert Dense(3, 2).activation_name == f"{PREFIX}.activation.Tanh"
    assert Dense(3, 2)(torch.full((1, 3), 1e6)).abs().max() <= 1


def test_dense_takes_fp32_embeddings_in_the_dtype_of_its_weights() -> None:
    out = dense(f"{PREFIX}.linear.Identity").to(torch.bfloat16)(torch.tensor([[-1.0, 1.0, 1.0]]))
    assert out.dtype == torch.bfloat16
    assert out.tolist() == [[1.5, -0.5]]


@pytest.mark.parametrize("activation", ["Tanh", "torch.nn.Tanh", "os.system"])
def test_dense_looks_activations_up_and_imports_nothing(activation: str) -> None:
    with pytest.raises(ValueError, match=f"activation '{activation}': allowed are {PREFIX}"):
        Dense(3, 2, activation=activation)


def test_dense_has_a_bias_unless_told_otherwise() -> None:
    assert Dense(2, 3).linear.bias is not None and Dense(2, 3, bias=False).linear.bias is None
    with pytest.raises(ValueError) as error:
        Dense(2, 3, activation="os.system")
    assert str(error.value) == f"activation 'os.system': allowed are {', '.join(ACTIVATIONS)}"
