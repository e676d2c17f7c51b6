"""The last layer of an encoder for the first token alone, where nothing else of what it gives is read.

A cross-encoder's head and CLS pooling look at one token in a text. What the last layer makes of the others goes nowhere: they are
needed there as keys and values only. Of six layers that saves a seventh of the products; the numbers are the same up to rounding.

Shape letters: B texts, T tokens, D width, H heads, d width of a head.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# one anatomy of layers under several names
FAMILIES = ("bert", "roberta", "xlm-roberta", "electra")


def can_skip(encoder: Any) -> bool:
    """Whether FirstTokenLayer can stand in for the last layer of an encoder, or of a model with a head around one: of
    FAMILIES, with fused attention, in fp32, all classes the library's own, and no hook that watches the layer."""
    config = getattr(encoder, "config", None)
    if getattr(config, "model_type", None) not in FAMILIES or getattr(config, "is_decoder", False):
        return False
    layers = getattr(getattr(encoder.base_model, "encoder", None), "layer", None)
    if not layers or getattr(config, "_attn_implementation", None) not in ("sbert", "sdpa"):
        return False
    last = layers[-1]
    inner = getattr(getattr(last, "attention", None), "self", None)
    own = all(type(part).__module__.startswith("transformers.models.") for part in (encoder, last, inner))
    watched = any(part._forward_hooks or part._forward_pre_hooks for part in last.modules())
    return own and not watched and next(last.parameters()).dtype == torch.float32


def skip_in_last_layer(encoder: Any) -> None:
    """Has the last layer, in place, compute the first token alone: what comes out is (B, 1, D). For copies, in eval mode."""
    layers = encoder.base_model.encoder.layer
    layers[-1] = FirstTokenLayer(layers[-1])


class FirstTokenLayer(nn.Module):
    """One layer of a BERT: attention, then two linear layers, each with a residual sum and a layer norm."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention, self.intermediate, self.output = layer.attention, layer.intermediate, layer.output

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
        """hidden: (B, T, D); attention_mask: (B, 1, 1 or T, T), whether the token of a row sees that of a column; None: all.
        (B, 1, D)."""
        inner = self.attention.self
        first = hidden[:, :1].contiguous()  # sbert.precision.PreparedLinear asks for it
        query, key, value = (
            layer(x).unflatten(2, (-1, inner.attention_head_size)).transpose(1, 2)  # (B, H, 1 or T, d)
            for layer, x in ((inner.query, first), (inner.key, hidden), (inner.value, hidden))
        )
        mask = None if attention_mask is None else attention_mask[:, :, :1]
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=inner.scaling)
        attended = self.attention.output(seen.transpose(1, 2).flatten(2), first)
        return self.output(self.intermediate(attended), attended)
