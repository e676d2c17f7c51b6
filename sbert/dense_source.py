"""Training sets for dense retrieval, made ready for the loop: a row is a question, a passage that answers it, and
passages known to be wrong ("hard" negatives) where the set has any.

A batch holds each distinct passage once. What stands in its answer (see sbert/dense_objectives.py) is decided by what is
known of the whole set: a passage that answers a question never counts against it, whichever row brought it in.
"""

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch

from data import DataSet, RetrievalSet
from sbert.chunks import padded_tokens, parts_of
from sbert.dense_objectives import DenseObjective, towers_of
from sbert.encode import pad, tokenize
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.pair_source import grades
from sbert.retrieval.windows import cut_texts, holding
from sbert.source import Batch, check_fits

log = logging.getLogger("sbert")


@dataclass
class Rows:
    """questions: a text a row. right: a passage text a row. wrong: of each row any number. passage_of: the passage that
    a text is (part of), where it is not itself one. answers: question -> all passages known to answer it. topic_of: the
    article of a passage, where known."""

    questions: list[str] = field(default_factory=list)
    right: list[str] = field(default_factory=list)
    wrong: list[tuple[str, ...]] = field(default_factory=list)
    passage_of: dict[str, Hashable] = field(default_factory=dict)
    answers: dict[str, set[Hashable]] = field(default_factory=dict)
    topic_of: dict[Hashable, Hashable] = field(default_factory=dict)

    def add(self, question: str, right: str, wrong: Sequence[str] = ()) -> None:
        self.questions.append(question)
        self.right.append(right)
        self.wrong.append(tuple(wrong))
        self.answers.setdefault(question, set()).add(self.passage(right))

    def passage(self, text: str) -> Hashable:
        return self.passage_of.get(text, text)


def rows_of_ranking(dataset: DataSet) -> Rows:
    """One row a relevant document, with the query's irrelevant ones; triplets likewise."""
    rows = Rows()
    for example in dataset.examples:
        labelled = list(zip(example.texts[1:], grades(dataset.task, example.label), strict=True))
        right = [text for text, grade in labelled if grade > 0]
        wrong = [text for text, grade in labelled if grade <= 0 and text not in right]
        rows.passage_of.update(zip(example.texts[1:], example.passages, strict=False))
        rows.answers.setdefault(example.texts[0], set()).update(example.relevant)
        for text in right:
            rows.add(example.texts[0], text, wrong)
    return rows


def rows_of_texts(dataset: DataSet) -> Rows:
    """One row a text, which is asked for and which answers: a batch has it once in either column."""
    rows = Rows()
    for example in dataset.examples:
        rows.add(example.texts[0], example.texts[0])
    return rows


def rows_of_retrieval(dataset: RetrievalSet, reader: modelWithPooling) -> Rows:
    """One row a question and passage that answers it. Of a passage longer than ``reader`` takes, the window that holds
    the answer; another window of it answers the question as well, as far as a loss is concerned."""
    rows = Rows()
    position = {passage.id: i for i, passage in enumerate(dataset.passages)}
    wanted = sorted({position[x] for q in dataset.questions for x in dataset.relevant[q.id] if x in position})
    reserve = len(reader.tokenizer.tokenize(reader.prompt_for("document"))) if reader.tokenizer else 0
    windows, owner = cut_texts(
        reader.tokenizer,
        [dataset.texts[i] for i in wanted],
        reader.max_length,
        reserve=reserve,
        lower=reader.description.do_lower_case,
    )
    parts: dict[int, list[str]] = {}
    for window, i in zip(windows, owner.tolist(), strict=True):
        parts.setdefault(wanted[i], []).append(window)
        rows.passage_of[window] = dataset.passages[wanted[i]].id
    if dataset.articles:
        rows.topic_of = {dataset.passages[i].id: dataset.passages[i].title for i in wanted}
    for question in dataset.questions:
        rows.answers.setdefault(question.text, set()).update(dataset.relevant[question.id])
        for passage in dataset.relevant[question.id]:
            if passage in position:
                own = parts[position[passage]]
                rows.add(question.text, own[holding(own, question.answers)])
    return rows


