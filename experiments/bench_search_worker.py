"""Search over a large pool, stage by stage, in a process of its own: prints one line of JSON, progress to stderr.

Started by experiments.bench search; see experiments.bench_search for what the pool is made of.

python -m experiments.bench_search_worker --data squad --passages 2000 --queries 50 --model MODEL_DIRECTORY
"""

import argparse
import importlib.metadata
import importlib.util
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data import load_retrieval
from data.examples import DataError
from experiments.bench_summary import summary
from sbert.errors import RunError
from sbert.retrieval.approximate import KINDS, build, recall_against, save_approximate
from sbert.retrieval.index import Index, load_index, save_index
from sbert.retrieval.search import Ranking
from sbert.retrieval.sparse import BM25, make_analyzer

DEPTH = 100  # passages of each question
SINGLE = 100  # questions that are also asked one by one
CHANGED = 0.1  # share of the words of a repeated passage that are replaced
NOISE = 0.3  # length of what is added to the vector of a repeated passage, as a share of its own
PAUSE = 0.1  # seconds before each measurement, for the threads of the one before to fall asleep
K1, B = 0.9, 0.4  # of BM25 on both sides


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench_search_worker", allow_abbrev=False)
    parser.add_argument("--data", required=True, help="a retrieval set")
    parser.add_argument("--data-dir")
    parser.add_argument("--passages", type=int, required=True)
    parser.add_argument("--queries", type=int, required=True)
    parser.add_argument("--model", required=True, help="model directory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)
    return parser


def main(argv: Sequence[str]) -> int:
    args = build_parser().parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure_all(args, Path(folder))), flush=True)
    except (RunError, DataError) as error:
        print(f"bench_search_worker: error: {error}", file=sys.stderr)
        return 1
    return 0


class Report:
    """What was measured so far: rows of the three tables, and notes."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.stages: list[dict[str, Any]] = []
        self.indexes: list[dict[str, Any]] = []
        self.ratios: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def stage(self, name: str, one_ms: Sequence[float] | None, batch_ms: Sequence[float] | None) -> None:
        """one_ms: of each question asked alone. batch_ms: a question's share of each round."""
        row: dict[str, Any] = {"stage": name}
        for key, values in (("one_ms", one_ms), ("batch_ms", batch_ms)):
            if values is not None:
                row[key] = {**summary(values), "count": len(values)}
        self.stages.append(row)
        say(f"{name}: " + ", ".join(f"{key} {row[key]['median']:.3f}" for key in row if key != "stage"))

    def compare(self, ours: str, peer: str, seconds: Sequence[Sequence[float]]) -> None:
        """seconds: of each round, ours and the peer's. The ratio is above 1 where ours is faster."""
        ratios = [other / own for own, other in zip(*seconds, strict=True)]
        self.ratios.append({"ours": ours, "peer": peer, "ratio": {**summary(ratios), "rounds": ratios}})


