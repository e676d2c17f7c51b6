"""Approximate search with FAISS, over the same vectors as exact_search and with the same result. Needs faiss-cpu.

    flat     every vector is compared, in fp32: what exact search is measured against
    hnsw     a graph of neighbours, walked from the top (Malkov and Yashunin 2018): fast, and larger than the vectors
    ivfpq    vectors in lists around centroids, of which the nearest lists are searched, each vector 8 bits for every
             four dimensions (Jégou, Douze and Schmid 2011): a sixteenth of the room, the least exact

    found = build("hnsw", index.embeddings, index.similarity).search(queries, k=100)
    recall_against(index.search(queries, 100), found, k=10)

Cosine is the inner product of vectors made one long. With "dot" hnsw finds less than with cosine: its graph is meant
for distances, and a long vector is a neighbour of everything.

Shape letters: Q queries, N passages, D embedding width.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.files import atomic_path
from sbert.errors import RunError
from sbert.retrieval.search import SHORTEST, SIMILARITIES, Ranking, norms_of

log = logging.getLogger("sbert")

KINDS = ("flat", "hnsw", "ivfpq")
CLASSES = {"flat": "IndexFlatIP", "hnsw": "IndexHNSWFlat", "ivfpq": "IndexIVFPQ"}  # FAISS's names
LINKS, BUILD_BREADTH, SEARCH_BREADTH = 32, 200, 128  # of HNSW: M, efConstruction, efSearch
BITS = 8  # of IVF-PQ, for each part of a vector: 256 centroids
LEAST_PER_CENTROID, MOST_PER_CENTROID = 39, 256  # training vectors; FAISS warns below, and uses no more
TRAINABLE = LEAST_PER_CENTROID * 2**BITS  # passages that IVF-PQ needs: 9,984
SEED = 1234  # of the training sample; FAISS's own seeds are fixed
CHUNK = 16384  # vectors made one long at a time


@dataclass(frozen=True)
class Approximate:
    """A FAISS index of N vectors. kind: one of KINDS. parameters: what build chose, by FAISS's names."""

    kind: str
    similarity: str
    index: Any
    parameters: dict[str, int]

    def __len__(self) -> int:
        """Number of passages."""
        return int(self.index.ntotal)

    def search(self, queries: np.ndarray, k: int) -> Ranking:
        """queries (Q, D) -> at most k passages of each, best first, equal scores by position; fp32 scores.

        Lists are shorter than k where the search came upon fewer. ivfpq's scores are those of the compressed vectors.
        Raises ValueError for a shape that does not fit, k < 1 and queries that are not finite.
        """
        if queries.ndim != 2 or queries.shape[1] != self.index.d:
            raise ValueError(f"queries {queries.shape}: expected (Q, {self.index.d})")
        if k < 1:
            raise ValueError(f"k is {k}, it must be at least 1")
        found = Ranking([], [])
        if not len(self):
            return Ranking([[] for _ in queries], [np.empty(0, dtype=np.float32) for _ in queries])
        k, breadth = min(k, len(self)), None
        if self.kind == "hnsw":  # with fewer than k in hand it finds fewer than k
            breadth = _faiss().SearchParametersHNSW(efSearch=max(self.parameters["efSearch"], k))
        prepared = _prepared(queries, norms_of(queries), self.similarity)
        scores, ids = self.index.search(prepared, k, params=breadth)
        for row, row_scores in zip(ids, scores, strict=True):
            order = np.lexsort((row, -row_scores))
            order = order[row[order] >= 0]  # -1: nothing found
            found.ids.append(row[order].tolist())
            found.scores.append(row_scores[order])
        return found