@dataclass
class DenseSource:
    """``question_ids`` and ``passage_ids``: the tokens of each distinct text, prompts included."""

    name: str
    objective: DenseObjective
    rows: Rows
    question_ids: dict[str, list[int]]
    passage_ids: dict[str, list[int]]
    lengths: list[int]
    keys: list[tuple[Hashable, ...]]  # what must not come twice in a batch: the question, the passage
    topics: list[
        tuple[Hashable, Hashable]
    ]  # (article, passage) of each row; where no article is known, the passage
    truncated_share: float
    num_negatives: int
    padding: tuple[tuple[int, str], tuple[int, str]]  # (pad id, side) of questions and of passages

    @classmethod
    def build(
        cls, dataset: DataSet | RetrievalSet, objective: DenseObjective, num_negatives: int = 1
    ) -> "DenseSource":
        """num_negatives: how many of a row's own wrong passages a batch takes, drawn anew each time.

        Raises RunError when the set is empty or not what the objective takes.
        """
        check_fits(dataset, objective)
        asks, reads = towers_of(objective.model)
        if isinstance(dataset, RetrievalSet):
            rows = rows_of_retrieval(dataset, reads)
        else:
            rows = rows_of_texts(dataset) if dataset.task == "text" else rows_of_ranking(dataset)
        if not rows.questions:
            raise RunError(f"{dataset.key}: no question has a passage that answers it, nothing to train on")
        passages = [*rows.right, *(text for own in rows.wrong for text in own)]
        passage_ids, cut_passages = _tokens(reads, "document", passages)
        question_ids, cut_questions, distinct = passage_ids, 0, len(passage_ids)
        if dataset.task != "text":
            question_ids, cut_questions = _tokens(asks, "query", rows.questions)
            distinct += len(question_ids)
        if cut_questions + cut_passages:
            log.warning(
                "%s: %d of %d distinct texts are longer than %d tokens and are truncated",
                dataset.key,
                cut_questions + cut_passages,
                distinct,
                reads.max_length,
            )
        pairs = list(zip(rows.questions, rows.right, strict=True))
        return cls(
            dataset.key,
            objective,
            rows,
            question_ids,
            passage_ids,
            [max(len(question_ids[q]), len(passage_ids[p])) for q, p in pairs],
            [(("question", q), ("passage", rows.passage(p))) for q, p in pairs],
            [(rows.topic_of.get(p, p), p) for p in map(rows.passage, rows.right)],
            (cut_questions + cut_passages) / distinct,
            num_negatives,
            (_padding(asks), _padding(reads)),
        )

    def batch(self, rows: Sequence[int], device: torch.device) -> Batch:
        """Two columns, questions and distinct passages, and the (Q, N) answer."""
        wrong = [text for row in rows for text in self._draw(self.rows.wrong[row])]
        passages = list(dict.fromkeys([*(self.rows.right[row] for row in rows), *wrong]))
        position = {text: i for i, text in enumerate(passages)}
        answer = torch.zeros(len(rows), len(passages))
        for i, row in enumerate(rows):
            known = self.rows.answers[self.rows.questions[row]]
            for j, text in enumerate(passages):
                if self.rows.passage(text) in known:
                    answer[i, j] = torch.nan
            answer[i, position[self.rows.right[row]]] = 1.0
        columns = [
            [self.question_ids[self.rows.questions[row]] for row in rows],
            [self.passage_ids[text] for text in passages],
        ]
        features = [
            {k: v.to(device, non_blocking=True) for k, v in pad(ids, *padding).items()}
            for ids, padding in zip(columns, self.padding, strict=True)
        ]
        lengths = [[len(ids) for ids in column] for column in columns]
        return Batch(
            features,
            answer.to(device, non_blocking=True),
            len(rows),
            sum(map(sum, lengths)),
            sum(padded_tokens(own, parts_of(own, device)) for own in lengths),
        )

    def _draw(self, wrong: tuple[str, ...]) -> list[str]:
        """``num_negatives`` of a row's own wrong passages, from torch's random state."""
        if len(wrong) <= self.num_negatives:
            return list(wrong)
        return [wrong[i] for i in torch.randperm(len(wrong))[: self.num_negatives].tolist()]


def _tokens(model: modelWithPooling, kind: str, texts: Sequence[str]) -> tuple[dict[str, list[int]], int]:
    """Token ids of each distinct text with the model's prompt for its kind, and how many texts were truncated."""
    prompt = model.prompt_for(kind)
    if prompt and not model.description.include_prompt:
        raise RunError(
            "this model's pooling leaves prompts out, which training does not support: set include_prompt to true"
        )
    distinct = list(dict.fromkeys(texts))
    assert model.tokenizer is not None
    lower = model.description.do_lower_case
    tokens = tokenize(model.tokenizer, [prompt + text for text in distinct], model.max_length, lower=lower)
    return dict(zip(distinct, tokens.ids, strict=True)), tokens.truncated


def _padding(model: modelWithPooling) -> tuple[int, str]:
    assert model.tokenizer is not None
    return model.tokenizer.pad_token_id or 0, model.tokenizer.padding_side
