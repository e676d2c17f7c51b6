"""What a name given by somebody stands for, whichever registry it is in: the kind of data, and the split. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping

from data.entries import Entry
from data.examples import UnknownName
from data.registry import ALIASES, SETS, checked_split, format_of, parse_name, split_for
from data.retrieval import OWN, is_own, parse_retrieval_name
from data.sets_retrieval import RETRIEVAL_SETS

PATHS = f"a .tsv, .csv, .jsonl or .txt file, or {OWN}"


def is_retrieval(name: str) -> bool:
    """Whether a name is a set for retrieval: a registered one, or a path of SQuAD or BEIR layout."""
    return not format_of(name) and (
        _stem(name, RETRIEVAL_SETS) is not None or (_stem(name, SETS) is None and is_own(name))
    )


def is_local(name: str) -> bool:
    """Whether a name is the path of somebody's own file or folder."""
    return bool(format_of(name)) or (is_retrieval(name) and _stem(name, RETRIEVAL_SETS) is None)


def task_of(name: str) -> str | None:
    """ "sts", "nli", "triplet", "parallel" or "retrieval"; None for a .tsv, .csv, .jsonl or .txt file, which tells when it is read.

    Raises UnknownName for a set that is not registered, DataError for a split that a set does not have.
    """
    if format_of(name):
        return None
    if is_retrieval(name):
        return "retrieval"
    return SETS[stem_of(name)].task


def stem_of(name: str) -> str:
    """The registered name without its split; a path as it is. Raises as task_of does."""
    if is_local(name):
        return name
    if is_retrieval(name):
        return parse_retrieval_name(name)[0]
    try:
        return parse_name(name)[0]
    except UnknownName:
        raise UnknownName(name, [*SETS, *ALIASES, *RETRIEVAL_SETS], PATHS) from None


def splits_of(name: str) -> tuple[str, ...]:
    """The splits of a registered set; none of a path."""
    if is_local(name):
        return ()
    return (RETRIEVAL_SETS if is_retrieval(name) else SETS)[stem_of(name)].splits


def split_of(name: str, wanted: str | None = None) -> str | None:
    """The split that a name stands for where ``wanted`` is asked of it; None: the only one, or the one a folder is
    scored on.

    Raises as task_of does, and DataError where the set lacks the wanted split.
    """
    stem_of(name)
    if not is_retrieval(name):
        return split_for(name, wanted)
    if is_local(name):
        squad = name.removesuffix(".gz").endswith(".json")
        return None if squad else wanted  # a file of SQuAD layout has no splits
    stem, own = parse_retrieval_name(name)
    entry = RETRIEVAL_SETS[stem]
    return own or checked_split(entry, wanted or entry.eval_split)


def key_of(name: str) -> str:
    """Prefix of the metrics of a registered set: ``stsb-test``."""
    split = split_of(name)
    return stem_of(name) if split in (None, "all") else f"{stem_of(name)}-{split}"


def _stem(name: str, known: Mapping[str, Entry]) -> str | None:
    return next((x for x in (name, name.rpartition("-")[0]) if x in known or ALIASES.get(x) in known), None)
