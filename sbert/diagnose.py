"""Which examples a loss or a gradient that is not finite came from: told when training stops, at no cost before.

Rows are counted from 1 in the order in which a set is loaded; with --train-limit, among the rows that were drawn.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch

from sbert import ranks
from sbert.precision import autocast
from sbert.source import TrainingSource

SHOWN, LETTERS = 3, 60  # examples of which the text is shown, and how much of it
MicroBatches = Sequence[tuple[int, Sequence[int]]]


def rows_of(sources: Sequence[TrainingSource], micro_batches: MicroBatches) -> str:
    """``rows 3, 17 of samples-sts-en-train; rows 5 of ...``"""
    rows: dict[str, list[int]] = {}
    for source, numbers in micro_batches:
        rows.setdefault(sources[source].name, []).extend(number + 1 for number in numbers)
    return "; ".join(f"rows {', '.join(map(str, sorted(some)))} of {name}" for name, some in rows.items())


def origin_of_bad_loss(sources: Sequence[TrainingSource], micro_batches: MicroBatches, precision: str) -> str:
    """Where a loss that is not finite came from: the weights, single rows with the beginning of their first text, or, when
    each row alone is well, all rows of the update; so too of several processes, whose objectives wait for one another."""
    objectives = [sources[source].objective for source, _ in micro_batches]
    weights = [pair for objective in objectives for pair in objective.named_parameters()]
    bad = next((name for name, weight in weights if not torch.isfinite(weight).all()), None)
    if bad is not None:
        return f"{bad} is not finite itself; {rows_of(sources, micro_batches)}"
    if ranks.count() > 1:
        return rows_of(sources, micro_batches)
    alone = partial(_is_bad_alone, sources, weights[0][1].device, precision)
    guilty = [(source, row) for source, numbers in micro_batches for row in numbers if alone(source, row)]
    if not guilty:
        return rows_of(sources, micro_batches)
    texts = [text for source, row in guilty[:SHOWN] if (text := _text(sources[source], row))]
    return ": ".join(
        [
            rows_of(sources, [(source, [row]) for source, row in guilty]),
            *([", ".join(texts)] if texts else []),
        ]
    )


def _is_bad_alone(
    sources: Sequence[TrainingSource], device: torch.device, precision: str, source: int, row: int
) -> bool:
    batch = sources[source].batch([row], device)
    try:
        with torch.no_grad(), autocast(device, precision):
            loss = sources[source].objective(batch.features, batch.answer)["loss"]
    except (RuntimeError, ValueError):  # an objective that needs a batch says nothing about one row
        return False
    return not math.isfinite(loss.item())


def _text(source: TrainingSource, row: int) -> str:
    """The beginning of the row's first text, as far as the tokenizer gives it back; the text that was to be said again, where
    words of it were deleted."""
    tokenizer = getattr(getattr(source.objective, "model", None), "tokenizer", None)
    if tokenizer is None:
        return ""
    features = source.batch([row], torch.device("cpu")).features[0]
    names = ("target_ids", "target_mask") if "target_ids" in features else ("input_ids", "attention_mask")
    ids, mask = (features[name][0] for name in names)
    return repr(tokenizer.decode(ids[mask.bool()].tolist(), skip_special_tokens=True)[:LETTERS])
