"""Pairs of texts -> one row of token ids each: ``[CLS] first [SEP] second [SEP]``, cut longest first."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from sbert.encode import count_truncated

Pair = tuple[str, str]


@dataclass(frozen=True)
class PairTokens:
    """ids and, where the tokenizer gives them, token types of each pair; how many pairs had to be cut."""

    ids: list[list[int]]
    types: list[list[int]] | None
    truncated: int


def tokenize_pairs(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], max_length: int) -> PairTokens:
    """One call for all pairs. A pair of more than ``max_length`` tokens loses tokens from the end of whichever of its
    texts is longer at the moment, so that a short query before a long passage is kept whole."""
    has_types = "token_type_ids" in tokenizer.model_input_names
    if not pairs:
        return PairTokens([], [] if has_types else None, 0)
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    out = tokenizer(
        first,
        second,
        truncation="longest_first",
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=has_types,
    )
    truncated = count_truncated(tokenizer, out, max_length, first, second)
    return PairTokens(out["input_ids"], out["token_type_ids"] if has_types else None, truncated)
