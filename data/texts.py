"""Sets without their labels: what a model can be adapted to where nobody has labelled anything. Torch-free."""

from __future__ import annotations

from data.examples import DataSet, Example
from data.retrieval import RetrievalSet


def unlabeled(dataset: DataSet | RetrievalSet) -> DataSet:
    """Every distinct text of a set once, in the order in which it first comes; its task is "text".

    Of a set for retrieval these are the passages that its split may see (``split_passages``) and never its questions; of
    any other set all columns: sentences, premises and hypotheses, both languages, queries and documents.
    """
    if isinstance(dataset, RetrievalSet):
        texts = [dataset.texts[i] for i in dataset.split_passages]
    else:
        texts = [text for example in dataset.examples for text in example.texts]
    examples = [Example((text,), None) for text in dict.fromkeys(texts) if text]
    return DataSet(dataset.name, dataset.split, "text", dataset.language, examples, dataset.files)
