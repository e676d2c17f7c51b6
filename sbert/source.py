"""A training set made ready for the loop: tokenized once, with its objective, cut into batches of tensors."""

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from data import DataSet, RetrievalSet
from sbert.chunks import padded_tokens, parts_of
from sbert.encode import pad, tokenize
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.objectives import Objective

log = logging.getLogger("sbert")


@dataclass(frozen=True)
class Batch:
    """features: one dict a column, all padded to one width; answer: (B,) or None."""

    features: list[dict[str, Tensor]]
    answer: Tensor | None
    size: int
    real_tokens: int
    padded_tokens: int
    padding_computed: bool = False  # also where the encoder runs unpadded: a decoder does not


class TrainingSource(Protocol):
    """What the loop needs of a training set, whichever objective it is for."""

    name: str
    lengths: list[int]  # tokens of each row, to group by
    truncated_share: float

    @property
    def objective(self) -> Objective: ...

    @property
    def keys(self) -> Sequence[Sequence[Hashable]] | None:
        """What must not come twice in a batch, of each row; None where the rows of a batch do not meet."""

    @property
    def topics(self) -> Sequence[tuple[Hashable, Hashable]] | None:
        """(topic, passage) of each row, for batches of near passages; None where rows have no passages."""

    def batch(self, rows: Sequence[int], device: torch.device) -> Batch: ...


@dataclass
class Source:
    """One training set of a bi-encoder: ``columns[c][row]`` are token ids, ``lengths[row]`` the longest column of a row."""

    name: str
    objective: Objective
    columns: list[list[list[int]]]
    labels: Tensor | None
    lengths: list[int]
    truncated_share: float
    pad_id: int
    side: str
    keys = None
    topics = None

    @classmethod
    def build(cls, dataset: DataSet, objective: Objective, tokenizing_model: modelWithPooling) -> "Source":
        """Tokenizes each distinct text once. Raises RunError when the set is empty or not what the objective takes."""
        check_fits(dataset, objective)
        tokenizer = tokenizing_model.tokenizer
        assert tokenizer is not None
        distinct = list(dict.fromkeys(text for example in dataset.examples for text in example.texts))
        tokens = tokenize(
            tokenizer, distinct, tokenizing_model.max_length, lower=tokenizing_model.description.do_lower_case
        )
        if tokens.truncated:
            log.warning(
                "%s: %d of %d distinct texts are longer than %d tokens and are truncated",
                dataset.key,
                tokens.truncated,
                len(distinct),
                tokenizing_model.max_length,
            )
        ids = dict(zip(distinct, tokens.ids, strict=True))
        columns = [[ids[example.texts[c]] for example in dataset.examples] for c in range(objective.columns)]
        labels = None
        if dataset.examples[0].label is not None:
            dtype = torch.long if dataset.task == "nli" else torch.float32
            labels = torch.tensor([example.label for example in dataset.examples], dtype=dtype)
        lengths = np.max([[len(row) for row in column] for column in columns], axis=0).tolist()
        return cls(
            dataset.key,
            objective,
            columns,
            labels,
            lengths,
            tokens.truncated / len(distinct),
            tokenizer.pad_token_id or 0,
            tokenizer.padding_side,
        )

    def batch(self, rows: Sequence[int], device: torch.device) -> Batch:
        """The tensors of these rows. Columns share one width, so that the encoder can take them as one batch."""
        flat = [column[row] for column in self.columns for row in rows]
        padded = pad(flat, self.pad_id, self.side)
        parts = {k: v.to(device, non_blocking=True).split(len(rows)) for k, v in padded.items()}
        features = [{k: v[c] for k, v in parts.items()} for c in range(len(self.columns))]
        answer = None if self.labels is None else self.labels[list(rows)].to(device, non_blocking=True)
        lengths = [len(row) for row in flat]
        return Batch(
            features, answer, len(rows), sum(lengths), padded_tokens(lengths, parts_of(lengths, device))
        )


def check_fits(dataset: DataSet | RetrievalSet, objective: Objective) -> None:
    """Raises RunError when the set is empty or of another kind than the objective takes."""
    if not len(dataset):
        raise RunError(f"{dataset.key}: no examples to train on")
    if dataset.task not in objective.tasks:
        name = type(objective).__name__
        raise RunError(f"{dataset.key} is {dataset.task} data; {name} takes {' or '.join(objective.tasks)}")
