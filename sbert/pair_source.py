"""Training sets of a cross-encoder, made ready for the loop: a row is one pair, or one query with its candidates."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data.examples import DataSet
from sbert.chunks import count_of, padded_tokens
from sbert.cross_encoder import CrossEncoder
from sbert.cross_objectives import CHUNK_ROWS, CrossObjective
from sbert.encode import pad
from sbert.errors import RunError
from sbert.pairs import Pair, PairTokens, tokenize_pairs
from sbert.source import Batch, check_fits

log = logging.getLogger("sbert")


@dataclass
class PairSource:
    """A set of labelled pairs: ``tokens.ids[row]`` are the ids of both texts together."""

    name: str
    objective: CrossObjective
    tokens: PairTokens
    labels: Tensor
    lengths: list[int]
    truncated_share: float
    pad_id: int
    side: str
    keys = None
    topics = None

    @classmethod
    def build(cls, dataset: DataSet, objective: CrossObjective, model: CrossEncoder) -> "PairSource":
        """Tokenizes every pair once. Raises RunError when the set is empty or not what the objective takes."""
        check_fits(dataset, objective)
        tokenizer = model.tokenizer
        assert tokenizer is not None
        pairs = [(example.texts[0], example.texts[1]) for example in dataset.examples]
        tokens = tokenize_pairs(tokenizer, pairs, model.max_length)
        warn_of_truncation(dataset.key, tokens.truncated, len(pairs), model.max_length)
        dtype = torch.long if dataset.task == "nli" else torch.float32
        return cls(
            dataset.key,
            objective,
            tokens,
            torch.tensor([example.label for example in dataset.examples], dtype=dtype),
            [len(row) for row in tokens.ids],
            tokens.truncated / len(pairs),
            tokenizer.pad_token_id or 0,
            tokenizer.padding_side,
        )

    def batch(self, rows: Sequence[int], device: torch.device) -> Batch:
        """The tensors of these rows: one column, (B, T)."""
        ids = [self.tokens.ids[row] for row in rows]
        types = None if self.tokens.types is None else [self.tokens.types[row] for row in rows]
        features = to_device(pad(ids, self.pad_id, self.side, types), device)
        answer = self.labels[list(rows)].to(device, non_blocking=True)
        real = sum(map(len, ids))
        return Batch([features], answer, len(rows), real, len(ids) * max(map(len, ids)))


@dataclass
class RankingSource:
    """Queries with candidates: relevance (or a teacher's score) of each, and sampled in-batch negatives.

    A batch's answer is (Q, N), nan where a query has fewer candidates than the longest list; its features are one
    column with a row for every cell that is not nan, in reading order.
    """

    name: str
    objective: CrossObjective
    model: CrossEncoder
    queries: list[str]
    documents: list[tuple[str, ...]]
    relevance: list[tuple[float, ...]]
    answers: dict[str, set[str]]  # query -> all its relevant documents, which are nobody's negatives for it
    lengths: list[int]
    truncated_share: float
    keys = None
    topics = None

    @classmethod
    def build(cls, dataset: DataSet, objective: CrossObjective, model: CrossEncoder) -> "RankingSource":
        """Raises RunError when the set is empty or not what the objective takes."""
        check_fits(dataset, objective)
        assert model.tokenizer is not None
        queries, documents, relevance = [], [], []
        answers: dict[str, set[str]] = {}
        for example in dataset.examples:
            label = grades(dataset.task, example.label)
            candidates = example.texts[1:]
            right = [d for d, grade in zip(candidates, label, strict=True) if grade > 0]
            answers.setdefault(example.texts[0], set()).update(right)
            wrong = [d for d, grade in zip(candidates, label, strict=True) if grade <= 0 and d not in right]
            lists = (
                [((document, *wrong), (1.0, *[0.0] * len(wrong))) for document in right]
                if objective.one_positive  # a row for each right document, the others left out of it
                else [(candidates, label)]
            )
            for listed, grade in lists:
                queries.append(example.texts[0])
                documents.append(listed)
                relevance.append(grade)
        if not queries:
            raise RunError(f"{dataset.key}: no query has a relevant document, nothing to train on")
        if not objective.num_negatives and all(len(listed) == 1 for listed in documents):
            raise RunError(
                f"{dataset.key}: every query has one document alone, and --num-negatives 0 draws none from the batch: "
                "there is nothing to tell apart"
            )
        longest = [(q, max(listed, key=len)) for q, listed in zip(queries, documents, strict=True)]
        tokens = tokenize_pairs(model.tokenizer, longest, model.max_length)
        warn_of_truncation(dataset.key, tokens.truncated, len(longest), model.max_length)
        return cls(
            dataset.key,
            objective,
            model,
            queries,
            documents,
            relevance,
            answers,
            [len(row) for row in tokens.ids],
            tokens.truncated / len(longest),
        )

    def batch(self, rows: Sequence[int], device: torch.device) -> Batch:
        """Pairs are tokenized here, because negatives are drawn anew in every epoch (from torch's random state)."""
        lists = [list(self.documents[row]) for row in rows]
        grades = [list(self.relevance[row]) for row in rows]
        if self.objective.num_negatives:
            drawn = [self._draw(rows, i) for i in range(len(rows))]
            lists = [[*own, *more] for own, more in zip(lists, drawn, strict=True)]
            grades = [[*own, *[0.0] * len(more)] for own, more in zip(grades, drawn, strict=True)]
        pairs: list[Pair] = [
            (self.queries[row], d) for row, own in zip(rows, lists, strict=True) for d in own
        ]
        tokenizer = self.model.tokenizer
        assert tokenizer is not None
        tokens = tokenize_pairs(tokenizer, pairs, self.model.max_length)
        features = to_device(
            pad(tokens.ids, tokenizer.pad_token_id or 0, tokenizer.padding_side, tokens.types), device
        )
        answer = torch.full((len(rows), max(map(len, lists))), torch.nan)
        for i, own in enumerate(grades):
            answer[i, : len(own)] = torch.tensor(own)
        lengths = [len(row) for row in tokens.ids]
        padded = padded_tokens(lengths, count_of(len(lengths), CHUNK_ROWS))
        return Batch([features], answer.to(device, non_blocking=True), len(rows), sum(lengths), padded)

    def _draw(self, rows: Sequence[int], i: int) -> list[str]:
        """Up to ``num_negatives`` distinct documents of the batch's other queries that are not right for query i."""
        taken = self.answers[self.queries[rows[i]]] | set(self.documents[rows[i]])
        others = [d for j, row in enumerate(rows) if j != i for d in self.documents[row] if d not in taken]
        others = list(dict.fromkeys(others))
        order = torch.randperm(len(others))[: self.objective.num_negatives]
        return [others[j] for j in order.tolist()]


def grades(task: str, label: object) -> tuple[float, ...]:
    """The relevance of each candidate of a row: its own, 1 and 0 of a triplet, or a teacher's margin and 0."""
    if task == "triplet":
        return (1.0, 0.0)
    if task == "margin":
        return (float(label), 0.0)  # type: ignore[arg-type]
    return tuple(label)  # type: ignore[arg-type]


def warn_of_truncation(key: str, truncated: int, total: int, max_length: int) -> None:
    if truncated:
        log.warning(
            "%s: %d of %d pairs (%.1f %%) are longer than %d tokens and are truncated, the longer text first",
            key,
            truncated,
            total,
            100 * truncated / total,
            max_length,
        )


def to_device(features: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {key: value.to(device, non_blocking=True) for key, value in features.items()}
