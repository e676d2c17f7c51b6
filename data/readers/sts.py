"""Readers of sentence similarity sets: pairs with a score, scaled to 0..1 here and nowhere else."""

from __future__ import annotations

from data.examples import Example
from data.readers.text import Place, Raw, field, score, sentence

Read = tuple[list[Example], int]  # the examples, and how many rows were skipped by rule

STSB_LAYOUT = "genre, file, year, id, score, sentence1, sentence2"


def _pair(raw: Raw, place: Place, first: object, second: object, label: float) -> Example:
    return Example((sentence(raw, place, first), sentence(raw, place, second)), label)


def read_stsb(raws: list[Raw], split: str) -> Read:
    """STS benchmark: no header, no quoting, score 0-5; some rows have two more columns (their sources)."""
    return [
        _pair(raw, line, cells[5], cells[6], score(raw, line, cells[4], 0, 5))
        for raw in raws
        for line, cells in raw.rows(7, STSB_LAYOUT)
    ], 0


def read_sbert_stsb(raws: list[Raw], split: str) -> Read:
    """sbert.net's stsbenchmark.tsv: all splits in one file with a header, score 0-5."""
    columns = ("split", "score", "sentence1", "sentence2")
    return [
        _pair(raw, line, first, second, score(raw, line, value, 0, 5))
        for raw in raws
        for line, (row_split, value, first, second) in raw.table(*columns)
        if row_split == split
    ], 0


def read_scored_table(raws: list[Raw], split: str) -> Read:
    """KorSTS and the samples: header with score 0-5, sentence1, sentence2 (KorSTS has four more columns)."""
    return [
        _pair(raw, line, first, second, score(raw, line, value, 0, 5))
        for raw in raws
        for line, (value, first, second) in raw.table("score", "sentence1", "sentence2")
    ], 0


def read_sick(raws: list[Raw], split: str) -> Read:
    """SICK relatedness 1-5: pair_ID, sentence_A, sentence_B, relatedness_score, entailment_judgment."""
    return [
        _pair(raw, line, first, second, score(raw, line, value, 1, 5))
        for raw in raws
        for line, (value, first, second) in raw.table("relatedness_score", "sentence_A", "sentence_B")
    ], 0


def read_klue_sts(raws: list[Raw], split: str) -> Read:
    """KLUE-STS: JSON list; the score is ``labels.label`` (0-5, rounded to 0.1, unlike ``real-label``)."""
    examples = []
    for raw in raws:
        for place, item in raw.items():
            value = score(raw, place, field(raw, place, item, "labels", "label"), 0, 5)
            first, second = (field(raw, place, item, name) for name in ("sentence1", "sentence2"))
            examples.append(_pair(raw, place, first, second, value))
    return examples, 0


def read_semeval_pasted(raws: list[Raw], split: str) -> Read:
    """SemEval, one file per sub-set: score 0-5 or empty (unscored: skipped), sentence1, sentence2."""
    examples, skipped = [], 0
    for raw in raws:
        for line, cells in raw.rows(3, "score, sentence1, sentence2"):
            if cells[0].strip():
                examples.append(_pair(raw, line, cells[1], cells[2], score(raw, line, cells[0], 0, 5)))
            else:
                skipped += 1
    return examples, skipped


def read_semeval_official(raws: list[Raw], split: str) -> Read:
    """SemEval as published: STS.input.X.txt (two sentences), STS.gs.X.txt (score 0-5 or empty), line by line.

    ``raws`` alternates input, gold. Some years have further columns after the sentences.
    """
    examples, skipped = [], 0
    for pairs, gold in zip(raws[::2], raws[1::2], strict=True):
        rows = list(pairs.rows(2, "sentence1, sentence2"))
        scores = [text.split("\t")[0].strip() for _, text in gold.lines(keep_trailing_blank=True)]
        while len(scores) > len(rows) and not scores[-1]:
            scores.pop()
        if len(scores) != len(rows):
            gold.fail(None, f"{len(scores)} scores for the {len(rows)} pairs of {pairs.where}")
        for (line, cells), value in zip(rows, scores, strict=True):
            if value:
                examples.append(_pair(pairs, line, cells[0], cells[1], score(gold, line, value, 0, 5)))
            else:
                skipped += 1
    return examples, skipped


def read_sts12_rebuilt(raws: list[Raw], split: str) -> Read:
    """STS12 without MSRvid: its 750 pairs are the stsb rows of file MSRvid, year 2012test, in all splits."""
    benchmark = [raw for raw in raws if raw.name.startswith("stsb/")]
    examples, skipped = read_semeval_pasted([raw for raw in raws if raw not in benchmark], split)
    for raw in benchmark:
        for line, cells in raw.rows(7, STSB_LAYOUT):
            if cells[1] == "MSRvid" and cells[2] == "2012test":
                examples.append(_pair(raw, line, cells[5], cells[6], score(raw, line, cells[4], 0, 5)))
    return examples, skipped
