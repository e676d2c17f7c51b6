"""The form in which the registry states what it knows about a set."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip or tar.gz of the publisher; members are read in place, nothing is unpacked to disk."""

    path: str  # where it lies, relative to the data dir
    urls: tuple[str, ...]  # tried in this order
    sha256: str | None = None  # of the archive itself, asked of a download; None = not known


@dataclass(frozen=True, slots=True)
class File:
    """One file of a set: plain, gzipped, or a member of an archive."""

    path: str  # relative to the data dir; ``path + ".gz"`` is looked for too
    sha256: str | None = (
        None  # of the unpacked bytes of the copy our figures were measured on; None = not known
    )
    urls: tuple[str, ...] = ()  # of the file itself, tried in this order
    archive: Archive | None = None
    member: str = ""  # the end of the member's name inside the archive; default: the last part of ``path``
    also: tuple[str, ...] = ()  # further places to look at, relative to the data dir
    embedded: bool = False  # part of this repository: relative to the ``data`` package, no look-up
    other_sha256: tuple[str, ...] = ()  # of further copies that yield the same set
    held_out: bool = False  # read only so that its texts can be left out of the split

    @property
    def member_name(self) -> str:
        """The archive member looked for: this name itself, or one that ends in ``/`` and this name."""
        return self.member or self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Layout:
    """One form in which a set is published: who reads it, and which files each split needs, in order."""

    reader: str  # a key of ``data.readers.READERS``
    splits: dict[str, tuple[File, ...]]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Something one set shares with another; stated with one of the two, it holds in both directions."""

    other: str  # "set" or "set-split"; "minilm" for the training data of all-MiniLM-L6-v2
    text: str
    split: str = ""  # the split of this set that is concerned; "" = all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """All facts about one set. ``layouts`` are looked for in their order."""

    name: str
    task: str  # "sts" | "nli" | "triplet" | "parallel" | "retrieval" | "classification"
    language: str  # "en" | "ko" | "en+ko"
    description: str
    layouts: tuple[Layout, ...]
    eval_split: str  # the split loaded when none is asked for
    licence: str
    citation: str
    rows: dict[str, int] = field(
        default_factory=dict
    )  # examples (retrieval: questions) per split after the reader's rules, where known
    passages: dict[str, int] = field(default_factory=dict)  # retrieval: passages each split searches
    sources: str = ""  # how to get a set that has no single address
    overlaps: tuple[Overlap, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of this set, in the order train, dev, test, all."""
        known = {split for layout in self.layouts for split in layout.splits}
        return tuple(split for split in ("train", "dev", "test", "all") if split in known)


def one_file_each(reader: str, files: dict[str, File]) -> Layout:
    """A layout with one file per split."""
    return Layout(reader, {split: (file,) for split, file in files.items()})
