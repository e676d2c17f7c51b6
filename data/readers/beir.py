"""Reader of BEIR layout (Thakur et al. 2021): corpus.jsonl, queries.jsonl and qrels/<split>.tsv.

corpus.jsonl   {"_id", "title", "text"}     title may be missing or null; a text may be empty, as some publishers' are
queries.jsonl  {"_id", "text"}              the queries of all splits
qrels          query-id, corpus-id, score   with this header; whole numbers, above 0 where relevant

The questions of a split are those that its qrels judge, in the order of queries.jsonl; one that has no relevant
document is skipped and counted.
"""

from __future__ import annotations

from data.readers.text import Raw, field, identifier, sentence, sentence_or_blank, short
from data.retrieval import Contents, Passage, Question


def read_beir(raws: list[Raw], split: str) -> Contents:
    """``raws`` are corpus, queries and the qrels of the split."""
    corpus, queries, qrels = raws
    passages = _corpus(corpus)
    questions = _queries(queries)
    relevant = _qrels(qrels, {question.id for question in questions}, {passage.id for passage in passages})
    asked = [question for question in questions if relevant.get(question.id)]
    skipped = len(relevant) - len(asked)
    return Contents(passages, asked, {q.id: relevant[q.id] for q in asked}, skipped=skipped, titled=True)


def _corpus(raw: Raw) -> list[Passage]:
    passages, seen = [], set[str]()
    for line, item in raw.objects():
        identity = _new_id(raw, line, item, seen)
        text, title = (_text(raw, line, item, name) for name in ("text", "title"))
        passages.append(Passage(identity, text, title))
    return passages


def _queries(raw: Raw) -> list[Question]:
    seen = set[str]()
    return [
        Question(
            _new_id(raw, line, item, seen), sentence(raw, f"{line}: text", field(raw, line, item, "text"))
        )
        for line, item in raw.objects()
    ]


def _qrels(raw: Raw, queries: set[str], documents: set[str]) -> dict[str, dict[str, int]]:
    """{query id: {document id: grade above 0}} of every judged query."""
    judged: dict[str, dict[str, int]] = {}
    seen = set[tuple[str, str]]()
    for line, cells in raw.table("query-id", "corpus-id", "score"):
        query, document, score = (cell.strip() for cell in cells)
        for name, identity, known in (("query-id", query, queries), ("corpus-id", document, documents)):
            if identity not in known:
                raw.fail(
                    line, f"{name} {short(identity)} is in no row of the {name.removesuffix('-id')} file"
                )
        if (query, document) in seen:
            raw.fail(line, f"query {short(query)} and document {short(document)} are judged twice")
        seen.add((query, document))
        grade = _grade(raw, line, score)
        judged.setdefault(query, {})
        if grade > 0:
            judged[query][document] = grade
    return judged


def _grade(raw: Raw, line: int, score: str) -> int:
    try:
        return int(score.removesuffix(".0"))
    except ValueError:
        raw.fail(line, f"score {short(score)} is not a whole number (relevant above 0)")


def _new_id(raw: Raw, line: int, item: dict[str, object], seen: set[str]) -> str:
    identity = identifier(raw, f"{line}: _id", field(raw, line, item, "_id"))
    if identity in seen:
        raw.fail(line, f"_id {short(identity)} stands in an earlier line; every row needs its own")
    seen.add(identity)
    return identity


def _text(raw: Raw, line: int, item: dict[str, object], name: str) -> str:
    """A text that may be empty; only ``title`` may be missing or null."""
    if name == "title" and item.get("title") is None:
        return ""
    return sentence_or_blank(raw, f"{line}: {name}", field(raw, line, item, name))
