"""The rows of a batch in the order and the parts in which an encoder takes them.

Columns are stacked, sorted by length and cut into parts, each as wide as its own longest row: padding is what a batch of
short and long texts would spend most of its time on. What comes out is put back in order, a tensor a column.

Shape letters: B rows of a column, T tokens, D width of what comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Features = Sequence[dict[str, Tensor]]
PART_TOKENS = {"cpu": 1024, "cuda": 65536}  # of a part, at most: past these a device is as busy as it gets
PACKED_TOKENS = {**PART_TOKENS, "cpu": 4096}  # where no padding is computed
PADDING, PART_ROWS = 0.15, 8  # parts are made smaller until padding is below this share, or rows a part


@dataclass(frozen=True)
class Chunks:
    """parts: what the encoder takes, one after the other. order: of each row of the parts, where it stood. sizes: the
    rows of each column."""

    parts: list[dict[str, Tensor]]
    order: Tensor
    sizes: list[int]

    @classmethod
    def of(cls, columns: Features, count: int) -> "Chunks":
        """columns: dicts of (B_i, T_i) tensors. count: how many parts to cut them into, at most one a row."""
        batch = join(columns)
        lengths = batch["attention_mask"].sum(1)
        order = (
            lengths.argsort(stable=True) if count > 1 else torch.arange(len(lengths), device=lengths.device)
        )
        parts = [trim({key: value[rows] for key, value in batch.items()}) for rows in order.chunk(count)]
        return cls(parts, order, [len(column["input_ids"]) for column in columns])

    def restore(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """Of each part its (rows, D) -> of each column its (B_i, D), rows as they stood."""
        return list(torch.cat(list(outputs))[self.order.argsort()].split(self.sizes))


def count_of(rows: int, at_most: int) -> int:
    """How many parts of at most so many rows."""
    return max(1, -(-rows // at_most))


def parts_of(lengths: Sequence[int], device: torch.device, packed: bool = False) -> int:
    """In how many parts texts of these lengths are encoded: more where they differ in length, as premises and hypotheses
    do, but elsewhere than on a CPU, where small parts cost more than padding, no more than two for that reason, and for
    an encoder that computes no padding (packed) never."""
    most = max(1, len(lengths) // PART_ROWS) if device.type == "cpu" else 2
    at_most = (PACKED_TOKENS if packed else PART_TOKENS).get(device.type, 1024)
    count = min(len(lengths), count_of(sum(lengths), at_most))
    while not packed and count < most and padded_tokens(lengths, count) * (1 - PADDING) > sum(lengths):
        count += 1
    return count


def padded_length(length: int) -> int:
    """The number of tokens to which a CPU pads texts in half precision: up to 24 as it is, then multiples of 2, from 48 on of
    4, from 96 on of 8 and so on, at most a twelfth more.

    oneDNN compiles a product of half-precision matrices anew for every size, which takes as long as several such products
    (experiments/LOG.md), and keeps the last 1,024: sizes should recur.
    """
    step = 1
    while length > 24 * step:
        step *= 2
    return -(-length // step) * step


def padded_tokens(lengths: Sequence[int], count: int) -> int:
    """Tokens that an encoder computes for rows of these lengths when they are cut into ``count`` parts."""
    parts = torch.tensor(sorted(lengths)).chunk(count)
    return sum(len(part) * int(part[-1]) for part in parts)


def join(columns: Features) -> dict[str, Tensor]:
    """Stacks columns of (B_i, T_i) into one batch (sum of B, max T), padded on the right; pad positions are masked."""
    width = max(column["input_ids"].shape[1] for column in columns)
    return {
        key: torch.cat([F.pad(column[key], (0, width - column[key].shape[1])) for column in columns])
        for key in columns[0]
    }


def trim(batch: dict[str, Tensor], mask: str = "attention_mask") -> dict[str, Tensor]:
    """Drops the token positions, on either side, that are padding in every row. mask: which of the tensors tells."""
    used = batch[mask].any(0).nonzero()
    first, last = (int(used.min()), int(used.max())) if len(used) else (0, 0)
    return {key: value[:, first : last + 1] for key, value in batch.items()}
