"""Dense search: passages cut into windows, encoded once; questions encoded and compared with all of them exactly.

    pool = encode_pool(model, texts, progress=True)
    found, windows = dense_search(model, questions, pool, k=100)
    found.ids[0][0], pool.windows[windows[0][0]]        # best passage of the first question, and the window that won
    metrics = evaluate_retrieval(model, data.load_retrieval("squad"))

model: a modelWithPooling, or TwoTowers, whose document encoder reads the passages and whose query encoder the questions.
Shape letters: Q queries, N passages, W windows, D embedding width.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sbert.encode import tokenize
from sbert.errors import RunError
from sbert.retrieval.index import load_index, save_index
from sbert.retrieval.search import SIMILARITIES, Ranking, exact_search, norms_of
from sbert.retrieval.windows import best_windows, cut_texts

if TYPE_CHECKING:
    from data import RetrievalSet
    from sbert.model import modelWithPooling
    from sbert.towers import TwoTowers

    BiEncoder = modelWithPooling | TwoTowers

KS = (1, 5, 10, 20, 100)  # the recalls reported
WindowSearch = Callable[
    [np.ndarray, int], Ranking
]  # queries (Q, D), k -> the k best windows, as exact_search


@dataclass(frozen=True)
class DensePool:
    """Encoded passages. embeddings: (W, D) fp32. owner: (W,) the passage of each window. similarity: cosine or dot."""

    embeddings: np.ndarray
    windows: list[str]
    owner: np.ndarray
    similarity: str

    @property
    def count(self) -> int:
        """N, passages."""
        return int(self.owner[-1]) + 1 if len(self.owner) else 0

    @cached_property
    def norms(self) -> np.ndarray:
        """(W,) fp64, computed at the first search."""
        return norms_of(self.embeddings)

    def truncated(self, width: int | None) -> "DensePool":
        """The first ``width`` dimensions (Matryoshka). Raises RunError when there are not so many."""
        full = self.embeddings.shape[1]
        if width is None or width == full:
            return self
        if not 0 < width < full:
            raise RunError(f"--truncate-dim {width}: the embeddings have {full} dimensions")
        return DensePool(
            np.ascontiguousarray(self.embeddings[:, :width]), self.windows, self.owner, self.similarity
        )


def encode_pool(
    model: "BiEncoder",
    texts: Sequence[str],
    *,
    stride: int | None = None,
    truncate: bool = False,
    batch_tokens: int | None = None,
    precision: str = "fp32",
    unpadded: str = "auto",
    progress: bool = False,
) -> DensePool:
    """Encodes passages, with the model's prompt for documents if it has one; each distinct window once.

    stride: tokens between the starts of windows, see cut_texts. truncate: passages longer than the model's limit lose
    their end, as BEIR and MTEB have it, where they would be cut into windows.
    Raises RunError for a model whose similarity is neither cosine nor dot.
    """
    similarity = model.description.similarity
    if similarity not in SIMILARITIES:
        raise RunError(
            f"this model compares by {similarity}; search is by {' or '.join(SIMILARITIES)} (--similarity)"
        )
    windows, owner = list(texts), np.arange(len(texts), dtype=np.int64)
    if not truncate:
        windows, owner = cut_texts(
            model.tokenizer,
            texts,
            model.max_length,
            stride,
            reserve=_prompt_tokens(model),
            lower=model.description.do_lower_case,
        )
    options = {
        "batch_tokens": batch_tokens,
        "precision": precision,
        "unpadded": unpadded,
        "progress": progress,
    }
    return DensePool(model.encode_document(windows, **options), windows, owner, similarity)


def dense_search(
    model: "BiEncoder",
    questions: Sequence[str],
    pool: DensePool,
    k: int,
    *,
    truncate_dim: int | None = None,
    batch_tokens: int | None = None,
    precision: str = "fp32",
    unpadded: str = "auto",
    progress: bool = False,
) -> tuple[Ranking, list[list[int]]]:
    """The min(k, N) best passages of each question, and of each the position in ``pool.windows`` of its best window.

    truncate_dim: only the first dimensions count. Raises ValueError when k < 1, RunError when the model's vectors are
    not as wide as the pool's.
    """
    options = {
        "batch_tokens": batch_tokens,
        "precision": precision,
        "unpadded": unpadded,
        "progress": progress,
    }
    queries = model.encode_query(list(questions), **options)
    return search_pool(queries[:, :truncate_dim], pool.truncated(truncate_dim), k)


def search_pool(
    queries: np.ndarray,
    pool: DensePool,
    k: int,
    *,
    window_search: WindowSearch | None = None,
) -> tuple[Ranking, list[list[int]]]:
    """dense_search for questions that are encoded already: queries (Q, D).

    window_search: another search over ``pool.embeddings`` than the exact one, an approximate one say.
    """
    if queries.shape[1] != pool.embeddings.shape[1]:
        raise RunError(
            f"questions of {queries.shape[1]} dimensions and passages of {pool.embeddings.shape[1]}: "
            "not of the same model"
        )
    wanted, rows = min(k, pool.count), len(pool.windows)
    fetch = k if rows == pool.count else min(rows, 2 * k * -(-rows // pool.count))
    while True:
        if window_search is not None:
            hits = window_search(queries, fetch)
        else:
            hits = exact_search(queries, pool.embeddings, fetch, pool.similarity, norms=pool.norms)
        found, windows = best_windows(hits, pool.owner, k)
        lacking = [hit for row, hit in zip(found.ids, hits.ids, strict=True) if len(row) < wanted]
        if fetch >= rows or all(len(hit) < fetch for hit in lacking):  # nothing more to be had
            return found, windows
        fetch *= 2  # the first windows were of too few passages


def evaluate_retrieval(
    model: "BiEncoder",
    dataset: "RetrievalSet",
    *,
    k: int = 100,
    stride: int | None = None,
    truncate: bool = False,
    truncate_dim: int | None = None,
    batch_tokens: int | None = None,
    precision: str = "fp32",
    unpadded: str = "auto",
    progress: bool = False,
) -> dict[str, float]:
    """Metrics of dense search over the whole pool of a set, named as retrieval_metrics names them: ``mrr@10``, ..."""
    from sbert.evaluation.retrieval import (
        relevant_positions,
        retrieval_metrics,
    )  # its package imports this module

    options = {
        "batch_tokens": batch_tokens,
        "precision": precision,
        "unpadded": unpadded,
        "progress": progress,
    }
    pool = encode_pool(model, dataset.texts, stride=stride, truncate=truncate, **options)  # type: ignore[arg-type]
    questions = [question.text for question in dataset.questions]
    found, _ = dense_search(model, questions, pool, k, truncate_dim=truncate_dim, **options)  # type: ignore[arg-type]
    relevant = relevant_positions(
        [question.id for question in dataset.questions],
        [passage.id for passage in dataset.passages],
        dataset.relevant,
    )
    return retrieval_metrics(found.ids, relevant, KS)


def save_pool(
    folder: str | Path,
    pool: DensePool,
    passages: Sequence[tuple[str, str]],
    fingerprint: str,
    facts: Mapping[str, Any],
) -> None:
    """Writes a pool as an index (sbert.retrieval.index): a row a window, whose id is that of its passage.

    passages: (id, text) of each. fingerprint: of the model's document encoder. facts: how it was encoded; load_pool
    asks for the same. The windows' texts are kept as their places in the passages. Raises RunError as save_index.
    """
    starts, last, at = [], -1, 0
    for window, passage in zip(pool.windows, pool.owner.tolist(), strict=True):
        at = passages[passage][1].index(window, at if passage == last else 0)
        starts.append(at)
        last = passage
    ids = [passages[passage][0] for passage in pool.owner]
    spans = {"starts": starts, "lengths": [len(window) for window in pool.windows]}
    about = {"passages": _sha256(passages), "made": dict(facts), "windows": spans}
    save_index(folder, pool.embeddings, ids, fingerprint, similarity=pool.similarity, facts=about)


def load_pool(
    folder: str | Path,
    passages: Sequence[tuple[str, str]],
    fingerprint: str,
    facts: Mapping[str, Any],
    similarity: str,
) -> DensePool:
    """What save_pool wrote, its embeddings memory-mapped.

    Raises RunError when the index is of another model or other passages, was encoded otherwise, or is damaged.
    """
    index = load_index(folder, fingerprint)
    held = index.facts
    if held.get("passages") != _sha256(passages):
        raise RunError(
            f"{folder}: an index of other passages than these {len(passages):,}; give another --index"
        )
    if held.get("made") != dict(facts):
        raise RunError(f"{folder}: encoded with {held.get('made')}, asked for is {dict(facts)}")
    try:
        position = {identity: i for i, (identity, _) in enumerate(passages)}
        owner = np.array([position[identity] for identity in index.ids], dtype=np.int64)
        spans = zip(owner.tolist(), held["windows"]["starts"], held["windows"]["lengths"], strict=True)
        windows = [_slice(passages[passage][1], start, length) for passage, start, length in spans]
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{folder}: damaged: its windows are not parts of its passages") from None
    return DensePool(index.embeddings, windows, owner, similarity)


def _slice(text: str, start: int, length: int) -> str:
    if not 0 <= start <= start + length <= len(text):
        raise ValueError
    return text[start : start + length]


def _sha256(passages: Sequence[tuple[str, str]]) -> str:
    """Of ids and texts, in order."""
    digest = hashlib.sha256()
    for identity, text in passages:
        digest.update(json.dumps([identity, text]).encode())
    return digest.hexdigest()


def truncated_questions(model: "BiEncoder", questions: Sequence[str]) -> int:
    """How many distinct questions, with their prompt, are longer than the model's limit and lose their end."""
    assert model.tokenizer is not None
    texts = [_prompt(model, "query") + text for text in dict.fromkeys(questions)]
    return tokenize(model.tokenizer, texts, model.max_length, lower=model.description.do_lower_case).truncated


def _prompt(model: "BiEncoder", *names: str) -> str:
    """What the model puts before a text: the prompt of one of these names, else its default one, else nothing."""
    prompts = model.description.prompts
    return next((prompts[x] for x in (*names, model.description.default_prompt) if x in prompts), "")


def _prompt_tokens(model: "BiEncoder") -> int:
    """Tokens of the prompt for documents, special ones not counted."""
    prompt = _prompt(model, "document", "passage", "corpus")
    if not prompt:
        return 0
    assert model.tokenizer is not None
    ids = tokenize(model.tokenizer, [prompt], model.max_length, lower=model.description.do_lower_case).ids[0]
    return len(ids) - int(model.tokenizer.num_special_tokens_to_add(pair=False))
