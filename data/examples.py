"""What every reader returns: examples, data sets, and the one kind of error.

Labels are scaled here and nowhere else: an STS score is a float in 0..1, an NLI label is the index of its
word in ``NLI_LABELS``, a triplet has no label, a document's relevance is a float >= 0, a margin any float.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

NLI_LABELS = ("contradiction", "entailment", "neutral")  # index = class id


class DataError(Exception):
    """One clear line that names the file, the line, the bad value and the allowed ones."""


class UnknownName(DataError):
    """A data set name that is not in the registry.

    ``suggestion`` is the closest known name or None; ``allowed`` are all known names;
    ``paths`` says which paths a name may also be.
    """

    def __init__(
        self, name: str, allowed: Iterable[str], paths: str = "a .tsv, .csv, .jsonl or .txt file"
    ) -> None:
        import difflib  # only needed when there is something to suggest

        self.name = name
        self.allowed = tuple(allowed)
        close = difflib.get_close_matches(name, self.allowed, n=1)
        self.suggestion = close[0] if close else None
        hint = f", did you mean {self.suggestion}?" if self.suggestion else "."
        super().__init__(
            f"unknown data set {name!r}{hint} Known (add -train, -dev or -test for a split): "
            f"{', '.join(self.allowed)}; or the path of {paths}"
        )


@dataclass(frozen=True, slots=True)
class Example:
    """One row, and how its texts and its label are laid out by the task of its set.

    ========  ============================  ===============================================================
    task      texts                         label
    ========  ============================  ===============================================================
    sts       sentence, sentence            0..1 (float)
    nli       premise, hypothesis           class id (int)
    triplet   anchor, positive, negative    None
    margin    anchor, positive, negative    a teacher's score(anchor, positive) - score(anchor, negative)
    parallel  sentence, its translation     None
    ranking   query, then its documents     relevance of each document, floats >= 0: len(texts) - 1 of them
    text      a text                        None
    ========  ============================  ===============================================================

    The transfer tasks (``data.senteval``, task classification) have one text, or two, and a class id (int).

    The documents of a ranking row may be any number. Where they are parts of longer passages, ``passages`` names the
    passage of each, and ``relevant`` all passages that answer the query, in this row or not. ``retrieved`` says how many of them, from the first, an earlier
    stage retrieved, in its order; those after are positives that it missed. None: the order means nothing.
    """

    texts: tuple[str, ...]
    label: float | int | tuple[float, ...] | None
    retrieved: int | None = None
    passages: tuple[str, ...] = ()
    relevant: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """The examples of one split of one set, and where they came from."""

    name: str  # registry name, e.g. "stsb"; for a local file its stem
    split: str  # "train" | "dev" | "test" | "all"
    task: str  # "sts" | "nli" | "triplet" | "margin" | "parallel" | "ranking" | "text" | "classification"
    language: str  # "en" | "ko" | "en+ko" | "unknown" (a local file)
    examples: list[Example]
    files: dict[str, str]  # publisher's name, or a local file's path as given -> sha256, unpacked
    skipped: int = 0  # rows dropped by rule: NLI gold label "-", unscored SemEval rows

    @property
    def key(self) -> str:
        """Prefix of the metrics of this set: ``stsb-test``; the bare name where the split is ``all``."""
        return self.name if self.split == "all" else f"{self.name}-{self.split}"

    def __len__(self) -> int:
        return len(self.examples)
