"""Dropout on a CPU, from 16 random bits an element.

torch draws a number for every element, on one thread: a fifth of an update of MiniLM in bf16 (experiments/LOG.md). Here a
64-bit number serves four elements. The rate is rounded to 1 / 65,536, and what is kept is scaled by the rounded one. The bits
come from torch's generator: checkpoints hold its state, and a seed gives the same run.
"""

import torch
from torch import Tensor, nn

LEVELS = 1 << 16


def dropout(x: Tensor, p: float) -> Tensor:
    """x with a share p of its elements 0 and the others divided by 1 - p. x: any shape. Elsewhere than on a CPU, and at a
    rate that rounds to 0 or 1, torch's own."""
    dropped = round(p * LEVELS)
    if x.device.type != "cpu" or not 0 < dropped < LEVELS:
        return nn.functional.dropout(x, p)
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    lanes = bits.view(torch.int16)[: x.numel()].view(x.shape)  # each of -32,768 to 32,767 as often
    keep = (lanes >= dropped - LEVELS // 2).to(x.dtype)
    return x * keep.mul_(LEVELS / (LEVELS - dropped))


class Dropout(nn.Dropout):
    """torch's module with the draws above."""

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else x


def replace_dropout(network: nn.Module) -> None:
    """Puts Dropout in the place of every nn.Dropout, at the same rate."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))
