"""What is analysed: the questions of a set, and where each run ranks the passage that answers each of them.

Shape letters: Q questions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data.files import sha256_of
from sbert.errors import RunError, UsageError
from sbert.evaluation.retrieval import per_question
from sbert.retrieval.trec import Run as Lines
from sbert.retrieval.trec import read_run, to_ranking

if TYPE_CHECKING:
    from data import RetrievalSet

NOT_FOUND = 1_000_000_000  # the rank of a passage that is not in the list: below all that are
KS = (1, 5, 10, 20, 100)
DEEP = 10  # ranks that MRR@10 and R@10 look at
MOST_SILENT = 0.05  # a run without lines for more questions than this share was made for a sample of them
METRICS = {**{f"R@{k}": f"recall@{k}" for k in KS}, "MRR@10": "mrr@10", "nDCG@10": "ndcg@10"}
# words in the name of a run that tell its role, where no flag does; a re-ranked run can hold the others' words too
ROLE_WORDS = {
    "reranked": ("rerank",),
    "fused": ("hybrid", "fus", "blend", "convex", "rrf"),
    "sparse": ("bm25", "sparse"),
    "dense": ("dense", "minilm", "bi"),
}


@dataclass(frozen=True)
class System:
    """One run. ``covered`` (Q,): the questions that it was made for; the other arrays mean nothing elsewhere."""

    name: str
    path: str
    sha256: str
    ids: list[list[int]]  # per question, positions of passages, best first
    covered: np.ndarray  # (Q,) bool
    rank: np.ndarray  # (Q,) int, of the first relevant passage, from 1; or NOT_FOUND
    metrics: dict[str, np.ndarray]  # "MRR@10" -> (Q,)

    @property
    def depth(self) -> int:
        """The length of the longest list."""
        return max(map(len, self.ids), default=0)


@dataclass(frozen=True)
class Roles:
    """Names of the runs that the claims are about. ``first_stage``: what was re-ranked."""

    sparse: str
    dense: str
    fused: str | None
    reranked: str | None
    first_stage: str | None


@dataclass(frozen=True)
class Study:
    """The data set, cut to the questions that were searched, and the runs, in the order given."""

    dataset: RetrievalSet
    systems: dict[str, System]
    roles: Roles
    notes: list[str]  # what a reader has to know about the input

    def __len__(self) -> int:
        return len(self.dataset.questions)

    def both(self, *names: str) -> np.ndarray:
        """(Q,) bool: questions that all of these runs were made for."""
        return np.logical_and.reduce([self.systems[name].covered for name in names])

    def article(self) -> list[str] | None:
        """Of each question the title of its (first) relevant passage's article; None where titles are not known."""
        if not self.dataset.articles:
            return None
        title = {passage.id: passage.title for passage in self.dataset.passages}
        return [title[next(iter(self.dataset.relevant[q.id]))] for q in self.dataset.questions]


def load_study(
    dataset: RetrievalSet,
    runs: Mapping[str, Path],
    given: Mapping[str, str | None],
    partial: Sequence[str],
    complete: Sequence[str] = (),
) -> Study:
    """runs: name -> file. given: role -> the name of its run, None to go by the names. partial: runs of a sample.
    complete: runs of all questions, however many they found nothing for.

    Raises UsageError where the roles are not clear, RunError for a file that does not fit the data.
    """
    roles = find_roles(list(runs), given)
    for flag, names in (("partial", partial), ("complete", complete)):
        unknown = sorted(set(names) - set(runs))
        if unknown:
            raise UsageError(f"--{flag} {unknown[0]}: no such run; there are {', '.join(runs)}")
    if both := sorted({*partial} & {*complete}):
        raise UsageError(f"{both[0]} is either --partial or --complete")
    lines = {name: read_run(path) for name, path in runs.items()}
    ids = {question.id for question in dataset.questions}
    for name, path in runs.items():
        stray = next((question for question in lines[name] if question not in ids), None)
        if stray is not None:
            raise RunError(f"{path}: question {stray} is not one of the {len(ids):,} of {dataset.key}")
    asked = [
        i for i, question in enumerate(dataset.questions) if any(question.id in run for run in lines.values())
    ]
    if not asked:
        raise RunError(f"{next(iter(runs.values()))}: no lines at all")
    notes = []
    if len(asked) < len(ids):
        notes.append(
            f"{len(ids) - len(asked):,} of the {len(ids):,} questions are in no run and are left out."
        )
    dataset = dataset.questions_only(asked)
    systems = {}
    for name, path in runs.items():
        sampled = True if name in partial else False if name in complete else None
        covered = _covered(dataset, name, path, lines[name], sampled, notes)
        systems[name] = _system(dataset, name, path, lines[name], covered)
        if systems[name].depth < min(DEEP, len(dataset.passages)):
            notes.append(
                f"the lists of {name} end at rank {systems[name].depth}: what stands below counts as missed."
            )
    several = int(np.median([sum(g > 0 for g in dataset.relevant[q.id].values()) for q in dataset.questions]))
    if several > 1:
        notes.append(
            f"half of the questions have {several} or more relevant passages: their overlap is that of one of the best grade "
            "that shares most, so it grows with their number, and splits by overlap are partly splits by it."
        )
    return Study(dataset, systems, roles, notes)


