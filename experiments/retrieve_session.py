"""The models, searches and questions of one ``python -m experiments.retrieve``."""

import argparse
import logging
import random
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

import data
from data.retrieval import load_corpus
from experiments.retrieve import RUN_FILES
from sbert import distributed, ranks
from sbert.atomic import settle
from sbert.build import resolve_device
from sbert.cross_encoder import CrossEncoder
from sbert.encoder import find_model
from sbert.errors import RunError
from sbert.evaluation.retrieval import relevant_positions
from sbert.retrieval.approximate import Approximate, build, file_of, load_approximate, save_approximate
from sbert.retrieval.dense import DensePool, encode_pool, load_pool, save_pool
from sbert.retrieval.index import fingerprint_of
from sbert.retrieval.pipeline import (
    DenseStage,
    Found,
    Reranked,
    SparseStage,
    hangul_share,
    joined,
    rerank,
    search_all,
)
from sbert.retrieval.sparse import make_analyzer
from sbert.run import set_up_logging
from sbert.towers import TwoTowers, load_bi_encoder

if TYPE_CHECKING:
    from sbert.retrieval.dense import BiEncoder

log = logging.getLogger("sbert")

CHUNK = 1000  # questions searched at a time: bounds the memory of a fusion over the whole pool
IN_RUN_FILE = 1000  # passages of a list that are written, as is the custom of TREC
IN_METRICS = 100  # those that metrics look at
HANGUL = 0.1  # share of the letters from which on a text of unknown language is taken to be Korean

OWN_FLAGS = (
    "data_dir",
    "index",
    "output",
    "record",
    "device",
    "threads",
)  # of each process, or of its machine


