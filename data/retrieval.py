"""Sets for retrieval: questions, the passages to search, and which passage answers which question. Torch-free.

import data
test = data.load_retrieval("korquad")             # the test split: SBERT_DATA, the cache, then the publisher
tiny = data.load_retrieval("samples-mrc-en-train")  # embedded, needs no network
mine = data.load_retrieval("folder/or.zip", "dev")  # BEIR layout; a .json is read as SQuAD layout

``passages`` is the whole pool that a split searches, whatever the split: all passages of the files it is read from.
Of SQuAD layout, paragraphs with the same text are one passage, whose id is a prefix of its text's sha256, the same in
every copy of a set; see ``data.readers.squad``. Documents of BEIR layout keep their ids and are never joined.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from data.entries import Archive, Entry, File
from data.examples import DataError, UnknownName
from data.registry import SPLITS, checked_split, stated_overlap
from data.sets_retrieval import ARTICLES, RETRIEVAL_SETS, SPLIT_SEED

if TYPE_CHECKING:
    from pathlib import Path

OWN = "a .json file of SQuAD layout, or of a folder or .zip of BEIR layout"


@dataclass(frozen=True, slots=True)
class Passage:
    """A text that can be found; ``title`` as published, "" where there is none."""

    id: str
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A query and, where the publisher has them, the distinct texts that answer it."""

    id: str
    text: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Contents:
    """What a reader finds in the files of one split; the fields are those of ``RetrievalSet``."""

    passages: list[Passage]
    questions: list[Question]
    relevant: dict[str, dict[str, int]]
    articles: tuple[str, ...] = ()
    skipped: int = 0
    titled: bool = False


@dataclass(frozen=True)
class RetrievalSet:
    """The questions of one split of one set, the pool that they search, and where they came from."""

    task: ClassVar[str] = "retrieval"

    name: str  # registry name, e.g. "korquad"; for a local file or folder its stem
    split: str  # "train" | "dev" | "test" | "all"
    language: str  # "en" | "ko" | "en+ko" | "unknown" (a local file)
    passages: list[Passage]  # the whole pool, in the publisher's order
    questions: list[Question]  # every one has a relevant passage
    relevant: dict[str, dict[str, int]]  # question id -> {passage id: grade > 0}
    files: dict[str, str]  # publisher's name, or a local file's path as given -> sha256, unpacked
    articles: tuple[str, ...] = ()  # titles of the articles that the questions were asked about, where known
    skipped: int = 0  # questions dropped by rule: marked as impossible, or judged without a relevant passage
    titled: bool = False  # whether a passage's title is part of what is searched (BEIR layout)

    def __len__(self) -> int:
        """Number of questions."""
        return len(self.questions)

    @property
    def key(self) -> str:
        """Prefix of the metrics of this set: ``korquad-test``; the bare name where the split is ``all``."""
        return self.name if self.split == "all" else f"{self.name}-{self.split}"

    @cached_property
    def texts(self) -> list[str]:
        """What is searched and trained on, one a passage: "title text" where ``titled``, else the text alone."""
        if not self.titled:
            return [passage.text for passage in self.passages]
        return [f"{passage.title} {passage.text}".strip() for passage in self.passages]

    @cached_property
    def split_passages(self) -> list[int]:
        """Positions in ``passages`` of those of this split's own articles; all, where articles are not known.

        Training and mining take negatives from these alone, so that no passage of a test article is seen.
        """
        own = set(self.articles)
        return [i for i, passage in enumerate(self.passages) if not own or passage.title in own]

    def questions_only(self, rows: Sequence[int]) -> RetrievalSet:
        """The same pool with the questions at these positions, in the order given."""
        questions = [self.questions[row] for row in rows]
        return replace(self, questions=questions, relevant={q.id: self.relevant[q.id] for q in questions})


def retrieval_names() -> tuple[str, ...]:
    """Registered names, in the registry's order."""
    return tuple(RETRIEVAL_SETS)


def parse_retrieval_name(name: str) -> tuple[str, str | None]:
    """(set, split): ``korquad-dev`` is ("korquad", "dev"), ``korquad`` is ("korquad", None).

    Raises UnknownName for a set that is not registered, DataError for a split that the set does not have.
    """
    if name in RETRIEVAL_SETS:
        return name, None
    stem, _, split = name.rpartition("-")
    if split in SPLITS and stem in RETRIEVAL_SETS:
        return stem, checked_split(RETRIEVAL_SETS[stem], split)
    raise UnknownName(name, RETRIEVAL_SETS, OWN)


