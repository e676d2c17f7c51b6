"""The concatenations of the paper's Table 6: what a classifier sees of two sentence embeddings u and v."""

import torch
from torch import Tensor

# flag value -> parts, in the order in which they are concatenated
CONCATENATIONS: dict[str, tuple[str, ...]] = {
    "u,v": ("u", "v"),
    "|u-v|": ("|u-v|",),
    "u*v": ("u*v",),
    "|u-v|,u*v": ("|u-v|", "u*v"),
    "u,v,u*v": ("u", "v", "u*v"),
    "u,v,|u-v|": ("u", "v", "|u-v|"),
    "u,v,|u-v|,u*v": ("u", "v", "|u-v|", "u*v"),
}


def pair_features(u: Tensor, v: Tensor, concat: str = "u,v,|u-v|") -> Tensor:
    """(B, D), (B, D) -> (B, parts * D). Raises ValueError on an unknown concatenation."""
    if concat not in CONCATENATIONS:
        raise ValueError(f"concat {concat!r}: allowed are {'; '.join(CONCATENATIONS)}")
    part = {"u": lambda: u, "v": lambda: v, "|u-v|": lambda: (u - v).abs(), "u*v": lambda: u * v}
    return torch.cat([part[name]() for name in CONCATENATIONS[concat]], dim=-1)
