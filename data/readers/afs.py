"""Reader of the Argument Facet Similarity corpus (Misra et al. 2016; SBERT paper, section 4.3).

One .csv a topic, ArgPairs_GC.csv (gun control), ArgPairs_GM.csv (gay marriage), ArgPairs_DP.csv (death penalty): a
header with regression_label (0 different to 5 the same, the mean of annotators), sentence_1, sentence_2, and columns
that are ignored. Rows without a label are skipped and counted. A line that is not UTF-8 is read as Windows-1252.
"""

from __future__ import annotations

from data.examples import Example
from data.readers.csv_table import csv_rows
from data.readers.text import Raw, score, sentence

COLUMNS = ("regression_label", "sentence_1", "sentence_2")


def read_afs(raws: list[Raw], split: str) -> tuple[list[Example], int]:
    """Pairs with a score scaled from 0..5 to 0..1."""
    examples, skipped = [], 0
    for raw in raws:
        for line, (label, first, second) in csv_rows(raw, *COLUMNS, fallback="cp1252"):
            if not label.strip():
                skipped += 1
                continue
            texts = (sentence(raw, line, first), sentence(raw, line, second))
            examples.append(Example(texts, score(raw, line, label, 0, 5)))
    return examples, skipped
