"""Unpadded batches: all real tokens of a batch in one row, so that no layer computes padding.

    [CLS] a cat [SEP] [PAD] [PAD]
    [CLS] a dog ran off [SEP]      ->   [CLS] a cat [SEP] [CLS] a dog ran off [SEP]      positions 0 1 2 3 0 1 2 3 4 5

Only attention must know where a text ends. On a CUDA card it is torch's own kernel for rows like that
(torch.nn.attention.varlen: fp16 and bf16, no attention dropout). On a CPU, which has no such kernel, texts of like length are
laid side by side again for attention alone (Group). Both stand behind one transformers attention function. Two hooks on the
encoder pack what goes in and unpack what comes out, so pooling and heads see the (B, T, D) they always see.

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

from sbert.attention import attention
from sbert.chunks import PADDING, PART_ROWS, padded_length, padded_tokens
from sbert.encoder import OFFSET_POSITIONS

HALF = (torch.float16, torch.bfloat16)
ROUND = 64  # to a multiple of it at most is a packed row in half precision on a CPU rounded up, see Pack.in_groups


@dataclass(frozen=True)
class Group:
    """Texts of like length, next to one another in the packed row, whose attention a CPU computes side by side.

    where: their part of the row, n tokens. shape: (B, T), texts and places of each. index: (n,) places of their tokens in
    the flattened (B * T). filled: (B * T,) the token, counted from where, that stands at each place; at padding, which is
    masked, one of the same text. mask: (B, 1, 1, T), False at padding. The last three are None where all places are taken.
    """

    where: slice
    shape: tuple[int, int]
    index: Tensor | None = None
    filled: Tensor | None = None
    mask: Tensor | None = None

    @classmethod
    def of(cls, lengths: Tensor, start: int) -> "Group":
        """lengths: (B,), none 0. start: where the first text starts in the row."""
        width, total = int(lengths.max()), int(lengths.sum())
        shape = (len(lengths), width)
        where = slice(start, start + total)
        if total == len(lengths) * width:
            return cls(where, shape)
        place = torch.arange(width).expand(shape)
        mask = place < lengths[:, None]
        filled = (lengths.cumsum(0) - lengths)[:, None] + place.minimum(lengths[:, None] - 1)
        return cls(where, shape, mask.flatten().nonzero().squeeze(1), filled.flatten(), mask[:, None, None])

    def pad(self, row: Tensor) -> Tensor:
        """(N, H, d) of the whole row -> (B, H, T, d) of this group."""
        padded = row[self.where].flatten(1)
        if self.index is not None:
            padded = _Pad.apply(padded, self.filled, self.index)
        return padded.view(*self.shape, *row.shape[1:]).transpose(1, 2)

    def unpad(self, padded: Tensor) -> Tensor:
        """(B, T, H, d) -> (n, H * d)."""
        flat = padded.flatten(2).flatten(0, 1)
        return flat if self.index is None else _Unpad.apply(flat, self.index)

    def allowed(self, window: int) -> Tensor | None:
        """Whether the token of a row sees that of a column: all of its own text, or, where window is not -1, those at most
        so many places away. (B or 1, 1, 1 or T, T); None: all."""
        if window < 0:
            return self.mask
        place = torch.arange(self.shape[1])
        near = (place[:, None] - place[None, :]).abs() <= window
        return near[None, None] if self.mask is None else self.mask & near


class _Pad(torch.autograd.Function):
    """(n, D) -> (B * T, D). What fills the padding gets no gradient from there, so that backward is a selection, too."""

    @staticmethod
    def forward(ctx: Any, row: Tensor, filled: Tensor, index: Tensor) -> Tensor:
        ctx.index = index
        return row.index_select(0, filled)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0].index_select(0, ctx.index), None, None


class _Unpad(torch.autograd.Function):
    """(B * T, D) -> (n, D): index_select, whose own backward would add to each place."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, index: Tensor) -> Tensor:
        ctx.index, ctx.places = index, len(padded)
        return padded.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0]
        return grad.new_zeros(ctx.places, grad.shape[1]).index_copy_(0, ctx.index, grad), None


