"""Candidates for hard negatives: what BM25 and a bi-encoder find for each question, scored by one measure, and the window
that stands for each passage that is longer than the model's limit.

    searcher = Searcher.build(dataset, model, sources=["bm25", "dense"], depth=50)
    found = gather(searcher, dataset)
    mined = mine(dataset, [found.ranking], rules, found.positive_scores, found.texts)
    found.texts[0][mined.negatives[0][0]]       # text of the first negative of the first question

Shape letters: Q questions, N passages, W windows, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from sbert.predict import predict
from sbert.retrieval.dense import DensePool, encode_pool, search_pool
from sbert.retrieval.mining import merge, relevant_passages
from sbert.retrieval.search import SHORTEST, Ranking
from sbert.retrieval.sparse import BM25, make_analyzer
from sbert.retrieval.windows import cut_texts, holding

if TYPE_CHECKING:
    from data import RetrievalSet
    from sbert.cross_encoder import CrossEncoder
    from sbert.retrieval.dense import BiEncoder

CHUNK = 512  # questions searched at a time


@dataclass(frozen=True)
class Searcher:
    """The sources of one set. queries: (Q, D), None where nothing needs vectors; then those of ``pool`` are empty."""

    sources: tuple[str, ...]
    questions: list[str]
    sparse: BM25 | None
    pool: DensePool
    queries: np.ndarray | None
    depth: int  # passages asked of each source

    @classmethod
    def build(
        cls,
        dataset: "RetrievalSet",
        model: "BiEncoder",
        *,
        sources: Sequence[str],
        depth: int,
        scored: bool = False,
        analyzer: str = "words",
        precision: str = "fp32",
    ) -> "Searcher":
        """Cuts passages into windows of model.max_length, indexes and encodes as far as it is needed.

        sources: "bm25", "dense" or both, merged in this order. scored: what BM25 finds needs similarities too.
        """
        questions = [question.text for question in dataset.questions]
        options: dict[str, Any] = {"precision": precision, "progress": True}
        if "dense" in sources or scored:
            pool = encode_pool(model, dataset.texts, **options)
            queries = model.encode_query(questions, **options)
        else:
            lower = model.description.do_lower_case
            windows, owner = cut_texts(model.tokenizer, dataset.texts, model.max_length, lower=lower)
            pool = DensePool(np.empty((len(windows), 0), dtype=np.float32), windows, owner, "cosine")
            queries = None
        sparse = BM25(dataset.texts, make_analyzer(analyzer, model.tokenizer)) if "bm25" in sources else None
        depth += max(map(len, relevant_passages(dataset)))  # which will not stay
        return cls(tuple(sources), questions, sparse, pool, queries, depth)

    def search(self, rows: slice) -> Ranking:
        """What the sources find for some of the questions, merged."""
        found = {}
        if self.sparse is not None:
            found["bm25"] = self.sparse.search(self.questions[rows], self.depth)
        if "dense" in self.sources:
            assert self.queries is not None
            found["dense"] = search_pool(self.queries[rows], self.pool, self.depth)[0]
        return merge([found[source] for source in self.sources])

    def compare(self, rows: slice, ids: list[list[int]]) -> tuple[list[np.ndarray], list[list[int]]]:
        """Of chosen passages of some of the questions, the similarities (0 without vectors) and the windows."""
        if self.queries is not None:
            return pair_scores(self.queries[rows], self.pool, ids)
        first = np.searchsorted(self.pool.owner, np.arange(self.pool.count))
        return [np.zeros(len(row)) for row in ids], [first[row].tolist() for row in ids]


@dataclass(frozen=True)
class Candidates:
    """What was found for each question. positive_scores: of its relevant passages, in the order of relevant_passages.

    texts: of each question {passage: the window that is written}, of everything found and everything relevant.
    """

    ranking: Ranking
    texts: list[dict[int, str]]
    positive_scores: list[np.ndarray]


def gather(searcher: Searcher, dataset: "RetrievalSet") -> Candidates:
    """Searches, scores what was found and what is relevant, and chooses the windows."""
    relevant = relevant_passages(dataset)
    windows = searcher.pool.windows
    out = Candidates(Ranking([], []), [], [])
    with tqdm(total=len(relevant), unit=" questions", disable=None, leave=False) as bar:
        for start in range(0, len(relevant), CHUNK):
            rows = slice(start, start + CHUNK)
            found = searcher.search(rows).ids
            scores, picked = searcher.compare(rows, found)
            out.ranking.ids.extend(found)
            out.ranking.scores.extend(scores)
            for ids, own in zip(found, picked, strict=True):
                out.texts.append({i: windows[w] for i, w in zip(ids, own, strict=True)})
            scores, picked = searcher.compare(rows, relevant[rows])
            out.positive_scores.extend(scores)
            for question, ids, own, texts in zip(
                dataset.questions[rows], relevant[rows], picked, out.texts[rows], strict=True
            ):
                chosen = positive_windows(searcher.pool, question.answers, ids, own)
                texts.update(zip(ids, chosen, strict=True))
            bar.update(len(found))
    return out


def positive_windows(pool: DensePool, answers: tuple[str, ...], ids: list[int], best: list[int]) -> list[str]:
    """Of each relevant passage the window that holds the answer; without known answers the ``best`` one."""
    if not answers:
        return [pool.windows[window] for window in best]
    out = []
    for passage in ids:
        start, end = np.searchsorted(pool.owner, [passage, passage + 1])
        own = pool.windows[start:end]
        out.append(own[holding(own, answers)])
    return out


def judge(
    teacher: "CrossEncoder",
    dataset: "RetrievalSet",
    found: Candidates,
    depth: int,
    *,
    precision: str = "fp32",
) -> Candidates:
    """The first ``depth`` candidates of each question in the order of the teacher's scores, and those scores."""
    ranking = found.ranking.cut(depth)
    relevant = relevant_passages(dataset)
    out = Candidates(Ranking([], []), found.texts, [])
    with tqdm(total=len(ranking), unit=" questions", disable=None, leave=False) as bar:
        for start in range(0, len(ranking), CHUNK):
            rows = range(start, min(start + CHUNK, len(ranking)))
            read = [[found.texts[i][p] for p in (*relevant[i], *ranking.ids[i])] for i in rows]
            pairs = [(dataset.questions[i].text, t) for i, own in zip(rows, read, strict=True) for t in own]
            flat = predict(teacher, pairs, precision=precision).scores
            ends = np.cumsum([len(own) for own in read])[:-1]
            for i, scores in zip(rows, np.split(flat, ends), strict=True):
                positives, others = np.split(scores, [len(relevant[i])])
                order = np.argsort(-others, kind="stable")
                out.positive_scores.append(positives)
                out.ranking.ids.append([ranking.ids[i][place] for place in order])
                out.ranking.scores.append(others[order])
            bar.update(len(rows))
    return out


