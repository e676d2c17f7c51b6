"""Every set by name, and the names themselves. Torch-free and quick to import: nothing is read here.

``SETS`` maps a name to its ``Entry``: task, language, files with publisher, address and sha256, licence, row
counts, citation, overlaps. The entries stand in ``sets_sts``, ``sets_nli``, ``sets_parallel`` and ``sets_paper``.
"""

from __future__ import annotations

from collections.abc import Iterable

from data.entries import Entry, File, Layout
from data.examples import DataError, UnknownName
from data.sets_nli import NLI_ENTRIES
from data.sets_paper import PAPER_ENTRIES
from data.sets_parallel import PARALLEL_ENTRIES
from data.sets_sts import STS_ENTRIES

SPLITS = ("train", "dev", "test", "all")
LOCAL_SUFFIXES = (
    ".tsv",
    ".csv",
    ".jsonl",
    ".txt",
)  # a name that ends so, or so and .gz, is the path of a user's own file


def _sample_entry(task: str, language: str) -> Entry:
    """The embedded samples of one task in one language, or in both (English first)."""
    languages = language.split("+")
    return Entry(
        name=f"samples-{task}" + (f"-{language}" if len(languages) == 1 else ""),
        task=task,
        language=language,
        description=f"Small {task.upper()} set written for this project ({' and '.join(languages)})",
        layouts=(
            Layout(
                "scored-table" if task == "sts" else "labelled-table",
                {
                    split: tuple(
                        File(f"samples/{task}/{lang}-{split}.tsv", embedded=True) for lang in languages
                    )
                    for split in ("train", "dev", "test")
                },
            ),
        ),
        eval_split="test",
        licence="CC0 1.0",
        citation="this project",
    )


_SAMPLES = tuple(
    _sample_entry(task, language) for task in ("sts", "nli") for language in ("en+ko", "en", "ko")
)
ALIASES = {"samples": "samples-sts"}
SETS: dict[str, Entry] = {
    entry.name: entry for entry in (*_SAMPLES, *STS_ENTRIES, *NLI_ENTRIES, *PARALLEL_ENTRIES, *PAPER_ENTRIES)
}


def format_of(name: str) -> str | None:
    """``.tsv``, ``.csv``, ``.jsonl`` or ``.txt`` where a name is the path of such a file (gzipped or not), or None."""
    plain = name.removesuffix(".gz")
    return next((suffix for suffix in LOCAL_SUFFIXES if plain.endswith(suffix)), None)


def names(task: str | None = None) -> list[str]:
    """Registered names: all, or those of one task (``sts``, ``nli``, ``triplet``, ``parallel``)."""
    return [name for name, entry in SETS.items() if task in (None, entry.task)]


def parse_name(name: str) -> tuple[str, str | None]:
    """(set, split): ``stsb-dev`` is ("stsb", "dev"), ``stsb`` is ("stsb", None), a local file (name, "all").

    Raises UnknownName for a set that is not registered, DataError for a split that the set does not have.
    """
    if format_of(name):
        return name, "all"
    if name in ALIASES or name in SETS:
        return ALIASES.get(name, name), None
    stem, _, split = name.rpartition("-")
    stem = ALIASES.get(stem, stem)
    if split in SPLITS and stem in SETS:
        return stem, checked_split(SETS[stem], split)
    raise UnknownName(name, [*SETS, *ALIASES])


def split_for(name: str, wanted: str | None = None) -> str:
    """The split that ``name`` stands for where ``wanted`` is asked of it.

    A split inside the name wins (``stsb-dev`` stays dev); a local file is ``all``; None wants the set's eval
    split. Raises DataError naming the splits there are when the set lacks the wanted one.
    """
    stem, own = parse_name(name)
    if own:
        return own
    return checked_split(SETS[stem], wanted or SETS[stem].eval_split)


def checked_split(entry: Entry, split: str) -> str:
    """``split``; DataError naming the splits there are where the set has no such one."""
    if split not in entry.splits:
        raise DataError(f"{entry.name} has no split {split!r}; it has: {', '.join(entry.splits)}")
    return split


def overlap_warning(train_names: Iterable[str], eval_name: str) -> str | None:
    """One line saying what an evaluated set shares with the sets a model was trained on, or None.

    A training name without a split means its train split; ``minilm`` stands for what the publisher of all-
    MiniLM-L6-v2 trained it on. Local files are not judged.
    """
    if format_of(eval_name):
        return None
    stem, own = parse_name(eval_name)
    split = own or SETS[stem].eval_split
    found: list[str] = []
    for name in train_names:
        shared = None if format_of(name) else _shared(name, stem, split)
        if shared and shared not in found:
            found.append(shared)
    if not found:
        return None
    return f"{_key(stem, split)} is not unseen: {'; '.join(found)}"


def _key(stem: str, split: str) -> str:
    return stem if split == "all" else f"{stem}-{split}"


def _shared(trained: str, stem: str, split: str) -> str | None:
    """What the evaluated split shares with one trained set: a stated overlap, or rows of the same file."""
    entry = SETS[stem]
    if trained == "minilm":
        return stated_overlap(entry, split, trained, "")
    other, own = parse_name(trained)
    if own is None:
        own = "train" if "train" in SETS[other].splits else SETS[other].eval_split
    if other == stem:
        return f"{_key(other, own)} was trained on" if own == split else None
    stated = stated_overlap(entry, split, other, own) or stated_overlap(SETS[other], own, stem, split)
    if stated:
        return stated
    same = _paths(SETS[other], own) & _paths(entry, split)
    return f"{_key(other, own)} was trained on and reads the same file, {min(same)}" if same else None


def stated_overlap(entry: Entry, split: str, other: str, other_split: str) -> str | None:
    """The overlap that the entry of one split states with another set's split."""
    for overlap in entry.overlaps:
        if overlap.split in ("", split) and overlap.other in (other, f"{other}-{other_split}"):
            return overlap.text
    return None


def _paths(entry: Entry, split: str) -> set[str]:
    return {
        file.path for layout in entry.layouts for file in layout.splits.get(split, ()) if not file.held_out
    }