def parameters_for(kind: str, count: int, width: int) -> dict[str, int]:
    """What an index of ``count`` vectors of ``width`` is built and searched with, by FAISS's names.

    hnsw: M links a vector (twice as many on the lowest level), efConstruction and efSearch vectors in hand.
    ivfpq: nlist lists, the power of two below 4 * sqrt(N) and N / 39; nprobe of them are searched, one in 16 but 8 at
    least; m parts of a vector, the most that divide D into parts of four dimensions or more; nbits for each.
    """
    if kind == "flat":
        return {}
    if kind == "hnsw":
        return {"M": LINKS, "efConstruction": BUILD_BREADTH, "efSearch": SEARCH_BREADTH}
    lists = 2 ** int(math.log2(max(1, min(4 * math.sqrt(count), count / LEAST_PER_CENTROID))))
    parts = max(m for m in range(1, max(width // 4, 1) + 1) if width % m == 0)
    return {"nlist": lists, "nprobe": min(lists, max(8, lists // 16)), "m": parts, "nbits": BITS}


def build(kind: str, embeddings: np.ndarray, similarity: str = "cosine") -> Approximate:
    """embeddings: (N, D), array or memory map of any float. The same vectors give the same index: one thread, fixed seeds.

    "ivfpq" of fewer than TRAINABLE vectors, too few to train on, is a flat index, with a warning: ``kind`` says so.
    Raises RunError without faiss-cpu, ValueError for an unknown kind or similarity and vectors that are not finite.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}: allowed are {', '.join(KINDS)}")
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity {similarity!r}: allowed are {', '.join(SIMILARITIES)}")
    if embeddings.ndim != 2 or not embeddings.shape[1]:
        raise ValueError(f"embeddings {embeddings.shape}: expected (N, D)")
    count, width = embeddings.shape
    if kind == "ivfpq" and count < TRAINABLE:
        text = "an ivfpq index is trained on at least %s passages, there are %s: a flat one is made"
        log.warning(text, f"{TRAINABLE:,}", f"{count:,}")
        kind = "flat"
    parameters, norms = parameters_for(kind, count, width), norms_of(embeddings)
    with _one_thread():
        index = _empty(kind, width, parameters)
        if not index.is_trained:
            most = MOST_PER_CENTROID * max(parameters["nlist"], 2**BITS)
            sample = np.arange(count)
            if count > most:
                sample = np.sort(np.random.default_rng(SEED).choice(count, most, replace=False))
            index.train(_prepared(embeddings[sample], norms[sample], similarity))
        for start in range(0, count, CHUNK):
            some = slice(start, start + CHUNK)
            index.add(_prepared(embeddings[some], norms[some], similarity))
    return Approximate(kind, similarity, index, parameters)


def recall_against(exact: Ranking, approximate: Ranking, k: int) -> float:
    """Share of the k best passages of the exact search that are among the k best of the other, mean over queries.

    A passage that ties with the k-th and took its place counts as missed. Queries for which the exact search found
    nothing are left out; NaN if that is all. Raises ValueError for k < 1 and rankings of different numbers of queries.
    """
    if k < 1:
        raise ValueError(f"k is {k}, it must be at least 1")
    pairs = zip(exact.cut(k).ids, approximate.cut(k).ids, strict=True)
    shares = [len({*true} & {*found}) / len(true) for true, found in pairs if true]
    return float(np.mean(shares)) if shares else math.nan


def file_of(folder: str | Path, kind: str, similarity: str) -> Path:
    """Where an index folder (sbert.retrieval.index) keeps its FAISS index; cosine is of other vectors than dot."""
    return Path(folder) / f"faiss-{kind}-{similarity}.index"


def save_approximate(folder: str | Path, found: Approximate) -> Path:
    """Writes the FAISS index beside the embeddings.npy it was built from, as a whole or not at all; the path.

    save_index replaces the folder, so that vectors of another model never meet an old FAISS index.
    Raises RunError when the folder is missing or the disk is full.
    """
    path = file_of(folder, found.kind, found.similarity)
    if not path.parent.is_dir():
        raise RunError(f"{path.parent}: no such folder; save_index makes it")
    try:
        with atomic_path(path) as temporary:
            _faiss().write_index(found.index, str(temporary))
    except (OSError, RuntimeError) as error:  # FAISS raises the latter, for a full disk as well
        raise RunError(f"{path}: cannot be written: {_first_line(error)}") from None
    return path


def load_approximate(folder: str | Path, kind: str, rows: int, width: int, similarity: str) -> Approximate:
    """Reads what save_approximate wrote. rows, width, similarity: those of the Index (load_index) in the folder.

    Raises RunError, naming the file, when it is missing, damaged, of another kind or not of so many vectors.
    """
    faiss, path = _faiss(), file_of(folder, kind, similarity)
    if not path.is_file():
        raise RunError(f"{path}: no such file")
    try:
        index = faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        raise RunError(f"{path}: short or damaged: {_first_line(error)}") from None
    if type(index).__name__ != CLASSES[kind] or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise RunError(
            f"{path}: holds a {type(index).__name__}, expected {CLASSES[kind]} with the inner product"
        )
    if (index.ntotal, index.d) != (rows, width):
        raise RunError(
            f"{path}: holds {index.ntotal} vectors of {index.d} dimensions, the index has {rows} of {width}: "
            "build it again"
        )
    return Approximate(kind, similarity, index, parameters_for(kind, rows, width))


def _empty(kind: str, width: int, parameters: dict[str, int]) -> Any:
    faiss = _faiss()
    if kind == "flat":
        return faiss.IndexFlatIP(width)
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, parameters["M"], faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = parameters["efConstruction"]
        index.hnsw.efSearch = parameters["efSearch"]
        return index
    lists, parts, bits = parameters["nlist"], parameters["m"], parameters["nbits"]
    index = faiss.index_factory(width, f"IVF{lists},PQ{parts}x{bits}", faiss.METRIC_INNER_PRODUCT)
    index.nprobe = parameters["nprobe"]
    index.do_polysemous_training = (
        False  # nine tenths of the training time, for a search that is not used here
    )
    return index


def _prepared(vectors: np.ndarray, norms: np.ndarray, similarity: str) -> np.ndarray:
    """(N, D) fp32 rows for FAISS; for cosine each divided by its norm (a zero vector stays zero)."""
    if similarity == "dot":
        return np.ascontiguousarray(vectors, dtype=np.float32)
    return (vectors / np.maximum(norms, SHORTEST)[:, None]).astype(np.float32, order="C")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Building with several threads gives another graph every time."""
    faiss = _faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _faiss() -> Any:
    try:
        import faiss
    except ModuleNotFoundError:
        raise RunError("approximate search needs faiss: pip install faiss-cpu") from None
    return faiss


def _first_line(error: BaseException) -> str:
    """FAISS puts the place in its C++ source first: "Error in void f() at file.h:1: Error: 'cond' failed: why"."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rpartition("failed: ")[2]
