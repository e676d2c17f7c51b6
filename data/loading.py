"""From a name to a data set."""

from __future__ import annotations

import os

from data.entries import Entry
from data.examples import DataError, DataSet
from data.registry import SETS, format_of, parse_name, split_for


def load(
    name: str,
    split: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> DataSet:
    """One split of a registered set, or a user's own file.

    Args:
        name: a registered name (``stsb``), with or without a split (``stsb-dev``), or the path of a .tsv,
            .csv, .jsonl or .txt file, gzipped or not.
        split: train, dev, test or all; default: the one in the name, else the set's eval split. A local file
            has only "all".
        data_dir: folder with the publishers' files; default: the environment variable SBERT_DATA.
        cache_dir: where downloads go; default: SBERT_CACHE, else ~/.cache/sbert-from-scratch.
        download: whether what is in neither folder may be fetched from its publisher.

    Raises:
        UnknownName: the set is not registered. DataError: anything else, in one line.
    """
    stem, own = parse_name(name)
    if split is not None and own is not None and split != own:
        raise DataError(f"{name} names the split {own!r}, but {split!r} was asked for")
    if format_of(name):
        return _load_local(name)
    return load_entry(SETS[stem], split_for(name, split), data_dir, cache_dir, download)


def load_entry(
    entry: Entry,
    split: str,
    data_dir: str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
    download: bool,
) -> DataSet:
    """One split of what an entry describes, of whichever registry; the other arguments are those of ``load``."""
    import logging

    from data.locate import cache, choose, data_dirs
    from data.readers import READERS

    raws, reader = choose(entry, split, data_dirs(data_dir), cache(cache_dir), download)
    examples, skipped = READERS[reader](raws, split)
    if not examples:
        raise DataError(f"{entry.name}-{split}: no examples in {', '.join(raw.where for raw in raws)}")
    expected = entry.rows.get(split, len(examples))
    if len(examples) != expected:
        counts = (entry.name, split, len(examples), expected)
        logging.getLogger(__name__).warning("%s-%s: %d examples, the publisher's copy has %d", *counts)
    files = {raw.name: raw.sha256 for raw in raws}
    return DataSet(entry.name, split, entry.task, entry.language, examples, files, skipped)


def _load_local(name: str) -> DataSet:
    from pathlib import Path

    from data.locate import read_local
    from data.readers.own import read_own

    path = Path(name).expanduser()
    suffix = format_of(path.name)
    assert suffix is not None
    raw = read_local(path)
    task, examples, skipped = read_own(raw, suffix)
    if not examples:
        raise DataError(f"{path}: no examples")
    stem = path.name.removesuffix(".gz").removesuffix(suffix)
    return DataSet(stem, "all", task, "unknown", examples, {name: raw.sha256}, skipped)
