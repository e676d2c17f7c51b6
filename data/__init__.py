"""Examples, readers, and the registry of data sets. Torch-free, and quick to import.

import data
test = data.load("stsb")                # the test split: SBERT_DATA, the cache, then the publisher
train = data.load("samples-nli-train")  # embedded, needs no network
data.triplets(train)                    # (premise, entailment, contradiction)
"""

from data.examples import NLI_LABELS, DataError, DataSet, Example, UnknownName
from data.loading import load
from data.registry import SETS, names, overlap_warning, parse_name, split_for

__all__ = [
    "NLI_LABELS",
    "SETS",
    "DataError",
    "DataSet",
    "Example",
    "UnknownName",
    "load",
    "names",
    "overlap_warning",
    "parse_name",
    "split_for",
    "triplets",
]


def triplets(nli: DataSet) -> DataSet:
    """(premise, entailment, contradiction) of an NLI set, see ``data.readers.nli.triplets``."""
    from data.readers.nli import triplets as made_from

    return made_from(nli)
