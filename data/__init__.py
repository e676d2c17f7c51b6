"""Examples, readers, and the registry of data sets. Torch-free, and quick to import.

import data
test = data.load("stsb")                # the test split: SBERT_DATA, the cache, then the publisher
train = data.load("samples-nli-train")  # embedded, needs no network
data.triplets(train)                    # (premise, entailment, contradiction)
data.unlabeled(test)                    # its distinct texts, nothing else
data.load_retrieval("korquad")          # questions, passages, and which passage answers which question
"""

from data.examples import NLI_LABELS, DataError, DataSet, Example, UnknownName
from data.loading import load
from data.registry import SETS, names, overlap_warning, parse_name, split_for
from data.retrieval import (
    Passage,
    Question,
    RetrievalSet,
    load_retrieval,
    retrieval_names,
    retrieval_overlap,
    write_split,
)
from data.texts import unlabeled

__all__ = [
    "NLI_LABELS",
    "SETS",
    "DataError",
    "DataSet",
    "Example",
    "Passage",
    "Question",
    "RetrievalSet",
    "UnknownName",
    "load",
    "load_retrieval",
    "names",
    "overlap_warning",
    "parse_name",
    "retrieval_names",
    "retrieval_overlap",
    "split_for",
    "triplets",
    "unlabeled",
    "write_split",
]


def triplets(nli: DataSet) -> DataSet:
    """(premise, entailment, contradiction) of an NLI set, see ``data.readers.nli.triplets``."""
    from data.readers.nli import triplets as made_from

    return made_from(nli)
