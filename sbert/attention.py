"""Attention on a CPU, of padded batches and of the groups of a packed one: torch's own, over a number of keys that fills
whole vectors.

A row of attention weights, one for each key, is read in vectors of 16; what is left over at the end of every row goes number by
number and takes longer than all the vectors before it (experiments/LOG.md). So keys and values are filled up to a multiple of
16, and the mask hides the rest. Products are plain for texts of up to 16 tokens, which torch's fused attention takes longer for,
and under dropout, of which it has none on a CPU, with draws of our own (sbert.dropout).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import bidirectional_mask_function, sdpa_mask

from sbert import dropout as own

# Encoders known to leave attention to the function that their config names, and to ask it for nothing but what stands
# below: T5 adds its relative positions, LayoutLM has masks of numbers, MPNet and DeBERTa-v2 an attention of their own.
FAMILIES = ("bert", "roberta", "xlm-roberta", "electra", "distilbert", "modernbert")
NAME = "sbert"
VECTOR = 16  # numbers
HIDDEN = -32768.0  # added to a hidden score: its weight is 0, and the sum finite in fp16, too


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function: query, key, value (B, H, T, d) -> (B, T, H, d), H heads of width d.

    attention_mask: bool, (B, 1, T or 1, T), whether the token of a row sees that of a column; None: all. Elsewhere than on a
    CPU, while torch records what is done, causal, or with fewer keys than queries: transformers' "sdpa".
    """
    causal = attention_mask is None and getattr(module, "is_causal", False)
    if query.device.type != "cpu" or recorded() or causal or key.shape != query.shape:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    key, value, attention_mask = whole_vectors(key, value, attention_mask)
    if dropout or key.shape[2] == VECTOR:  # of texts that short the fused one takes longer
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        weights = torch.softmax(scores(query, key, attention_mask, scale), -1).to(value.dtype)
        seen = (own.dropout(weights, dropout) if dropout else weights) @ value
    else:
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scaling)
    return seen.transpose(1, 2).contiguous(), None


def scores(query: Tensor, key: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """(B, H, T, d) and (B, H, K, d) -> (B, H, T, K): scaled products, HIDDEN more where the mask hides a key: a row that sees
    nothing stays finite."""
    size = (*query.shape[:3], key.shape[2])
    query, key = query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2)
    if mask is None:
        return torch.bmm(query * scale, key).view(size)
    hidden = torch.zeros(mask.shape, dtype=query.dtype).masked_fill(~mask, HIDDEN)
    hidden = hidden.expand(*size[:2], -1, -1).flatten(0, 1)
    return torch.baddbmm(hidden, query, key, alpha=scale).view(size)


def whole_vectors(key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys and values (B, H, T, d) -> (B, H, a multiple of VECTOR, d), and the mask that shows the first T."""
    more = -key.shape[2] % VECTOR
    if not more:
        return key, value, mask
    if mask is None:
        mask = torch.ones(1, 1, 1, key.shape[2], dtype=torch.bool)
    return F.pad(key, (0, 0, 0, more)), F.pad(value, (0, 0, 0, more)), F.pad(mask, (0, more))


def recorded() -> bool:
    """Whether torch writes down what is done (torch.jit.trace, export, compile), where nothing may hang on sizes or values."""
    return torch.jit.is_tracing() or torch.compiler.is_compiling()


def padding_mask(
    attention_mask: Tensor | None = None,
    mask_function: Callable = bidirectional_mask_function,
    **kwargs: Any,
) -> Tensor | None:
    """The mask of a batch on a CPU: where padding alone is hidden, one row for all tokens of a text, (B, 1, 1, T), None where
    there is none; else, and elsewhere, as "sdpa" has it. attention_mask: (B, T)."""
    plain = mask_function is bidirectional_mask_function
    if plain and attention_mask is not None and attention_mask.device.type == "cpu" and not recorded():
        seen = attention_mask.bool()
        return None if seen.all() else seen[:, None, None]
    return sdpa_mask(attention_mask=attention_mask, mask_function=mask_function, **kwargs)


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, padding_mask)


def choose_attention(encoder: Any) -> None:
    """Gives an encoder of FAMILIES that would use torch's fused attention the one above. encoder: a PreTrainedModel."""
    if encoder.config.model_type in FAMILIES and encoder.config._attn_implementation == "sdpa":
        encoder.set_attn_implementation(NAME)
