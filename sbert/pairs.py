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
    cut = [shortened(tokenizer, pair, max_length) for pair in pairs]
    first, second = [a for a, _ in cut], [b for _, b in cut]
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


SURE = 16  # characters a token from which on a text may be too long
MARGIN = (
    1000  # characters kept past the last token that can count, so that cutting there changes no token before
)


def shortened(tokenizer: PreTrainedTokenizerBase, pair: Pair, max_length: int) -> Pair:
    """The pair without ends that no row of ``max_length`` tokens can hold: what the tokenizer does with the rest of two long
    texts grows with the product of their lengths (1,000 tokens each: .1 s, 4,000: 1.3 s, 100,000: minutes).

    The longer text stays the longer one, the second where both are alike: it gets the odd token of an uneven limit.
    """
    if max(map(len, pair)) <= max(SURE * max_length, MARGIN) or not tokenizer.is_fast:
        return pair
    first, second = (_offsets(tokenizer, text) for text in pair)
    enough, more = max_length + 1, max_length + 2 + MARGIN  # tokens
    kept = (more, enough) if len(first) > len(second) else (enough, more)
    return _head(pair[0], first, kept[0]), _head(pair[1], second, kept[1])


def _offsets(tokenizer: PreTrainedTokenizerBase, text: str) -> list[tuple[int, int]]:
    """Where in the text each token begins and ends."""
    return tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)[
        "offset_mapping"
    ]


def _head(text: str, offsets: list[tuple[int, int]], tokens: int) -> str:
    """The text up to the end of the word in which this many tokens are reached."""
    if len(offsets) <= tokens:
        return text
    end = offsets[tokens - 1][1]
    blank = text.find(" ", end, end + MARGIN)
    return text[: blank if blank >= 0 else end + MARGIN]
