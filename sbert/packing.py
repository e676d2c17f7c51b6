"""Unpadded batches: all real tokens of a batch in one row, so that no layer computes padding.

    [CLS] a cat [SEP] [PAD] [PAD]
    [CLS] a dog ran off [SEP]      ->   [CLS] a cat [SEP] [CLS] a dog ran off [SEP]      positions 0 1 2 3 0 1 2 3 4 5

Only attention must know where a text ends. On a CUDA card it is torch's own kernel for rows like that
(torch.nn.attention.varlen: fp16 and bf16, no attention dropout); on a CPU, where there is no such kernel, a
block-diagonal mask that gives the same numbers slowly, so that all the rest is tested there. Both stand behind one
transformers attention function. Two hooks on the encoder pack what goes in and unpack what comes out, so pooling and heads
see the (B, T, D) they always see.

Shape letters: B batch, T tokens of a padded row, N tokens of the packed row, D width, H heads, d width of a head.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from sbert.encoder import OFFSET_POSITIONS

HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Pack:
    """Where the texts of a batch stand in its packed row.

    index: (N,) places of the real tokens in the flattened (B * T). starts: (B + 1,) int32, where each text starts in the
    row and, last, N (the kernel's "cumulative sequence lengths"). longest: tokens of the longest text.
    """

    index: Tensor
    starts: Tensor
    longest: int
    shape: torch.Size

    @classmethod
    def of(cls, mask: Tensor) -> "Pack":
        """mask: (B, T), not 0 at real tokens."""
        mask = mask.bool()
        lengths = mask.sum(1)
        starts = F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
        return cls(mask.flatten().nonzero().squeeze(1), starts, int(lengths.max()), mask.shape)

    def row(self, padded: Tensor) -> Tensor:
        """(B, T) -> (1, N)."""
        return padded.flatten()[self.index].unsqueeze(0)

    def unpack(self, row: Tensor) -> Tensor:
        """(1, N, D) -> (B, T, D), 0 at padding."""
        out = row.new_zeros(self.shape.numel(), row.shape[-1])
        return out.index_copy(0, self.index, row[0]).unflatten(0, self.shape)

    def allowed(self, window: int = -1) -> Tensor:
        """The block-diagonal mask: (N, N), whether the token of a row sees that of a column, which is in its own text
        and, where window is not -1, at most so many places away."""
        place = torch.arange(len(self.index), device=self.index.device)
        text = torch.bucketize(place, self.starts[1:], right=True)
        same = text[:, None] == text[None, :]
        return same if window < 0 else same & ((place[:, None] - place[None, :]).abs() <= window)


# ---------------------------------------------------------------- attention


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    pack: Pack | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function: query, key, value (1, H, N, d) of a packed row -> (1, N, H, d).

    sliding_window: as transformers hands it to flash kernels, one more than the places a token sees on either side.
    pack: None where the batch was left padded (fp32 on CUDA): then as "sdpa". Raises ValueError on dropout.
    """
    if pack is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    if dropout:
        raise ValueError(
            f"attention dropout {dropout}: packed attention has none (sbert.unpadded.pack_for_training)"
        )
    window = -1 if sliding_window is None else sliding_window - 1
    if has_kernel(query.device):
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # (N, H, d)
        return run_kernel(q, k, v, pack, scaling, window).unsqueeze(0), None
    out = F.scaled_dot_product_attention(query, key, value, pack.allowed(window), scale=scaling)
    return out.transpose(1, 2), None


def run_kernel(
    query: Tensor, key: Tensor, value: Tensor, pack: Pack, scale: float | None, window: int
) -> Tensor:
    """(N, H, d) in half precision -> (N, H, d), by torch's kernel (torch >= 2.11)."""
    from torch.nn.attention.varlen import varlen_attn

    ends = (pack.starts, pack.starts, pack.longest, pack.longest)  # of queries and of keys: the same texts
    out = varlen_attn(query, key, value, *ends, scale=scale, window_size=(window, window))
    assert isinstance(out, Tensor)
    return out


def has_kernel(device: torch.device) -> bool:
    return device.type == "cuda"


def packed_mask(attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor | None:
    """The mask of a padded batch as "sdpa" has it; none of a packed row, whose Pack says everything."""
    return None if attention_mask is None else sdpa_mask(attention_mask=attention_mask, **kwargs)


NAME = "sbert_packed"
AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, packed_mask)


# ---------------------------------------------------------------- the encoder


def pack_encoder(encoder: Any) -> None:
    """From here on the encoder runs unpadded, wherever it can; inputs and outputs look as before.

    encoder: a PreTrainedModel of sbert.attention.FAMILIES, which hand every layer what the hooks add and read order from
    position ids alone (others may number positions by place in the row), or one of theirs with a head (the hooks go on the
    encoder inside).
    """
    if is_packed(encoder):
        return
    encoder.set_attn_implementation(NAME)
    if not is_packed(encoder):
        return  # transformers has warned: ModernBERT before 5.7 keeps its attention, and so its padding
    base = encoder.base_model
    base.register_forward_pre_hook(_pack_inputs, with_kwargs=True)
    base.register_forward_hook(_unpack_outputs, with_kwargs=True)


def is_packed(encoder: Any) -> bool:
    return getattr(getattr(encoder, "config", None), "_attn_implementation", None) == NAME


def _pack_inputs(encoder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Before forward: (B, T) ids, mask and types -> (1, N) ids, positions, types, and the Pack."""
    kwargs = kwargs | dict(zip(("input_ids", "attention_mask"), args, strict=False))
    ids, mask = kwargs["input_ids"], kwargs["attention_mask"]
    if has_kernel(ids.device) and _dtype(encoder) not in HALF:
        return None
    pack = Pack.of(mask)
    if not pack.longest:
        return None
    positions = mask.cumsum(1) - 1
    if encoder.config.model_type in OFFSET_POSITIONS:  # counts what is not the padding id, from that id on
        counted = ids.ne(encoder.config.pad_token_id)
        positions = counted.cumsum(1) * counted + encoder.config.pad_token_id
    kwargs |= {"input_ids": pack.row(ids), "position_ids": pack.row(positions), "attention_mask": None}
    if kwargs.get("token_type_ids") is not None:
        kwargs["token_type_ids"] = pack.row(kwargs["token_type_ids"])
    return (), kwargs | {"pack": pack}


def _unpack_outputs(encoder: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    """After forward: every (1, N, D) -> (B, T, D). The pooler, which took the first token of the row, is asked again."""
    pack = kwargs.get("pack")
    if pack is None:
        return None
    output.last_hidden_state = pack.unpack(output.last_hidden_state)
    if output.hidden_states is not None:
        output.hidden_states = tuple(map(pack.unpack, output.hidden_states))
    if getattr(output, "pooler_output", None) is not None:
        output.pooler_output = encoder.pooler(output.last_hidden_state)
    return output


def _dtype(encoder: Any) -> torch.dtype:
    """What queries and keys come in."""
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else encoder.dtype
