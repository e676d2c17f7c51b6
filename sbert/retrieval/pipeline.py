"""Retrieve and re-rank: the stages between a question and its passages, each small, each with the seconds it took.

    sparse, dense = SparseStage(texts, "bigrams"), DenseStage(model, pool)
    first = {"bm25": sparse.search(questions, 100), "dense": dense.search(questions, 100)}
    first["hybrid"] = fuse("hybrid", first["dense"], first["bm25"], weight=0.5)
    both = rerank(cross_encoder, questions, first, texts, depth=20)         # "bm25 + rerank", ... share their pairs

A cross-encoder reads a question with one window of each passage: the one that BM25 finds likest to the question,
whichever retriever brought the passage. So a pair has one score, however many retrievers found it.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sbert.errors import RunError
from sbert.retrieval.fusion import convex_combination, reciprocal_rank_fusion
from sbert.retrieval.search import Ranking
from sbert.retrieval.sparse import BM25, Analyzer, make_analyzer
from sbert.retrieval.windows import cut_texts

if TYPE_CHECKING:
    from sbert.cross_encoder import CrossEncoder
    from sbert.retrieval.dense import BiEncoder, DensePool, WindowSearch

STAGES = (
    "question",
    "search",
    "fusion",
    "rerank",
)  # of which seconds are kept; question: analysis or encoding
FUSIONS = ("hybrid", "rrf")


@dataclass(frozen=True)
class Found:
    """What a chain of stages found for some questions, and the seconds each stage took for all of them together."""

    ranking: Ranking
    seconds: dict[str, float] = field(default_factory=dict)

    def cut(self, depth: int) -> "Found":
        """The first ``depth`` passages of each question."""
        return Found(self.ranking.cut(depth), self.seconds)

    def ms(self) -> dict[str, float]:
        """Milliseconds a question."""
        return {stage: 1000 * seconds / len(self.ranking) for stage, seconds in self.seconds.items()}


def joined(parts: Sequence[Found]) -> Found:
    """The questions of all parts, one after the other."""
    ids = [row for part in parts for row in part.ranking.ids]
    scores = [row for part in parts for row in part.ranking.scores]
    stages = dict.fromkeys(stage for part in parts for stage in part.seconds)
    return Found(
        Ranking(ids, scores), {stage: sum(part.seconds.get(stage, 0.0) for part in parts) for stage in stages}
    )


class SparseStage:
    """BM25 over ``texts``. analyzer: as in BM25."""

    def __init__(self, texts: Sequence[str], analyzer: str | Analyzer = "words") -> None:
        self._analyze = make_analyzer(analyzer) if isinstance(analyzer, str) else analyzer
        self._seconds = 0.0
        self.bm25 = BM25(texts, self._timed)

    def search(self, questions: Sequence[str], k: int) -> Found:
        """At most k passages each, those that share a term with the question."""
        started, self._seconds = time.perf_counter(), 0.0
        ranking = self.bm25.search(questions, k)
        whole = time.perf_counter() - started
        return Found(ranking, {"question": self._seconds, "search": whole - self._seconds})

    def _timed(self, texts: Sequence[str]) -> list[list[str]]:
        started = time.perf_counter()
        terms = self._analyze(texts)
        self._seconds += time.perf_counter() - started
        return terms


class DenseStage:
    """A bi-encoder and its pool, which may hold only the first dimensions. window_search: see dense.search_pool."""

    def __init__(
        self,
        model: "BiEncoder",
        pool: "DensePool",
        *,
        window_search: "WindowSearch | None" = None,
        batch_tokens: int | None = None,
        precision: str = "fp32",
    ) -> None:
        self.model, self.pool, self.window_search = model, pool, window_search
        self.options = {"batch_tokens": batch_tokens, "precision": precision}

    def encode(self, questions: Sequence[str]) -> np.ndarray:
        """(Q, D), as many dimensions as the pool has."""
        queries = self.model.encode_query(list(questions), **self.options)
        return np.ascontiguousarray(queries[:, : self.pool.embeddings.shape[1]])

    def search(self, questions: Sequence[str], k: int) -> Found:
        """The k best passages each."""
        from sbert.retrieval.dense import search_pool

        started = time.perf_counter()
        queries = self.encode(questions)
        encoded = time.perf_counter()
        ranking, _ = search_pool(queries, self.pool, k, window_search=self.window_search)
        return Found(ranking, {"question": encoded - started, "search": time.perf_counter() - encoded})


def fuse(how: str, dense: Found, sparse: Found, weight: float = 0.5) -> Found:
    """ "hybrid": weight * dense + (1 - weight) * sparse, scores scaled to 0..1; "rrf": by ranks. Passages of either list.

    Its seconds count both searches.
    """
    if how not in FUSIONS:
        raise ValueError(f"fusion {how!r}: allowed are {', '.join(FUSIONS)}")
    started = time.perf_counter()
    if how == "hybrid":
        ranking = convex_combination(dense.ranking, sparse.ranking, weight)
    else:
        ranking = reciprocal_rank_fusion([dense.ranking, sparse.ranking])
    seconds = {
        stage: dense.seconds.get(stage, 0.0) + sparse.seconds.get(stage, 0.0)
        for stage in ("question", "search")
    }
    return Found(ranking, {**seconds, "fusion": time.perf_counter() - started})


def search_all(
    names: Sequence[str],
    questions: Sequence[str],
    k: int,
    *,
    sparse: SparseStage | None = None,
    dense: DenseStage | None = None,
    weight: float = 0.5,
) -> dict[str, Found]:
    """What each of ``names`` (bm25, dense, hybrid, rrf) finds, at most k passages; each search runs once."""
    found = {}
    if sparse is not None:
        found["bm25"] = sparse.search(questions, k)
    if dense is not None:
        found["dense"] = dense.search(questions, k)
    for name in names:
        if name in FUSIONS:
            found[name] = fuse(name, found["dense"], found["bm25"], weight).cut(k)
    return {name: found[name] for name in names}


# -------------------------------------------------------------------- re-ranking


@dataclass(frozen=True)
class Reranked:
    """found: under the names given, each with its re-ranking. pairs: distinct ones scored; truncated: of those."""

    found: dict[str, Found]
    pairs: int
    truncated: int


def rerank(
    model: "CrossEncoder",
    questions: Sequence[str],
    first: Mapping[str, Found],
    texts: Sequence[str],
    depth: int,
    *,
    analyzer: str | Analyzer = "words",
    batch_tokens: int | None = None,
    precision: str = "fp32",
    progress: bool = False,
) -> Reranked:
    """Puts the first ``depth`` passages of each question into the order of the cross-encoder's logits.

    first: name -> what a first stage found; a pair that several of them found is scored once, and each is charged its
    share of the time by the number of its pairs. The passages below ``depth`` follow as they stood.
    analyzer: of the BM25 that chooses the window of a long passage.
    Raises RunError for a model that does not give one trained score a pair.
    """
    from sbert.cross_encoder import IDENTITY
    from sbert.predict import predict

    if model.fresh or model.num_labels != 1:
        raise RunError("re-ranking needs a trained cross-encoder of one score a pair")
    started = time.perf_counter()
    hits = {name: found.ranking.cut(depth).ids for name, found in first.items()}
    wanted = sorted({(i, p) for rows in hits.values() for i, row in enumerate(rows) for p in row})
    chosen = _windows_of_pairs(model, questions, texts, wanted, analyzer)
    found = predict(
        model,
        [(questions[i], text) for (i, _), text in zip(wanted, chosen, strict=True)],
        activation=IDENTITY,  # a sigmoid in fp32 no longer tells two logits above 17 apart
        batch_tokens=batch_tokens,
        precision=precision,
        progress=progress,
    )
    score = dict(zip(wanted, found.scores.tolist(), strict=True))
    each = (time.perf_counter() - started) / max(len(wanted), 1)
    out = {}
    for name, rows in hits.items():
        new = Ranking([], [])
        for i, row in enumerate(rows):
            values = np.array([score[i, passage] for passage in row], dtype=np.float64)
            order = np.argsort(-values, kind="stable")  # equal ones stay as they stood
            new.ids.append([row[place] for place in order])
            new.scores.append(values[order])
        seconds = {**first[name].seconds, "rerank": each * sum(map(len, rows))}
        out[name] = Found(on_top(new, first[name].ranking), seconds)
    return Reranked(out, found.distinct, found.truncated)


def blend(reranked: Found, first: Found, weight: float, depth: int) -> Found:
    """weight * re-ranker + (1 - weight) * first stage over the first ``depth`` passages, scores scaled to 0..1."""
    top = convex_combination(reranked.ranking, first.ranking, weight, depth)
    return Found(on_top(top, first.ranking), reranked.seconds)


def on_top(top: Ranking, whole: Ranking) -> Ranking:
    """The lists of ``top``, then what else ``whole`` has, in its order, with scores that go on falling by 1."""
    out = Ranking([], [])
    for ids, scores, rest in zip(top.ids, top.scores, whole.ids, strict=True):
        held = set(ids)
        below = [passage for passage in rest if passage not in held]
        last = float(scores[-1]) if len(scores) else 0.0
        out.ids.append([*ids, *below])
        out.scores.append(np.concatenate([scores, last - np.arange(1.0, len(below) + 1)]))
    return out


def _windows_of_pairs(
    model: "CrossEncoder",
    questions: Sequence[str],
    texts: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    analyzer: str | Analyzer,
) -> list[str]:
    """Of each (question, passage) the text to read with the question: a window that leaves the question room.

    Windows are cut for the longest of the questions, but for none longer than half of the model's limit.
    """
    if not pairs:
        return []
    tokenizer = model.tokenizer
    assert tokenizer is not None
    asked = tokenizer([questions[i] for i in {i for i, _ in pairs}], add_special_tokens=False, verbose=False)
    longest = max(map(len, asked["input_ids"]))
    between = tokenizer.num_special_tokens_to_add(pair=True) - tokenizer.num_special_tokens_to_add(pair=False)
    passages = sorted({passage for _, passage in pairs})
    windows, owner = cut_texts(
        tokenizer,
        [texts[passage] for passage in passages],
        model.max_length,
        reserve=between + min(longest, model.max_length // 2),
    )
    first = dict(zip(passages, np.searchsorted(owner, np.arange(len(passages))).tolist(), strict=True))
    count = dict(zip(passages, np.bincount(owner).tolist(), strict=True))
    score = _Cached(BM25(windows, analyzer).scores)
    out = []
    for i, passage in pairs:  # in the order of the questions
        best = 0
        if count[passage] > 1:
            own = score(questions[i])[first[passage] : first[passage] + count[passage]]
            best = int(own.argmax())
        out.append(windows[first[passage] + best])
    return out


class _Cached:
    """A function of a text that remembers its last answer."""

    def __init__(self, function: Callable[[str], np.ndarray]) -> None:
        self.function, self.text, self.value = function, "", np.empty(0)

    def __call__(self, text: str) -> np.ndarray:
        if text != self.text or not len(self.value):
            self.text, self.value = text, self.function(text)
        return self.value


def hangul_share(texts: Iterable[str]) -> float:
    """Which part of the letters are Hangul syllables."""
    letters = hangul = 0
    for text in texts:
        letters += sum(map(str.isalpha, text))
        hangul += sum("가" <= letter <= "힣" for letter in text)
    return hangul / letters if letters else 0.0
