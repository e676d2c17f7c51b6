"""The commands of ``python -m sbert.applications`` that find texts or pairs of texts, and the list of all commands.

Each reads its texts, encodes them, calls one function of vectors, and says what it found.
"""

import argparse
import random
from collections.abc import Callable

import numpy as np

from data.examples import DataError
from sbert.applications import groups, output
from sbert.applications.agreement import average_precision
from sbert.applications.keywords import candidate_phrases, distinctive_phrases
from sbert.applications.output import Result, shorten, under
from sbert.applications.parallel import mine_parallel, parallel_metrics
from sbert.applications.paraphrases import paraphrase_mining
from sbert.applications.recommendation import recommend
from sbert.applications.search import semantic_search
from sbert.applications.session import Session
from sbert.applications.texts import Texts
from sbert.errors import RunError
from sbert.flag_parser import suggestion

PARAPHRASE = 0.8  # of an STS score 0..1, 4 of 5: "mostly equivalent"


def run(args: argparse.Namespace) -> str:
    """Runs the command, writes --output, and returns what is printed."""
    session = Session(args)
    result = COMMANDS[args.command](session)
    if args.output:
        output.write(args, {**session.facts, "data": session.files}, result)
    return output.printed(result, args.output)


def search(session: Session) -> Result:
    args, corpus = session.args, session.read(session.args.data)
    queries = args.query or session.read(args.queries).texts
    vectors = session.encode(corpus.texts, "document")
    ranking = semantic_search(session.encode(queries, "query"), vectors, args.top_k, session.similarity)
    result = Result([], [])
    for n, (query, ids, scores) in enumerate(zip(queries, ranking.ids, ranking.scores, strict=True)):
        result.shown += [shorten(query)] if n < args.show else []
        for rank, (i, score) in enumerate(zip(ids, scores.tolist(), strict=True), start=1):
            result.shown += under(score, corpus.texts[i]) if n < args.show else []
            row = {"query": query, "rank": rank, "score": score, "id": corpus.ids[i], "text": corpus.texts[i]}
            result.found.append(row)
    return result


def paraphrases(session: Session) -> Result:
    args, given = session.args, session.read(session.args.data)
    first_of: dict[str, int] = {}
    for i, text in enumerate(given.texts):
        first_of.setdefault(text, i)
    texts = given.rows(list(first_of.values()))
    mined = paraphrase_mining(session.encode(texts.texts), args.top_k, args.max_pairs, progress=True)
    kept = int(np.count_nonzero(mined.scores >= args.min_score))
    pairs = [column[:kept].tolist() for column in mined]
    result = Result([], [], {"texts": len(texts), "pairs": kept})
    for i, j, score in zip(*pairs, strict=True):
        if len(result.found) < args.show:
            result.shown += under(score, texts.texts[i], texts.texts[j])
        row = {"score": score, "id1": texts.ids[i], "id2": texts.ids[j]}
        result.found.append(row | {"text1": texts.texts[i], "text2": texts.texts[j]})
    gold = _gold_paraphrases(texts)
    if gold:
        known = average_precision(zip(*pairs[:2], strict=True), gold)
        result.metrics |= {"known_paraphrases": len(gold), **known}
        result.notes.append("precision counts every pair that nobody has labelled as wrong")
    if len(texts) < len(given):
        result.notes.append(f"repeated texts left out: {len(given) - len(texts):,}")
    return result


def _gold_paraphrases(texts: Texts) -> set[tuple[int, int]]:
    """Positions (earlier, later) of the pairs of an STS set that people call mostly equivalent; none of other texts."""
    position = {text: i for i, text in enumerate(texts.texts)}
    out = set()
    for example in texts.pairs.examples if texts.pairs else []:
        i, j = (position.get(text) for text in example.texts[:2])
        if (
            isinstance(example.label, float)
            and example.label >= PARAPHRASE
            and i is not None
            and j is not None
        ):
            out |= {(min(i, j), max(i, j))} - {(i, i)}
    return out


