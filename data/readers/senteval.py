"""Readers of the transfer tasks of SentEval: a sentence, or of MRPC a pair, with a class id."""

from __future__ import annotations

from dataclasses import replace

from data.examples import Example
from data.readers.text import Place, Raw, sentence, sentence_or_blank, short

Read = tuple[list[Example], int]  # the examples, and how many rows were skipped by rule: none


def read_binary(raws: list[Raw], split: str) -> Read:
    """SST-2: ``label sentence`` a line, label 0 or 1, UTF-8."""
    return _labelled_lines(raws, 2), 0


def read_binary_with_blanks(raws: list[Raw], split: str) -> Read:
    """CR and MPQA: as above; their publisher's files hold rows without a text, which the usual counts include."""
    return _labelled_lines(raws, 2, blanks=True), 0


def read_binary_latin1(raws: list[Raw], split: str) -> Read:
    """MR and SUBJ: as ``read_binary``, in Latin-1."""
    return _labelled_lines([_to_utf8(raw) for raw in raws], 2), 0


def read_trec(raws: list[Raw], split: str) -> Read:
    """TREC: ``label question`` a line, Latin-1; description, entity, abbreviation, human, location, number: 0-5."""
    return _labelled_lines([_to_utf8(raw) for raw in raws], 6), 0


def read_mrpc(raws: list[Raw], split: str) -> Read:
    """MRPC: tab-separated without quoting, header with Quality (1: paraphrases), #1 String, #2 String."""
    examples = []
    for raw in raws:
        for line, (label, first, second) in raw.table("Quality", "#1 String", "#2 String"):
            texts = (sentence(raw, line, first), sentence(raw, line, second))
            examples.append(Example(texts, _class_id(raw, line, label, 2)))
    return examples, 0


def _labelled_lines(raws: list[Raw], classes: int, *, blanks: bool = False) -> list[Example]:
    """Lines of a class id, one blank, and the text. blanks: a text of nothing is allowed, and is ""."""
    examples = []
    read = sentence_or_blank if blanks else sentence
    for raw in raws:
        for line, row in raw.lines():
            word, blank, text = row.partition(" ")
            label = _class_id(raw, line, word, classes)
            if not blank:
                raw.fail(line, f"{short(row)}: no blank and sentence after the label")
            examples.append(Example((read(raw, line, text),), label))
    return examples


def _class_id(raw: Raw, place: Place, word: str, classes: int) -> int:
    allowed = [str(label) for label in range(classes)]
    if word not in allowed:
        raw.fail(place, f"label {short(word)} is not one of {', '.join(allowed)}")
    return int(word)


def _to_utf8(raw: Raw) -> Raw:
    """The same file in UTF-8: every byte is a character of Latin-1, so lines keep their numbers and nothing fails."""
    return replace(raw, content=raw.content.decode("latin-1").encode("utf-8"))