def pair_scores(
    queries: np.ndarray, pool: "DensePool", ids: Sequence[Sequence[int]]
) -> tuple[list[np.ndarray], list[list[int]]]:
    """Scores of chosen passages, whichever search found them: queries (Q, D), ids: passages of each query.

    -> of each query, the fp32 similarity of its passages, each scored by its best window as in dense search, and the
    positions of those windows in ``pool.windows``; of equal ones the first.
    """
    bounds = np.searchsorted(
        pool.owner, np.arange(pool.count + 1)
    )  # windows of passage p: bounds[p] .. bounds[p+1]
    cosine = pool.similarity == "cosine"
    scores, windows = [], []
    for query, row in zip(queries.astype(np.float64), ids, strict=True):
        spans = [range(bounds[passage], bounds[passage + 1]) for passage in row]
        rows = np.array([position for span in spans for position in span], dtype=np.int64)
        near = (np.array(pool.embeddings[rows], dtype=np.float64) * query).sum(axis=1)
        if cosine:
            length = max(float(np.linalg.norm(query)), SHORTEST)
            near /= np.maximum(pool.norms[rows], SHORTEST) * length
        ends = np.cumsum([len(span) for span in spans])
        picked = [int(near[end - len(span) : end].argmax()) for span, end in zip(spans, ends, strict=True)]
        windows.append([span[i] for span, i in zip(spans, picked, strict=True)])
        best = [near[end - len(span) + i] for span, end, i in zip(spans, ends, picked, strict=True)]
        scores.append(np.array(best, dtype=np.float32))
    return scores, windows
