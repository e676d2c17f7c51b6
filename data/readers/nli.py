"""Readers of natural language inference sets: pairs with a class id, and triplets made from them.

A row whose gold label is ``-`` (no majority among the annotators) is skipped and counted everywhere. The
large training sets of SNLI, MultiNLI, AllNLI and KorNLI are also forgiven rows without a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable

from data.examples import NLI_LABELS, DataError, DataSet, Example
from data.readers.text import Place, Raw, field, nli_label, sentence

Read = tuple[list[Example], int]  # the examples, and how many rows were skipped by rule
Row = tuple[Place, object, object, object]  # place in the file, premise, hypothesis, label


def _examples(files: Iterable[tuple[Raw, Iterable[Row]]], skip_empty: bool = False) -> Read:
    examples, skipped = [], 0
    for raw, rows in files:
        for place, premise, hypothesis, word in rows:
            label = nli_label(raw, place, word)
            if label is None or (skip_empty and not (str(premise).strip() and str(hypothesis).strip())):
                skipped += 1
                continue
            texts = (sentence(raw, place, premise), sentence(raw, place, hypothesis))
            examples.append(Example(texts, label))
    return examples, skipped


def _table(raw: Raw, premise: str, hypothesis: str, label: str) -> Iterable[Row]:
    return ((line, c[0], c[1], c[2]) for line, c in raw.table(premise, hypothesis, label))


def read_labelled_table(raws: list[Raw], split: str) -> Read:
    """KorNLI dev and test, and the samples: header with sentence1, sentence2, gold_label, in any order."""
    return _examples((raw, _table(raw, "sentence1", "sentence2", "gold_label")) for raw in raws)


def read_kornli(raws: list[Raw], split: str) -> Read:
    """KorNLI: as above; its machine-translated training files hold rows with a stray tab: skipped, counted.

    (kakaobrain/kor-nlu-datasets, issue 5: line 24,426 of multinli.train.ko.tsv.)
    """
    if split != "train":
        return read_labelled_table(raws, split)
    odd = 0

    def rows(raw: Raw) -> Iterable[Row]:
        nonlocal odd
        for line, cells in raw.rows(1, "sentence1, sentence2, gold_label"):
            if len(cells) != 3:
                odd += 1
            elif cells != ["sentence1", "sentence2", "gold_label"]:
                yield line, cells[0], cells[1], cells[2]

    examples, skipped = _examples(((raw, rows(raw)) for raw in raws), skip_empty=True)
    return examples, skipped + odd


def read_sick_nli(raws: list[Raw], split: str) -> Read:
    """SICK entailment: the label is entailment_judgment, in capitals."""
    return _examples((raw, _table(raw, "sentence_A", "sentence_B", "entailment_judgment")) for raw in raws)


def read_jsonl(raws: list[Raw], split: str) -> Read:
    """JSON lines with sentence1, sentence2, gold_label."""
    return _examples((raw, _objects(raw)) for raw in raws)


def read_snli(raws: list[Raw], split: str) -> Read:
    """SNLI and MultiNLI: the same, among many further fields."""
    return _examples(((raw, _objects(raw)) for raw in raws), skip_empty=True)


def _objects(raw: Raw) -> Iterable[Row]:
    for line, item in raw.objects():
        first, second, label = (
            field(raw, line, item, name) for name in ("sentence1", "sentence2", "gold_label")
        )
        yield line, first, second, label


def read_allnli(raws: list[Raw], split: str) -> Read:
    """sbert.net's AllNLI.tsv, all splits: split, dataset, filename, sentence1, sentence2, label."""

    def rows(raw: Raw) -> Iterable[Row]:
        for line, (row_split, *cells) in raw.table("split", "sentence1", "sentence2", "label"):
            if row_split == split:
                yield line, cells[0], cells[1], cells[2]

    return _examples(((raw, rows(raw)) for raw in raws), skip_empty=True)


def read_klue_nli(raws: list[Raw], split: str) -> Read:
    """KLUE-NLI: JSON list with premise, hypothesis, gold_label."""

    def rows(raw: Raw) -> Iterable[Row]:
        for place, item in raw.items():
            first, second, label = (
                field(raw, place, item, n) for n in ("premise", "hypothesis", "gold_label")
            )
            yield place, first, second, label

    return _examples((raw, rows(raw)) for raw in raws)


def read_xnli(raws: list[Raw], split: str) -> Read:
    """XNLI-1.0: all languages in one file with a header; the rows whose language is en."""

    def rows(raw: Raw) -> Iterable[Row]:
        for line, (language, *cells) in raw.table("language", "sentence1", "sentence2", "gold_label"):
            if language == "en":
                yield line, cells[0], cells[1], cells[2]

    return _examples((raw, rows(raw)) for raw in raws)


def read_xnli_lines(raws: list[Raw], split: str) -> Read:
    """XNLI English without header: dev has the label in column 3, test in KorNLI's file, line by line."""
    if split == "dev":
        layout = "sentence1, sentence2, label"
        return _examples((raw, ((line, c[0], c[1], c[2]) for line, c in raw.rows(3, layout))) for raw in raws)
    pairs, korean = raws
    rows = list(pairs.rows(2, "sentence1, sentence2"))
    labels = [cells[0] for _, cells in korean.table("gold_label")]
    if len(labels) != len(rows):
        korean.fail(None, f"{len(labels)} labels for the {len(rows)} pairs of {pairs.where}")
    joined = ((line, c[0], c[1], label) for (line, c), label in zip(rows, labels, strict=True))
    return _examples([(pairs, joined)])


def triplets(nli: DataSet) -> DataSet:
    """(premise, entailed hypothesis, contradicting hypothesis): every combination of each premise, in order.

    Premises come in the order of their first row. Raises DataError for a set that is not NLI or yields no
    triplet.
    """
    if nli.task != "nli":
        raise DataError(f"{nli.key}: triplets are made from NLI sets, this one is {nli.task}")
    positive, negative = NLI_LABELS.index("entailment"), NLI_LABELS.index("contradiction")
    by_premise: dict[str, tuple[list[str], list[str]]] = {}
    for example in nli.examples:
        premise, hypothesis = example.texts
        sides = by_premise.setdefault(premise, ([], []))
        if example.label == positive:
            sides[0].append(hypothesis)
        elif example.label == negative:
            sides[1].append(hypothesis)
    made = [
        Example((premise, entailed, contradicting), None)
        for premise, (positives, negatives) in by_premise.items()
        for entailed in positives
        for contradicting in negatives
    ]
    if not made:
        raise DataError(
            f"{nli.key}: no premise has both an entailment and a contradiction, so there is no triplet"
        )
    return DataSet(nli.name, nli.split, "triplet", nli.language, made, nli.files)