def measure_all(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """folder: for the indexes, which are measured on disk."""
    real = load_retrieval(args.data, data_dir=args.data_dir)
    own = [passage.text for passage in real.passages][: args.passages]
    texts = fill(own, args.passages, args.seed)
    asked = [real.questions[i % len(real.questions)].text for i in range(args.queries)]
    report = Report(args.rounds)
    report.notes += [
        f"{len(texts):,} passages: {len(own):,} of {real.key}, the others repeat them with {CHANGED:.0%} of the words replaced",
        f"{len(asked):,} questions, {len(set(asked)):,} distinct; top {DEPTH}; {min(SINGLE, len(asked))} asked one by one",
        f"vectors of repeated passages: that of the original plus Gaussian noise of {NOISE:g} of its length; not encoded",
    ]
    queries, vectors = encode_stage(report, args, own, asked)
    vectors = spread(vectors, args.passages, args.seed)
    bm25_stage(report, texts, asked, "bigrams" if "ko" in real.language else "words", folder / "bm25")
    dense_stage(report, queries, vectors, folder / "index")
    return {
        "pool": {"passages": len(texts), "own": len(own), "queries": len(asked), "width": vectors.shape[1]},
        "stages": report.stages,
        "indexes": report.indexes,
        "ratios": report.ratios,
        "notes": report.notes,
        "data_files": real.files,
        **setting(),
    }


def fill(own: Sequence[str], count: int, seed: int) -> list[str]:
    """``count`` texts: own first, then own again and again, each time with other words in some places."""
    draw = random.Random(seed)
    known = [word for text in own for word in text.split()]
    texts = list(own)
    while len(texts) < count:
        words = own[len(texts) % len(own)].split()
        for place in draw.sample(range(len(words)), max(1, round(CHANGED * len(words)))):
            words[place] = draw.choice(known)
        texts.append(" ".join(words))
    return texts


def spread(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(n, D) of the own passages -> (count, D) fp32: those, then theirs with noise, made as long as they were."""
    noise = np.random.default_rng(seed)
    out = vectors[np.arange(count) % len(vectors)].astype(np.float32)
    for row in out[len(vectors) :]:
        length = np.linalg.norm(row)
        row += noise.normal(size=len(row)).astype(np.float32) * (NOISE * length / len(row) ** 0.5)
        row *= length / max(float(np.linalg.norm(row)), 1e-12)
    return out


def encode_stage(
    report: Report, args: argparse.Namespace, own: Sequence[str], asked: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of the questions, which is timed, and of the own passages, which is not."""
    from sbert.model import modelWithPooling

    model = modelWithPooling.from_pretrained(args.model)
    say(f"encoding {len(own):,} passages")
    vectors = model.encode_document(own)
    one = one_by_one(model.encode_query, asked)
    distinct = list(dict.fromkeys(asked))
    started = time.perf_counter()
    encoded = dict(zip(distinct, model.encode_query(distinct), strict=True))
    seconds = time.perf_counter() - started
    report.stage("question encoding", one, [1000 * seconds / len(distinct)])
    return np.stack([encoded[text] for text in asked]), vectors


def bm25_stage(report: Report, texts: Sequence[str], asked: list[str], analyzer: str, folder: Path) -> None:
    """Our BM25 beside bm25s itself, which is given the same terms; both times with finding the terms."""
    import bm25s

    analyze = make_analyzer(analyzer)
    started = time.perf_counter()
    ours = BM25(texts, analyzer, K1, B)
    built = time.perf_counter() - started
    direct = bm25s.BM25(method="lucene", k1=K1, b=B)
    seconds = clock(lambda: direct.index(analyze(texts), show_progress=False))
    direct.save(str(folder), show_progress=False)
    size = bytes_of(folder)
    report.indexes += [
        {"index": f"bm25 ({analyzer})", "build_s": built, "bytes": size},
        {"index": "bm25s directly", "build_s": seconds, "bytes": size},
    ]
    report.notes.append(
        "bm25 has no file of its own: the size is that of the same arrays as bm25s saves them"
    )
    k = min(DEPTH, len(texts))

    def retrieve(some: list[str]) -> Any:
        return direct.retrieve(analyze(some), k=k, show_progress=False)

    same_scores(ours.search(asked[:SINGLE], k), retrieve(asked[:SINGLE]).scores)
    turns = in_turn(report.rounds, lambda: ours.search(asked, k), lambda: retrieve(asked))
    report.stage("bm25", one_by_one(lambda x: ours.search(x, k), asked), per_question(turns[0], len(asked)))
    report.stage("bm25s directly", one_by_one(retrieve, asked), per_question(turns[1], len(asked)))
    report.compare("bm25", "bm25s directly", turns)


def same_scores(ours: Ranking, theirs: np.ndarray) -> None:
    """Raises RunError where bm25s, used directly, gives the best passages other scores: not the same work."""
    for i, (own, other) in enumerate(zip(ours.scores, theirs, strict=True)):
        if not np.allclose(own, other[: len(own)], rtol=1e-4, atol=1e-5):
            raise RunError(
                f"bm25 and bm25s used directly score question {i} differently: {own[:3]}, {other[:3]}"
            )


def dense_stage(report: Report, queries: np.ndarray, vectors: np.ndarray, folder: Path) -> None:
    """Exact search on the saved index, and FAISS where it is installed."""
    started = time.perf_counter()
    save_index(folder, vectors, [str(i) for i in range(len(vectors))], "bench")
    index = load_index(folder, "bench")
    search = partial(index.search, k=DEPTH)
    exact = search(queries)  # the first search computes the norms
    report.indexes.append(
        {
            "index": "exact (embeddings.npy)",
            "build_s": time.perf_counter() - started,
            "bytes": (folder / "embeddings.npy").stat().st_size,
            "recall@10": 1.0,
            "recall@100": 1.0,
        }
    )
    report.notes.append("build of the exact index: writing, opening and one search, which computes the norms")
    report.notes.append(
        "recall among near copies of a passage, as here, is lower than among distinct passages"
    )
    if importlib.util.find_spec("faiss") is None:
        report.notes.append("FAISS: not run here (pip install faiss-cpu)")
        [spent] = in_turn(report.rounds, partial(search, queries))
        report.stage("exact search", one_by_one(search, queries), per_question(spent, len(queries)))
        return
    for kind in KINDS:
        faiss_stage(report, kind, index, queries, exact, folder)


def faiss_stage(
    report: Report, kind: str, index: Index, queries: np.ndarray, exact: Ranking, folder: Path
) -> None:
    """One FAISS index. The flat one takes turns with exact search, and is then called without our wrapper."""
    say(f"building faiss {kind}")
    started = time.perf_counter()
    found = build(kind, index.embeddings, index.similarity)
    seconds, name = time.perf_counter() - started, f"faiss {kind}"
    found_by = partial(found.search, k=DEPTH)
    if found.kind != kind:
        report.notes.append(f"{name}: {len(found):,} passages are too few to train on, so not run here")
        return
    if kind == "flat":
        unit = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
        search = partial(index.search, k=DEPTH)
        turns = in_turn(
            report.rounds, partial(search, queries), lambda: found.index.search(unit, min(DEPTH, len(found)))
        )
        report.stage("exact search", one_by_one(search, queries), per_question(turns[0], len(queries)))
        report.compare("exact search", "faiss flat directly", turns)
        spent = turns[1]
    else:
        [spent] = in_turn(report.rounds, partial(found_by, queries))
    report.stage(name, one_by_one(found_by, queries), per_question(spent, len(queries)))
    ranking = found_by(queries)
    report.indexes.append(
        {
            "index": name,
            "build_s": seconds,
            "bytes": save_approximate(folder, found).stat().st_size,
            "recall@10": recall_against(exact, ranking, 10),
            "recall@100": recall_against(exact, ranking, 100),
            "parameters": found.parameters,
        }
    )


def one_by_one(work: Callable[[Any], Any], asked: Any) -> list[float]:
    """Milliseconds of each of the first questions (texts or vectors), asked alone."""
    return [1000 * clock(partial(work, asked[i : i + 1])) for i in range(min(SINGLE, len(asked)))]


def clock(work: Callable[[], Any]) -> float:
    """Seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def in_turn(rounds: int, *sides: Callable[[], Any]) -> list[list[float]]:
    """Seconds of each side, of each round: A B A B."""
    spent: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for own, work in zip(spent, sides, strict=True):
            time.sleep(PAUSE)
            own.append(clock(work))
    return spent


def per_question(seconds: Sequence[float], count: int) -> list[float]:
    """Milliseconds."""
    return [1000 * x / count for x in seconds]


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def setting() -> dict[str, Any]:
    """Threads and versions of this process."""
    import torch

    from sbert.run import environment

    versions = {name: value for name, value in environment().items() if name != "commit"}
    for package in ("bm25s", "faiss-cpu"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {"threads_used": torch.get_num_threads(), "device": "cpu", "versions": versions}


def say(text: str) -> None:
    print(f"search: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    raise SystemExit(main(sys.argv[1:]))