def parallel(session: Session) -> Result:
    args = session.args
    source, target = session.read(args.source, args.rows), session.read(args.target, args.rows)
    gold: set[tuple[int, int]] = set()
    result = Result([], [])
    if args.aligned:
        source, target, gold, repeated = _shuffled(source, target, args.seed)
        if repeated:
            result.notes.append(f"rows left out because an earlier row has one of their texts: {repeated:,}")
    mined = mine_parallel(
        session.encode(source.texts), session.encode(target.texts), args.neighbours, args.threshold
    )
    for i, j, score in zip(*(column.tolist() for column in mined), strict=True):
        if len(result.found) < args.show:
            result.shown += under(score, source.texts[i], target.texts[j])
        row = {"score": score, "source_id": source.ids[i], "target_id": target.ids[j]}
        result.found.append(row | {"source": source.texts[i], "target": target.texts[j]})
    result.metrics = {"sources": len(source), "targets": len(target), "pairs": len(result.found)}
    if args.aligned:
        result.metrics |= parallel_metrics(mined, gold)
        result.notes.append(
            "best_f1 is of the best threshold for these very answers: choose --threshold elsewhere"
        )
    return result


def _shuffled(source: Texts, target: Texts, seed: int) -> tuple[Texts, Texts, set[tuple[int, int]], int]:
    """Aligned rows with the targets shuffled: (source, target, the pairs to be found again, rows left out). A row that
    repeats a text of an earlier one is left out, since either answer would be right. Raises DataError."""
    if len(source) != len(target):
        raise DataError(
            f"--aligned: {source.name} has {len(source):,} texts, {target.name} {len(target):,}; need as many"
        )
    seen: set[tuple[int, str]] = set()
    rows = []
    for i, pair in enumerate(zip(source.texts, target.texts, strict=True)):
        sides = set(enumerate(pair))
        if not sides & seen:
            rows.append(i)
            seen |= sides
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    gold = {(i, place) for place, i in enumerate(order)}
    return source.rows(rows), target.rows([rows[i] for i in order]), gold, len(source) - len(rows)


def keywords(session: Session) -> Result:
    args = session.args
    if args.text:
        texts = Texts("--text", args.text, [str(i) for i in range(1, len(args.text) + 1)])
    else:
        texts = session.read(args.data)
    phrases = [candidate_phrases(text, args.longest) for text in texts.texts]
    distinct = list(dict.fromkeys(phrase for some in phrases for phrase in some))
    position = {phrase: i for i, phrase in enumerate(distinct)}
    of_texts, of_phrases = session.encode(texts.texts), session.encode(distinct)
    result = Result([], [])
    for n, (own, vector) in enumerate(zip(phrases, of_texts, strict=True)):
        rows = of_phrases[[position[phrase] for phrase in own]]
        best = distinctive_phrases(vector, rows, args.top_k, args.diversity)
        if n < args.show:
            shown = ", ".join(f"{own[i]} {score:.3f}" for i, score in best) or "(no phrase)"
            result.shown += [shorten(texts.texts[n]), f"    {shown}"]
        row = {"id": texts.ids[n], "text": texts.texts[n]}
        result.found += [row | {"keyword": own[i], "score": score} for i, score in best]
    return result


def recommendations(session: Session) -> Result:
    args, items = session.args, session.read(session.args.data)
    liked = _liked(items, args.liked)
    vectors = session.encode(items.texts, "document")
    wish = None if args.wish is None else session.encode([args.wish], "query")[0]
    result = Result([], [])
    for rank, (i, score) in enumerate(recommend(vectors, wish, liked, args.top_k), start=1):
        title = items.titles[i] if items.titles else ""
        if rank <= args.show:
            result.shown += under(score, *filter(None, (title, items.texts[i])))
        row = {"rank": rank, "score": score, "id": items.ids[i], "title": title}
        result.found.append(row | {"text": items.texts[i]})
    return result


def _liked(items: Texts, names: list[str]) -> list[int]:
    """Positions of the items called so by id or by title. Raises RunError for a name that none has."""
    out: list[int] = []
    for name in names:
        found = [i for i, known in enumerate(items.ids) if known == name]
        found = found or [i for i, known in enumerate(items.titles) if known == name]
        if not found:
            hint = suggestion(name, [*filter(None, items.titles), *items.ids])
            raise RunError(f"--liked {name!r}: {items.name} has no item of that id or title{hint}")
        out += found
    return list(dict.fromkeys(out))


COMMANDS: dict[str, Callable[[Session], Result]] = {
    "search": search,
    "paraphrases": paraphrases,
    "parallel": parallel,
    "cluster": groups.cluster,
    "map": groups.picture,
    "keywords": keywords,
    "recommend": recommendations,
}
