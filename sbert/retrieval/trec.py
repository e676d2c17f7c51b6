"""TREC run files: what a system found for each question, one line a passage, as trec_eval and everybody else reads them.

    question-id Q0 passage-id rank score tag

    write_run("bm25.run", question_ids, passage_ids, ranking, tag="bm25")
    ranking = to_ranking(read_run("bm25.run"), question_ids, passage_ids)  # the same ids, order and scores

Ranks count from 1. Scores are written with all their digits, so two that differ stay different. Torch-free.
"""

import gzip
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from data.files import write_text_atomically
from sbert.errors import RunError
from sbert.retrieval.search import Ranking

Run = dict[str, list[tuple[str, float]]]  # question id -> (passage id, score), best first

COLUMNS = "question-id Q0 passage-id rank score tag"


def write_run(
    path: str | os.PathLike[str],
    question_ids: Sequence[str],
    passage_ids: Sequence[str],
    ranking: Ranking,
    tag: str,
) -> None:
    """Write the ranking of each question. A question whose list is empty has no line.

    question_ids: one for each list of ``ranking``. passage_ids: of the whole corpus, by position. tag: the system's
    name, of one word.
    Raises ValueError where the lists do not belong together, scores rise or are not finite (a reader sorts by score,
    so the order would be lost), RunError where an id holds blanks or the file cannot be written.
    """
    if len(question_ids) != len(ranking):
        raise ValueError(f"{len(question_ids)} question ids for the rankings of {len(ranking)} questions")
    questions, passages = (
        [_one_word(path, x) for x in question_ids],
        [_one_word(path, x) for x in passage_ids],
    )
    _one_word(path, tag)
    lines = []
    for question, ids, scores in zip(questions, ranking.ids, ranking.scores, strict=True):
        values = np.asarray(scores, dtype=np.float64)
        if len(ids) != len(values) or not np.isfinite(values).all() or (values[1:] > values[:-1]).any():
            raise ValueError(f"question {question}: {len(ids)} passages need as many finite, falling scores")
        lines += [
            f"{question} Q0 {passages[i]} {rank} {score!r} {tag}\n"
            for rank, (i, score) in enumerate(zip(ids, values.tolist(), strict=True), start=1)
        ]
    try:
        write_text_atomically(path, "".join(lines))
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None


def read_run(path: str | os.PathLike[str]) -> Run:
    """question id -> its (passage id, score), best first: by score, of equal scores by the file's rank.

    Questions stand in the order of their first lines, which may be scattered. A name that ends in .gz is unpacked;
    blank lines are skipped. Raises RunError, naming the file and the line, for one that is not of the six columns,
    a rank that is not a whole number, a score that is not a finite one, and a passage that its question has already.
    """
    rows: dict[str, dict[str, tuple[float, int]]] = {}
    for number, line in _lines(Path(path)):
        columns = line.split()
        if not columns:
            continue
        where = f"{path}:{number}"
        if len(columns) != 6:
            raise RunError(f"{where}: {len(columns)} columns, expected 6: {COLUMNS}")
        question, _, passage, rank, score, _ = columns
        found = rows.setdefault(question, {})
        if passage in found:
            raise RunError(f"{where}: question {question} has passage {passage} already")
        found[passage] = _score(where, score), _rank(where, rank)
    return {
        question: [
            (passage, score)
            for passage, (score, _) in sorted(found.items(), key=lambda item: (-item[1][0], item[1][1]))
        ]
        for question, found in rows.items()
    }


def to_ranking(
    run: Mapping[str, Sequence[tuple[str, float]]], question_ids: Sequence[str], passage_ids: Sequence[str]
) -> Ranking:
    """The lists of these questions, in this order, with passages by position; an empty one where ``run`` has none.

    Scores are fp64. Raises RunError naming a passage that is not in ``passage_ids``. Questions of ``run`` that are not
    asked for are left out.
    """
    position = {passage: i for i, passage in enumerate(passage_ids)}
    ranking = Ranking([], [])
    for question in question_ids:
        row = run.get(question, ())
        unknown = next((passage for passage, _ in row if passage not in position), None)
        if unknown is not None:
            raise RunError(
                f"question {question}: passage {unknown} is not one of the {len(position):,} of the corpus"
            )
        ranking.ids.append([position[passage] for passage, _ in row])
        ranking.scores.append(np.array([score for _, score in row], dtype=np.float64))
    return ranking


def _one_word(path: str | os.PathLike[str], name: str) -> str:
    if name.split() != [name]:
        raise RunError(f"{path}: {name!r} is empty or holds blanks, which a run file cannot keep")
    return name


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a file, unpacked. Raises RunError when it cannot be read."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise RunError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    return enumerate(text.split("\n"), start=1)


def _rank(where: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise RunError(f"{where}: rank {text!r} is not a whole number") from None


def _score(where: str, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise RunError(f"{where}: score {text!r} is not a finite number")
    return score