def retrieval_split(name: str, split: str | None = None) -> tuple[str, str]:
    """(set, split) that load_retrieval would read of a registered set. Raises DataError where there is none such."""
    stem, own = parse_retrieval_name(name)
    if split is not None and own is not None and split != own:
        raise DataError(f"{name} names the split {own!r}, but {split!r} was asked for")
    entry = RETRIEVAL_SETS[stem]
    return stem, checked_split(entry, own or split or entry.eval_split)


def load_retrieval(
    name: str,
    split: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> RetrievalSet:
    """One split of a registered set, or a user's own file or folder.

    Args:
        name: a registered name (``korquad``), with or without a split (``korquad-dev``); or the path of a .json
            file of SQuAD layout, gzipped or not, or of a folder or .zip of BEIR layout.
        split: train, dev or test; default: the one in the name, else the set's eval split. An own .json has only
            "all", an own folder or .zip those of its ``qrels``, test by default.
        data_dir, cache_dir, download: as in ``data.load``.

    Raises:
        UnknownName: the set is not registered. DataError: anything else, in one line.
    """
    if is_own(name):
        return _load_own(name, split)
    stem, split = retrieval_split(name, split)
    entry = RETRIEVAL_SETS[stem]
    from data.locate import cache, choose, data_dirs
    from data.readers import RETRIEVAL_READERS

    raws, reader = choose(entry, split, data_dirs(data_dir), cache(cache_dir), download)
    contents = RETRIEVAL_READERS[reader](raws, split)
    if not contents.questions:
        raise DataError(f"{stem}-{split}: no questions in {', '.join(raw.where for raw in raws)}")
    _report_other_sizes(entry, split, contents)
    return _set(stem, split, entry.language, contents, {raw.name: raw.sha256 for raw in raws})


def _set(name: str, split: str, language: str, contents: Contents, files: dict[str, str]) -> RetrievalSet:
    found = contents.passages, contents.questions, contents.relevant
    rest = contents.articles, contents.skipped, contents.titled
    return RetrievalSet(name, split, language, *found, files, *rest)


def _report_other_sizes(entry: Entry, split: str, contents: Contents) -> None:
    """A warning where a copy that was accepted without its known hash has other sizes than the publisher's."""
    import logging

    for kind, known, found in (
        ("questions", entry.rows.get(split), len(contents.questions)),
        ("passages", entry.passages.get(split), len(contents.passages)),
    ):
        if known is not None and found != known:
            text = "%s-%s: %d %s, the publisher's copy has %d"
            logging.getLogger(__name__).warning(text, entry.name, split, found, kind, known)


def is_own(name: str) -> bool:
    """Whether a name is a path: by its ending, or because a folder lies there and no set is called so."""
    if name.removesuffix(".gz").endswith(".json") or name.endswith(".zip"):
        return True
    registered = name in RETRIEVAL_SETS or name.rpartition("-")[0] in RETRIEVAL_SETS
    return not registered and os.path.isdir(os.path.expanduser(name))


def _load_own(name: str, split: str | None) -> RetrievalSet:
    from pathlib import Path

    path = Path(name).expanduser()
    if not path.exists():
        raise DataError(f"{path}: cannot be read (No such file or directory)")
    squad = name.removesuffix(".gz").endswith(".json")
    allowed = ("all",) if squad else ("test", "dev", "train")
    split = split or allowed[0]
    if split not in allowed:
        raise DataError(f"{path} has no split {split!r}; allowed here: {', '.join(allowed)}")
    contents, files = _read_own_squad(name, path) if squad else _read_own_beir(name, path, split)
    if not contents.questions:
        raise DataError(f"{path}: no questions for the split {split}")
    stem = path.name.removesuffix(".gz").removesuffix(".json" if squad else ".zip")
    return _set(stem, split, "unknown", contents, files)


def load_corpus(path: str | os.PathLike[str], questions: Sequence[str]) -> RetrievalSet:
    """A person's own text: a .jsonl file, gzipped or not, of {"text", "id", "title"}, the last two if they like.

    A passage without an id is called by its line number. questions: the texts to search with; nothing is known to be
    relevant. Raises DataError naming the file and the line.
    """
    from pathlib import Path

    from data.locate import read_local
    from data.readers.text import field, identifier, sentence, sentence_or_blank, short

    raw = read_local(Path(path).expanduser())
    passages: dict[str, Passage] = {}
    for line, item in raw.objects():
        identity = identifier(raw, f"{line}: id", item.get("id", line))
        if identity in passages:
            raw.fail(line, f"id {short(identity)} stands in an earlier line; every passage needs its own")
        text = sentence(raw, f"{line}: text", field(raw, line, item, "text"))
        title = sentence_or_blank(raw, f"{line}: title", item.get("title") or "")
        passages[identity] = Passage(identity, text, title)
    if not passages:
        raw.fail(None, "no passages")
    asked = [Question(str(i), text) for i, text in enumerate(questions, start=1)]
    name = Path(path).name.removesuffix(".gz").removesuffix(".jsonl")
    found = list(passages.values()), asked, dict[str, dict[str, int]]()
    return RetrievalSet(name, "all", "unknown", *found, {str(path): raw.sha256}, titled=True)


def _read_own_squad(name: str, path: Path) -> tuple[Contents, dict[str, str]]:
    from data.locate import read_local
    from data.readers.squad import read_squad

    raw = read_local(path)
    return read_squad([raw], "all"), {name: raw.sha256}


def _read_own_beir(name: str, path: Path, split: str) -> tuple[Contents, dict[str, str]]:
    """A folder with corpus.jsonl, queries.jsonl and qrels/<split>.tsv, each gzipped or not; or a zip of one, not gzipped inside."""
    from data.locate import find, read
    from data.readers.beir import read_beir

    raws = []
    packed = None if path.is_dir() else Archive(path.name, ())
    for part in ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv"):
        file = File(part, archive=packed, member=part)
        place = path if packed else find(file, [path])
        if place is None:
            held = sorted(str(found.relative_to(path)) for found in path.rglob("*") if found.is_file())
            listed = ", ".join(held[:8]) + (", ..." if len(held) > 8 else "")
            raise DataError(f"{path}: no {part} or {part}.gz (BEIR layout); it holds {listed or 'nothing'}")
        raws.append(read(file, place))
    return read_beir(raws, split), {f"{name.rstrip('/')}/{raw.name}": raw.sha256 for raw in raws}


def write_split(path: str | os.PathLike[str], *sets: RetrievalSet) -> str:
    """Write which articles and question ids make up the splits of one set, as JSON; its sha256.

    sets: one or more splits of the same set. The same splits give the same bytes. ``seed`` is that of the split by
    article, null where the publisher's own splits are kept. ValueError where the sets do not belong together.
    """
    import hashlib
    import json

    from data.files import write_text_atomically

    if len({found.name for found in sets}) != 1 or len({found.split for found in sets}) != len(sets):
        keys = ", ".join(found.key for found in sets)
        raise ValueError(f"need one or more different splits of one set, got {keys or 'none'}")
    files = {name: sha256 for found in sets for name, sha256 in found.files.items()}
    content = {
        "set": sets[0].name,
        "seed": SPLIT_SEED if any(name in ARTICLES for name in files) else None,
        "files": files,
        "splits": {
            found.split: {"articles": list(found.articles), "questions": [q.id for q in found.questions]}
            for found in sets
        },
    }
    text = json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    write_text_atomically(path, text)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def retrieval_overlap(trained: Iterable[str], name: str) -> str | None:
    """One line saying what a set shares with the sets that a model was trained on, or None.

    A training name without a split means its train split; ``minilm`` stands for what the publisher of all-MiniLM-
    L6-v2 trained it on. Names of no retrieval set, and local files, are not judged.
    """
    if is_own(name):
        return None
    stem, own = parse_retrieval_name(name)
    split = own or RETRIEVAL_SETS[stem].eval_split
    shared = (_shared(other, RETRIEVAL_SETS[stem], split) for other in trained)
    found = list(dict.fromkeys(text for text in shared if text))
    return f"{stem}-{split} is not unseen: {'; '.join(found)}" if found else None


def _shared(trained: str, entry: Entry, split: str) -> str | None:
    """What an evaluated split shares with one trained set: itself, or an overlap that either of them states."""
    stem = next((name for name in (trained, trained.rpartition("-")[0]) if name in RETRIEVAL_SETS), None)
    if stem is None:
        return stated_overlap(entry, split, trained, "")
    other = RETRIEVAL_SETS[stem]
    own = parse_retrieval_name(trained)[1] or ("train" if "train" in other.splits else other.eval_split)
    if stem == entry.name and own == split:
        return f"{stem}-{split} was trained on"
    return stated_overlap(entry, split, stem, own) or stated_overlap(other, own, entry.name, split)
