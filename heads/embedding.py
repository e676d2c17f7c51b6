"""Layers that may follow pooling in a model directory: (B, D) -> (B, D')."""

import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "torch.nn.modules.linear.Identity": nn.Identity,
    "torch.nn.modules.activation.Tanh": nn.Tanh,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
    "torch.nn.modules.activation.GELU": nn.GELU,
    "torch.nn.modules.activation.SiLU": nn.SiLU,
    "torch.nn.modules.activation.Sigmoid": nn.Sigmoid,
}


class Normalize(nn.Module):
    """Scales each row to unit length; a zero row stays zero."""

    def forward(self, embedding: Tensor) -> Tensor:
        return F.normalize(embedding, dim=-1)


class Dense(nn.Module):
    """``activation(W x + b)``, (B, in_features) -> (B, out_features).

    activation: a key of ACTIVATIONS (the dotted name a model directory stores). Raises ValueError on another one:
    names are looked up in a table, never imported from a file that came with the weights.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation: str = "torch.nn.modules.activation.Tanh",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r}: allowed are {', '.join(ACTIVATIONS)}")
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.activation_name = activation
        self.activation = ACTIVATIONS[activation]()

    def forward(self, embedding: Tensor) -> Tensor:
        return self.activation(self.linear(embedding.to(self.linear.weight.dtype)))
