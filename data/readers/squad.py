"""Reader of SQuAD layout: SQuAD 1.1 and 2.0, KorQuAD 1.0, KLUE-MRC, TyDiQA-GoldP, the samples, a user's own .json.

{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text"}]}]}]}]}

Further fields are ignored (``answer_start`` among them). ``guid`` may stand for ``id`` (KLUE-MRC); ``title`` may be
missing or null, ``qas`` and ``answers`` missing; a blank answer is none (a copy of TyDiQA's dev set has only such).
A question whose ``is_impossible`` is true is skipped and counted: its paragraph does not answer it. Paragraphs with
the same text (without the blanks around it) are one passage, with the title and the place of the first; its id is the
start of the sha256 of its text, so it does not depend on the order of a copy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from data.readers.text import Place, Raw, field, identifier, sentence, sentence_or_blank, short
from data.retrieval import Contents, Passage, Question
from data.sets_retrieval import ARTICLES, SPLIT_SEED

ID_DIGITS = 16  # 64 bits: two of a million passages share an id once in 37 million sets


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph, its article's title, and its questions but for ``skipped`` impossible ones."""

    title: str
    text: str
    questions: list[Question]
    skipped: int


# (file, place, published id, place of each id in use) -> the id to use, None for a question of another set
Naming = Callable[[Raw, Place, str, dict[str, str]], str | None]


def read_squad(raws: list[Raw], split: str) -> Contents:
    """Articles in the file's order."""
    return _gather([(raw, list(_paragraphs(raw, seen, _as_given))) for raw, seen in _each(raws)], split)


def read_squad_by_title(raws: list[Raw], split: str) -> Contents:
    """Articles in title order, so that copies of a file with its articles in any order yield the same set."""
    found = [(raw, list(_paragraphs(raw, seen, _as_given))) for raw, seen in _each(raws)]
    return _gather([(raw, sorted(paragraphs, key=lambda p: p.title)) for raw, paragraphs in found], split)


def read_tydiqa_korean(raws: list[Raw], split: str) -> Contents:
    """TyDiQA-GoldP: questions of other languages and their paragraphs left out, recurring ids numbered."""
    return _gather([(raw, list(_paragraphs(raw, seen, _korean))) for raw, seen in _each(raws)], split)


def split_articles(
    titles: Iterable[str], shares: dict[str, int], seed: int = SPLIT_SEED
) -> dict[str, list[str]]:
    """Titles of each split: shuffled with ``seed``, then cut in the proportions of ``shares``.

    The shuffle is the order of sha256("seed/title"), which depends neither on the order of the articles nor on the
    version of a random generator. Articles of the same title stay together.
    """
    order = sorted(set(titles), key=lambda title: hashlib.sha256(f"{seed}/{title}".encode()).digest())
    total, start, splits = sum(shares.values()), 0, {}
    end = 0
    for split, share in shares.items():
        end += share
        stop = len(order) * end // total
        splits[split] = order[start:stop]
        start = stop
    return splits