def find_roles(names: Sequence[str], given: Mapping[str, str | None]) -> Roles:
    """The run of each role: the one given, else the first whose name holds a word of the role."""
    for role, name in given.items():
        if name is not None and name not in names:
            raise UsageError(f"--{role.replace('_', '-')} {name}: no such run; there are {', '.join(names)}")
    found: dict[str, str | None] = {}
    for role, words in ROLE_WORDS.items():
        taken = set(found.values()) | {name for other, name in given.items() if other != "first_stage"}
        by_name = (
            name for name in names if name not in taken and any(word in name.lower() for word in words)
        )
        found[role] = given.get(role) or next(by_name, None)
    sparse, dense = found["sparse"], found["dense"]
    for role, name in (("sparse", sparse), ("dense", dense)):
        if name is None:
            raise UsageError(f"which run is the {role} one? Say --{role} NAME; there are {', '.join(names)}")
    assert sparse is not None and dense is not None
    if sparse == dense:
        raise UsageError(f"--sparse and --dense are the same run, {sparse}")
    # retrieve writes "hybrid+rerank.run": what stands before the plus is what was re-ordered
    before, plus, _ = (found["reranked"] or "").partition("+")
    named = next((name for name in names if plus and name == before.strip()), None)
    first = given.get("first_stage") or named or found["fused"] or sparse
    return Roles(sparse, dense, found["fused"], found["reranked"], first if found["reranked"] else None)


def _covered(
    dataset: RetrievalSet, name: str, path: Path, lines: Lines, sampled: bool | None, notes: list[str]
) -> np.ndarray:
    """(Q,) bool. A question without a line is one where nothing was found, unless the run was made for a sample of them
    (``sampled``; None: not said)."""
    has = np.array([question.id in lines for question in dataset.questions])
    silent = int((~has).sum())
    if not silent:
        return has
    first = dataset.questions[int(has.argmin())].id
    if sampled:
        notes.append(
            f"{name} was made for {has.sum():,} of the {len(has):,} questions and is compared on those."
        )
        return has
    if sampled is None and silent > MOST_SILENT * len(has):
        raise RunError(
            f"{path}: no line for {silent:,} of {len(has):,} questions, {first} the first; "
            f"say --complete {name} if nothing was found for them, --partial {name} if it was made for a sample"
        )
    notes.append(
        f"{name} has no line for {silent:,} of {len(has):,} questions ({first} the first): counted as missed."
    )
    return np.ones(len(has), dtype=bool)


def _system(dataset: RetrievalSet, name: str, path: Path, lines: Lines, covered: np.ndarray) -> System:
    passage_ids = [passage.id for passage in dataset.passages]
    try:
        ranking = to_ranking(lines, [question.id for question in dataset.questions], passage_ids)
    except RunError as error:
        raise RunError(f"{path}: {error}") from None
    position = {x: i for i, x in enumerate(passage_ids)}
    relevant = [
        {position[x]: float(grade) for x, grade in dataset.relevant[q.id].items()} for q in dataset.questions
    ]
    rank = np.array(
        [
            next((r for r, x in enumerate(ids, start=1) if grades.get(x, 0) > 0), NOT_FOUND)
            for ids, grades in zip(ranking.ids, relevant, strict=True)
        ]
    )
    values = per_question(ranking.ids, relevant, KS)
    metrics = {short: values[long] for short, long in METRICS.items()}
    return System(name, str(path), sha256_of(path), ranking.ids, covered, rank, metrics)