@dataclass(frozen=True)
class Pack:
    """Where the texts of a batch stand in its packed row.

    index: (N,) places of the real tokens in the flattened (B * T), text by text, on a CPU shorter texts first. shape:
    (B, T). size: tokens of the row, what is more than N is filled with id 0 and read by nobody. Of CUDA's attention:
    starts, (B + 1,) int32, where each text starts and, last, N (the kernel's "cumulative sequence lengths"), and longest,
    tokens of the longest text. Of a CPU's: groups.
    """

    index: Tensor
    shape: torch.Size
    size: int
    starts: Tensor | None = None
    longest: int = 0
    groups: tuple[Group, ...] = ()

    @classmethod
    def of(cls, mask: Tensor) -> "Pack":
        """For torch's kernel. mask: (B, T), not 0 at real tokens."""
        mask = mask.bool()
        lengths = mask.sum(1)
        starts = F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
        index = mask.flatten().nonzero().squeeze(1)
        return cls(index, mask.shape, len(index), starts, int(lengths.max()))

    @classmethod
    def in_groups(cls, mask: Tensor, half: bool = False) -> "Pack":
        """For a CPU. half: the encoder runs in half precision, so its row is rounded up to a size that recurs
        (sbert.chunks.padded_length), by at most a twelfth or 63 tokens; what is past the texts nobody reads."""
        mask = mask.bool()
        lengths = mask.sum(1)
        order = lengths.argsort(stable=True)[int((lengths == 0).sum()) :]
        lengths = lengths[order]
        index = torch.arange(mask.numel()).view(mask.shape)[order][mask[order]]
        groups: list[Group] = []
        for part in lengths.chunk(groups_of(lengths.tolist())) if len(lengths) else ():
            start = groups[-1].where.stop if groups else 0
            groups.append(Group.of(part, start))
        size = len(index)
        if half:
            size = min(padded_length(size), -(-size // ROUND) * ROUND)
        return cls(index, mask.shape, size, groups=tuple(groups))

    def row(self, padded: Tensor) -> Tensor:
        """(B, T) -> (1, size), 0 past the texts."""
        return F.pad(padded.flatten()[self.index], (0, self.size - len(self.index))).unsqueeze(0)

    def unpack(self, row: Tensor) -> Tensor:
        """(1, size, D) -> (B, T, D), 0 at padding."""
        out = row.new_zeros(self.shape.numel(), row.shape[-1])
        return out.index_copy(0, self.index, row[0, : len(self.index)]).unflatten(0, self.shape)


def groups_of(lengths: list[int]) -> int:
    """In how many groups attention takes texts of these lengths: a power of two, so that their sizes recur."""
    count, total = 1, sum(lengths)
    while 2 * count * PART_ROWS <= len(lengths) and padded_tokens(lengths, count) * (1 - PADDING) > total:
        count *= 2
    return count


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
    pack: None where the batch was left padded (fp32 on CUDA): then as "sdpa". Raises ValueError on dropout on CUDA.
    """
    if pack is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    window = -1 if sliding_window is None else sliding_window - 1
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # (N, H, d)
    if has_kernel(query.device):
        if dropout:
            raise ValueError(
                f"attention dropout {dropout}: torch's kernel has none (sbert.unpadded.pack_for_training)"
            )
        return run_kernel(q, k, v, pack, scaling, window).unsqueeze(0), None
    out = []
    for group in pack.groups:
        allowed = group.allowed(window)
        seen, _ = attention(module, group.pad(q), group.pad(k), group.pad(v), allowed, dropout, scaling)
        out.append(group.unpad(seen))
    if pack.size > len(pack.index):
        out.append(out[0].new_zeros(pack.size - len(pack.index), out[0].shape[1]))
    row = torch.cat(out) if len(out) > 1 else out[0]
    return row.view(1, pack.size, *q.shape[1:]), None


def run_kernel(
    query: Tensor, key: Tensor, value: Tensor, pack: Pack, scale: float | None, window: int
) -> Tensor:
    """(N, H, d) in half precision -> (N, H, d), by torch's kernel (torch >= 2.11)."""
    from torch.nn.attention.varlen import varlen_attn

    assert pack.starts is not None
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
    ids, mask = kwargs["input_ids"], kwargs["attention_mask"].long()
    half = _dtype(encoder, ids.device) in HALF
    if has_kernel(ids.device) and not half:
        return None
    pack = Pack.of(mask) if has_kernel(ids.device) else Pack.in_groups(mask, half)
    if not len(pack.index):
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


def _dtype(encoder: Any, device: torch.device) -> torch.dtype:
    """What queries and keys come in."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else encoder.dtype