@dataclass
class Session:
    """The models and flags of one command, and what is worth telling about how they were used."""

    args: argparse.Namespace
    model: "BiEncoder | None"
    cross: CrossEncoder | None
    names: list[str]  # retrievers that search here, without run files
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def start(cls, args: argparse.Namespace) -> "Session":
        set_up_logging()
        if args.threads:
            torch.set_num_threads(args.threads)
        device = resolve_device(args.device)
        distributed.start(device)
        distributed.check_alike(
            {name: str(value) for name, value in vars(args).items() if name not in OWN_FLAGS}
        )
        names = [name for name in args.retriever if not name.endswith(RUN_FILES)]
        model = cross = None
        if {"dense", "hybrid", "rrf"} & set(names) or args.analyzer == "model":
            model = load_bi_encoder(args.model, max_length=args.max_length, device=device)
            if args.similarity:
                model.description.similarity = args.similarity
        if args.rerank is not None:
            cross = CrossEncoder.from_pretrained(args.rerank, device=device)
            if cross.fresh or cross.num_labels != 1:
                raise RunError(f"--rerank {args.rerank}: not a trained cross-encoder of one score a pair")
        session = cls(args, model, cross, names)
        session.facts["device"] = str(device)
        for role, one in (("model", model), ("rerank", cross)):
            if one is not None:
                session.facts[role] = {**one.facts, "max_length": one.max_length}
        if model is not None:
            session.facts["model"]["towers"] = "separate" if isinstance(model, TwoTowers) else "shared"
            session.facts["model"]["similarity"] = model.description.similarity
        return session

    def analyzer(self, dataset: data.RetrievalSet) -> str:
        """The name of the analyzer, "auto" resolved."""
        if self.args.analyzer != "auto":
            return str(self.args.analyzer)
        if dataset.language == "unknown":
            korean = hangul_share(dataset.texts[:1000]) > HANGUL
        else:
            korean = "ko" in dataset.language.split("+")
        return "bigrams" if korean else "words"

    def analyze(self, dataset: data.RetrievalSet) -> Any:
        return make_analyzer(self.analyzer(dataset), self.model.tokenizer if self.model else None)

    def stages(self, dataset: data.RetrievalSet, index: Path | None) -> "Stages":
        """Analyzes and encodes the passages, as far as the retrievers asked for need it."""
        sparse = dense = None
        if {"bm25", "hybrid", "rrf"} & set(self.names):
            sparse = SparseStage(dataset.texts, self.analyze(dataset))
        if {"dense", "hybrid", "rrf"} & set(self.names):
            assert self.model is not None
            if (dim := self.args.truncate_dim) is not None and dim > self.model.width:
                raise RunError(f"--truncate-dim {dim}: the embeddings have {self.model.width} dimensions")
            pool = self.pool(dataset, index).truncated(self.args.truncate_dim)
            search = None if self.args.search == "exact" else self.approximate(pool, index).search
            dense = DenseStage(self.model, pool, window_search=search, precision=self.args.precision)
        return Stages(dataset.passages, sparse, dense)

    def pool(self, dataset: data.RetrievalSet, index: Path | None) -> DensePool:
        """Encoded passages, from the index where there is one."""
        assert self.model is not None
        args, passages = self.args, list(zip((p.id for p in dataset.passages), dataset.texts, strict=True))
        made = {"long": args.long, "stride": args.stride, "precision": args.precision}
        fingerprint = ""
        if index is not None:
            fingerprint = model_fingerprint(args, self.model)
            if ranks.is_first():
                settle(index)
            if distributed.from_first((index / "index.json").exists()):
                return load_pool(index, passages, fingerprint, made, self.model.description.similarity)
        log.info("encoding %s passages", f"{len(passages):,}")
        pool = encode_pool(
            self.model,
            dataset.texts,
            stride=args.stride,
            truncate=args.long == "truncate",
            precision=args.precision,
            progress=True,
        )
        if index is not None and ranks.is_first():
            save_pool(index, pool, passages, fingerprint, made)
        return pool

    def approximate(self, pool: DensePool, index: Path | None) -> Approximate:
        """The FAISS index of a pool; kept beside an index on disk, where all its dimensions are used."""
        kind, folder = self.args.search, index if self.args.truncate_dim is None else None
        if folder is not None and file_of(folder, kind, pool.similarity).is_file():
            rows, width = pool.embeddings.shape
            found = load_approximate(folder, kind, rows, width, pool.similarity)
        else:
            started = time.perf_counter()
            found = build(kind, pool.embeddings, pool.similarity)
            seconds = time.perf_counter() - started
            self.notes.append(f"{found.kind} index of {len(found):,} vectors built in {seconds:.1f} s")
            if folder is not None and ranks.is_first():
                save_approximate(folder, found)
        self.facts["approximate"] = {"kind": found.kind, **found.parameters}
        return found

    def search(self, dataset: data.RetrievalSet, stages: "Stages", weight: float) -> dict[str, Found]:
        """Of every retriever that searches here, what it finds for the questions of a set."""
        texts = [question.text for question in dataset.questions]
        kept = max(IN_RUN_FILE if self.args.output else IN_METRICS, self.args.depth)
        parts: dict[str, list[Found]] = {name: [] for name in self.names}
        with tqdm(
            total=len(texts), unit=" questions", disable=None if ranks.is_first() else True, leave=False
        ) as bar:
            for start in range(0, len(texts), CHUNK):
                some = texts[start : start + CHUNK]
                options = {"sparse": stages.sparse, "dense": stages.dense, "weight": weight}
                found = search_all(self.names, some, self.args.k, **options)  # type: ignore[arg-type]
                for name, part in found.items():
                    parts[name].append(part.cut(kept))
                bar.update(len(some))
        return {name: joined(found) for name, found in parts.items()}

    def rerank(self, dataset: data.RetrievalSet, first: dict[str, Found]) -> Reranked:
        assert self.cross is not None
        log.info("re-ranking with %s", self.args.rerank)
        return rerank(
            self.cross,
            [question.text for question in dataset.questions],
            first,
            dataset.texts,
            self.args.depth,
            analyzer=self.analyze(dataset),
            precision=self.args.precision,
            progress=True,
        )


@dataclass(frozen=True)
class Stages:
    """The searches over one pool of passages."""

    passages: list[data.Passage]
    sparse: SparseStage | None
    dense: DenseStage | None


def model_fingerprint(args: argparse.Namespace, model: "BiEncoder") -> str:
    """Of the encoder that reads the passages (sbert.towers.towers_fingerprint says why that one)."""
    folder = find_model(args.model)
    folder = folder / "document" if isinstance(model, TwoTowers) else folder
    return fingerprint_of(folder, max_length=args.max_length)


def load_set(args: argparse.Namespace) -> data.RetrievalSet:
    """The set with the questions to be asked: all of a split, a sample of them, or those of --query."""
    if args.corpus is not None:
        return load_corpus(args.corpus, args.query)
    dataset = data.load_retrieval(args.data, args.split, data_dir=args.data_dir)
    if args.query is not None:
        asked = [data.Question(str(i), text) for i, text in enumerate(args.query, start=1)]
        return replace(dataset, questions=asked, relevant={})
    return sampled(dataset, args.sample)


def sampled(dataset: data.RetrievalSet, count: int | None) -> data.RetrievalSet:
    """At most ``count`` of the questions: the same ones every time, in their order."""
    if count is None or count >= len(dataset):
        return dataset
    return dataset.questions_only(sorted(random.Random(0).sample(range(len(dataset)), count)))


def relevant_of(dataset: data.RetrievalSet) -> list[dict[int, float]]:
    questions, passages = [q.id for q in dataset.questions], [p.id for p in dataset.passages]
    return relevant_positions(questions, passages, dataset.relevant)
