"""Reader of the Wikipedia sections triplets (Dor et al. 2018; SBERT paper, section 4.4), as sbert.net publishes them.

train.csv, validation.csv, test.csv: a header, then Sentence1 (anchor), Sentence2 (of the same section), Sentence3 (of
another section of the same article), and columns that are ignored.
"""

from __future__ import annotations

from data.examples import Example
from data.readers.csv_table import csv_rows
from data.readers.text import Raw, sentence

COLUMNS = ("Sentence1", "Sentence2", "Sentence3")


def read_wikisec(raws: list[Raw], split: str) -> tuple[list[Example], int]:
    """Triplets, row by row; a row without its three sentences is an error."""
    return [
        Example((sentence(raw, line, a), sentence(raw, line, p), sentence(raw, line, n)), None)
        for raw in raws
        for line, (a, p, n) in csv_rows(raw, *COLUMNS)
    ], 0
