"""Texts -> vectors, fast: each distinct text once, one tokenizer call, batches cut by a token budget after sorting by
length (the paper's smart batching, section 7, taken further), the order restored at the end.

Shape letters: N texts, B batch, T tokens, D embedding width.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from sbert import distributed, ranks
from sbert.chunks import padded_length
from sbert.errors import RunError
from sbert.first_token import can_skip, skip_in_last_layer
from sbert.packing import is_packed, pack_encoder
from sbert.precision import DTYPES, MANY, autocast, with_half_encoder
from sbert.progress import Progress
from sbert.unpadded import packs

if TYPE_CHECKING:
    from sbert.cross_encoder import CrossEncoder
    from sbert.model import modelWithPooling

log = logging.getLogger("sbert")

BATCH_TOKENS = {"cpu": 2048, "cuda": 65536}  # padded tokens a batch; past these the throughput curve is flat


@dataclass(frozen=True)
class Tokens:
    """Token ids of each text, special ones included, and how many texts had to be cut."""

    ids: list[list[int]]
    truncated: int


@dataclass(frozen=True)
class Encoded:
    """embeddings: (N, D) fp32. The counts are of distinct texts."""

    embeddings: np.ndarray
    distinct: int
    truncated: int
    padding_share: float


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, *, lower: bool = False
) -> Tokens:
    """One call for all texts. Texts of more than ``max_length`` tokens are cut, keeping the special tokens."""
    if not texts:
        return Tokens([], 0)
    given = [text.lower() for text in texts] if lower else list(texts)
    out = _tokenized(tokenizer, given, max_length)
    return Tokens(out["input_ids"], count_truncated(tokenizer, out, max_length, given))


def _tokenized(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int) -> BatchEncoding:
    return tokenizer(
        list(texts),
        add_special_tokens=True,
        truncation=True,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
    )


def words_of(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, *, lower: bool = False
) -> list[list[int | None]]:
    """Of each token that ``tokenize`` gives, the number of the word that it is part of; None of special tokens. A word is what
    the tokenizer splits a text into before it looks for pieces: with BERT's, punctuation is a word of its own; where a
    language is written without spaces, a word may be a whole sentence. Raises RunError where the tokenizer does not know."""
    out = _tokenized(tokenizer, [text.lower() for text in texts] if lower else texts, max_length)
    if out.encodings is None:
        raise RunError(
            "this model's tokenizer is written in Python and does not tell which tokens make a word"
        )
    return [encoding.word_ids for encoding in out.encodings]


def count_truncated(
    tokenizer: PreTrainedTokenizerBase, out: BatchEncoding, max_length: int, *columns: Sequence[str]
) -> int:
    """How many rows of ``out``, which is tokenizer(*columns), had to be cut."""
    if out.encodings is not None:
        return sum(bool(encoding.overflowing) for encoding in out.encodings)
    # a tokenizer written in Python tells nothing: ask again without a limit about the full ones
    full = [i for i, row in enumerate(out["input_ids"]) if len(row) >= max_length]
    texts = [[column[i] for i in full] for column in columns]
    again = tokenizer(*texts, add_special_tokens=True, verbose=False)["input_ids"] if full else []
    return sum(len(row) > max_length for row in again)


def pad(
    rows: Sequence[Sequence[int]],
    pad_id: int,
    side: str = "right",
    types: Sequence[Sequence[int]] | None = None,
    width: int = 1,
) -> dict[str, Tensor]:
    """Lists of ids -> input_ids and attention_mask, both (B, T) int64 with T the longest row, or width where that is more.

    types: the token type of every id, where the model has them -> token_type_ids (B, T), 0 at padding.
    """
    width = max([width, *map(len, rows)])
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask, kinds = np.zeros_like(ids), np.zeros_like(ids)
    for i, row in enumerate(rows):
        where = slice(0, len(row)) if side == "right" else slice(ids.shape[1] - len(row), None)
        ids[i, where] = row
        mask[i, where] = 1
        if types is not None:
            kinds[i, where] = types[i]
    out = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    return out if types is None else {**out, "token_type_ids": torch.from_numpy(kinds)}


def length_sorted_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Positions in batches, longest first (so that running out of memory happens at once), B * T <= batch_tokens.

    A text longer than the budget is a batch of its own. Equal lengths keep their order.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


@torch.inference_mode()
def encode(
    model: "modelWithPooling",
    texts: Iterable[str],
    *,
    prompt_name: str | None = None,
    prompt: str | None = None,
    normalize: bool = False,
    truncate_dim: int | None = None,
    batch_tokens: int | None = None,
    precision: str = "fp32",
    unpadded: str = "auto",
    progress: bool = False,
) -> Encoded:
    """Embeds texts (a generator is read once) in eval mode; the model's own mode is restored.

    prompt, prompt_name: text put before each text, or its name in ``model.description.prompts`` (ValueError when
    unknown). normalize: unit length. truncate_dim: keep the first dimensions (before normalising).
    batch_tokens: padded tokens a batch. precision: "fp32", "bf16" or "fp16" for the encoder; vectors are fp32 always.
    unpadded: "auto", "on" or "off", see sbert.unpadded.packs.
    """
    if model.tokenizer is None:
        raise ValueError("encode needs a model with a tokenizer")
    if precision not in DTYPES:
        raise ValueError(f"precision {precision!r}: allowed are {', '.join(DTYPES)}")
    truncate_dim = truncate_dim or model.description.truncate_dim
    if truncate_dim and not 0 < truncate_dim <= model.width:
        raise ValueError(f"truncate_dim {truncate_dim}: this model has {model.width} dimensions")
    prefix = _prefix(model, prompt, prompt_name)
    texts = list(texts)
    distinct = list(dict.fromkeys(texts))
    tokens = tokenize(
        model.tokenizer,
        [prefix + text for text in distinct],
        model.max_length,
        lower=model.description.do_lower_case,
    )
    skip = 0
    if prefix and not model.description.include_prompt:
        skip = _prompt_tokens(model, prefix)
    if tokens.truncated:
        log.warning(
            "%d of %d texts are longer than %d tokens and were truncated",
            tokens.truncated,
            len(distinct),
            model.max_length,
        )
    embeddings, padding_share = run_batches(
        model,
        tokens.ids,
        lambda network, features: network(**features, prompt_tokens=skip)["sentence_embedding"],
        first_token=model.description.pooling == ("cls",)
        and model.description.average_layers == 1
        and not skip,
        batch_tokens=batch_tokens,
        precision=precision,
        unpadded=unpadded,
        progress=progress,
    )
    if truncate_dim:
        embeddings = embeddings[:, :truncate_dim]
    if normalize:
        embeddings = torch.nn.functional.normalize(embeddings, dim=-1)
    position = {text: i for i, text in enumerate(distinct)}
    rows = np.fromiter((position[text] for text in texts), dtype=np.int64, count=len(texts))
    return Encoded(embeddings.numpy()[rows], len(distinct), tokens.truncated, padding_share)


def run_batches(
    model: "modelWithPooling | CrossEncoder",
    ids: Sequence[Sequence[int]],
    forward: Callable[[Any, dict[str, Tensor]], Tensor],
    *,
    types: Sequence[Sequence[int]] | None = None,
    first_token: bool = False,
    batch_tokens: int | None = None,
    precision: str = "fp32",
    unpadded: str = "auto",
    progress: bool = False,
    unit: str = "texts",
) -> tuple[Tensor, float]:
    """Runs ``forward(network, features)`` over length-sorted, token-budgeted batches: ((N, ...) fp32 on the CPU in the
    order of ``ids``, share of padding among the tokens computed). network: the model, or its copy with an encoder in half
    precision, unpadded, or with a last layer for the first token (sbert.first_token). types: the token types of ``ids``, where the model has them. first_token: ``forward`` reads nothing
    but the first token of each row. unpadded: "auto" leaves a few texts, which are not worth a copy, padded. Several
    processes share the batches."""
    device, tokenizer = model.device, model.tokenizer
    pad_id, side = getattr(tokenizer, "pad_token_id", None) or 0, getattr(tokenizer, "padding_side", "right")
    budget = batch_tokens or BATCH_TOKENS.get(device.type, 2048)
    lengths = [len(row) for row in ids]
    # not on the left: some families count positions from the row's first place
    rounded = device.type == "cpu" and precision != "fp32" and side == "right"
    modes, out = [(m, m.training) for m in model.modules()], None
    limit = int(model.max_length)
    widths = [min(padded_length(n), limit) for n in lengths] if rounded else lengths
    batches = list(length_sorted_batches(widths, budget))
    mine = batches[distributed.rank() :: distributed.count()]
    model.eval()
    try:
        skips = first_token and side == "right" and not is_packed(model.model) and can_skip(model.model)
        copied = (precision != "fp32" or skips) and sum(lengths) >= MANY
        packed = (copied or unpadded != "auto") and packs(unpadded, model.model, device, precision)
        copied = copied or packed  # hooks are put on a copy as well, for threads may encode at once
        network = with_half_encoder(model, DTYPES[precision]) if copied else model
        casting = "fp32" if copied else precision
        if packed:
            pack_encoder(network.model)
        packed = is_packed(network.model)  # a model in training is, too
        if skips and copied and not packed:
            skip_in_last_layer(network.model)
        with Progress(sum(map(len, mine)), unit, shown=progress and ranks.is_first()) as bar:
            for batch in mine:
                kinds = None if types is None else [types[i] for i in batch]
                padded = pad([ids[i] for i in batch], pad_id, side, kinds, widths[batch[0]])
                features = {k: v.to(device, non_blocking=True) for k, v in padded.items()}
                with autocast(device, casting):
                    vectors = forward(network, features)
                if out is None:
                    out = torch.empty(len(ids), *vectors.shape[1:])
                out[batch] = vectors.float().cpu()
                bar.update(len(batch))
    finally:
        for module, training in modes:  # one by one: a part that was frozen in eval mode stays so
            module.training = training
    if out is None:
        out = torch.empty(len(ids), int(model.width))
    distributed.gather_batches(out, batches)
    computed = sum(lengths) if packed else sum(len(batch) * max(widths[batch[0]], 1) for batch in batches)
    return out, 1 - sum(lengths) / computed if computed else 0.0


def _prefix(model: "modelWithPooling", prompt: str | None, prompt_name: str | None) -> str:
    if prompt is not None:
        return prompt
    name = prompt_name if prompt_name is not None else model.description.default_prompt
    if name is None:
        return ""
    if name not in model.description.prompts:
        raise ValueError(
            f"prompt_name {name!r}: this model has {sorted(model.description.prompts) or 'no prompts'}"
        )
    return model.description.prompts[name]


def _prompt_tokens(model: "modelWithPooling", prefix: str) -> int:
    """Leading tokens that belong to the prompt: its own tokens and the opening special one, not the closing one."""
    assert model.tokenizer is not None
    ids = tokenize(model.tokenizer, [prefix], model.max_length, lower=model.description.do_lower_case).ids[0]
    closing = ids and ids[-1] in (model.tokenizer.sep_token_id, model.tokenizer.eos_token_id)
    return len(ids) - bool(closing)
