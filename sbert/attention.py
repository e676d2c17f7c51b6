"""Attention on a CPU, of padded batches and of the groups of a packed one: plain matrix products where they cost less than
torch's fused attention.

That is in half precision on short batches (experiments/LOG.md), and under dropout, of which torch's fused attention has none
on a CPU: it multiplies plainly then, with draws that take longer (sbert.dropout). All else goes to transformers' "sdpa".
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sbert import dropout as own

# Encoders known to leave attention to the function that their config names, and to ask it for nothing but what stands
# below: T5 adds its relative positions, LayoutLM has masks of numbers, MPNet and DeBERTa-v2 an attention of their own.
FAMILIES = ("bert", "roberta", "xlm-roberta", "electra", "distilbert", "modernbert")
NAME = "sbert"
SHORT = 128  # tokens of a batch's longest text


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """The attention function: query, key, value (B, H, T, d) -> (B, T, H, d), H heads of width d.

    attention_mask: bool, (B, 1, T, T), whether the token of a row sees that of a column; None: all.
    """
    short = query.shape[2] <= SHORT and query.dtype in (torch.bfloat16, torch.float16)
    causal = attention_mask is None and getattr(module, "is_causal", False)
    if query.device.type != "cpu" or not (short or dropout) or causal or key.shape != query.shape:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    scores = (query * (query.shape[-1] ** -0.5 if scaling is None else scaling)) @ key.transpose(2, 3)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)  # padding may see nothing
    weights = torch.softmax(scores, -1).to(value.dtype)
    if dropout:
        weights = own.dropout(weights, dropout)
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def choose_attention(encoder: Any) -> None:
    """Gives an encoder of FAMILIES that would use torch's fused attention the one above. encoder: a PreTrainedModel."""
    if encoder.config.model_type in FAMILIES and encoder.config._attn_implementation == "sdpa":
        encoder.set_attn_implementation(NAME)