def passage_id(text: str) -> str:
    """The start of the sha256 of a passage's text."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:ID_DIGITS]


def _each(raws: list[Raw]) -> Iterator[tuple[Raw, dict[str, str]]]:
    """The files of a split with the ids in use, which they share."""
    seen: dict[str, str] = {}
    return ((raw, seen) for raw in raws)


def _gather(found: list[tuple[Raw, list[Paragraph]]], split: str) -> Contents:
    """All passages, and the questions of the articles that belong to ``split``."""
    passages: dict[str, Passage] = {}
    questions: list[Question] = []
    relevant: dict[str, dict[str, int]] = {}
    articles: dict[str, None] = {}
    skipped = 0
    for raw, paragraphs in found:
        wanted = _wanted(raw, paragraphs, split)
        for paragraph in paragraphs:
            new = Passage(passage_id(paragraph.text), paragraph.text, paragraph.title)
            passage = passages.setdefault(paragraph.text, new)
            if paragraph.title not in wanted:
                continue
            articles[paragraph.title] = None
            skipped += paragraph.skipped
            questions += paragraph.questions
            relevant |= {question.id: {passage.id: 1} for question in paragraph.questions}
    titles = tuple(title for title in articles if title)
    return Contents(list(passages.values()), questions, relevant, titles, skipped)


def _wanted(raw: Raw, paragraphs: list[Paragraph], split: str) -> set[str]:
    """Titles of the articles of a file that belong to ``split``: all, where the file is not split by article."""
    titles = {paragraph.title for paragraph in paragraphs}
    shares = ARTICLES.get(raw.name)
    return set(split_articles(titles, shares)[split]) if shares and split != "all" else titles


def _paragraphs(raw: Raw, seen: dict[str, str], naming: Naming) -> Iterator[Paragraph]:
    """The paragraphs of one file. Raises DataError that names the place, as in ``data[3].paragraphs[0]``."""
    whole = raw.json()
    if not isinstance(whole, dict):
        raw.fail(None, f"{short(whole)} is not a JSON object with the field data (SQuAD layout)")
    for place, article in _objects(raw, "", whole, "data"):
        title = sentence_or_blank(
            raw, f"{place}.title", "" if article.get("title") is None else article["title"]
        )
        for spot, paragraph in _objects(raw, f"{place}.", article, "paragraphs"):
            text = sentence(raw, f"{spot}.context", field(raw, spot, paragraph, "context"))
            asked = list(_objects(raw, f"{spot}.", paragraph, "qas")) if "qas" in paragraph else []
            questions, skipped, foreign = [], 0, 0
            for where, item in asked:
                identity = _identity(raw, where, item, seen, naming)
                if identity is None:
                    foreign += 1
                elif _impossible(raw, where, item):
                    skipped += 1
                else:
                    questions.append(_question(raw, where, item, identity))
            if not asked or foreign < len(asked):
                yield Paragraph(title, text, questions, skipped)


def _objects(raw: Raw, prefix: str, item: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a list field, each with its place."""
    values = field(raw, prefix.removesuffix(".") or None, item, name)
    if not isinstance(values, list):
        raw.fail(f"{prefix}{name}", f"{short(values)} is not a list")
    for number, value in enumerate(values):
        place = f"{prefix}{name}[{number}]"
        if not isinstance(value, dict):
            raw.fail(place, f"{short(value)} is not a JSON object")
        yield place, value


def _identity(raw: Raw, place: str, item: dict[str, Any], seen: dict[str, str], naming: Naming) -> str | None:
    """The question's id, entered into ``seen``; None for a question of another set."""
    name = "id" if "id" in item or "guid" not in item else "guid"
    given = identifier(raw, f"{place}.{name}", field(raw, place, item, name))
    identity = naming(raw, f"{place}.{name}", given, seen)
    if identity is not None:
        seen[identity] = f"{raw.where}:{place}"
    return identity


def _as_given(raw: Raw, place: Place, given: str, seen: dict[str, str]) -> str:
    if given in seen:
        raw.fail(place, f"id {short(given)} is that of {seen[given]} already; every question needs its own")
    return given


def _korean(raw: Raw, place: Place, given: str, seen: dict[str, str]) -> str | None:
    """Ids are ``korean-<number>-<number>``; a copy of the train set has only the last part, which recurs."""
    if "-" in given and not given.startswith("korean-"):
        return None
    number, identity = 1, given
    while identity in seen:
        number += 1
        identity = f"{given}#{number}"
    return identity


def _impossible(raw: Raw, place: str, item: dict[str, Any]) -> bool:
    value = item.get("is_impossible", False)
    if not isinstance(value, bool):
        raw.fail(f"{place}.is_impossible", f"{short(value)} is not true or false")
    return value


def _question(raw: Raw, place: str, item: dict[str, Any], identity: str) -> Question:
    text = sentence(raw, f"{place}.question", field(raw, place, item, "question"))
    answers = [
        sentence_or_blank(raw, f"{spot}.text", field(raw, spot, answer, "text"))
        for spot, answer in (_objects(raw, f"{place}.", item, "answers") if "answers" in item else ())
    ]
    return Question(identity, text, tuple(dict.fromkeys(answer for answer in answers if answer)))
