"""What is fed: every reader, the flags of train.py, the files beside the weights, indexes, archives, checkpoints.

A target is a function of a random source that feeds one damaged input; ``Feed.last`` is what it was. An input is refused with one
of REFUSALS or taken; anything else is a fault.
"""

import gzip
import io
import json
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.corpus import stream_corpus
from data.download import read_member
from data.examples import DataError
from data.readers import READERS, RETRIEVAL_READERS
from data.readers.own import read_own
from data.readers.text import Raw
from data.retrieval import load_corpus, load_retrieval
from experiments.fuzz.mutate import mutated
from experiments.fuzz.seeds import (
    CORPUS,
    EXAMPLES,
    LINES,
    OWN,
    PASSAGES,
    QRELS,
    QUERIES,
    RETRIEVAL,
    RUN,
    VECTORS,
    WORDS,
)
from heads.embedding import Dense, Normalize
from sbert.checkpoint import load_checkpoint
from sbert.cross_directory import read_cross
from sbert.directory import read_description
from sbert.errors import RunError, UsageError
from sbert.flag_checks import parse
from sbert.flags import Flags
from sbert.model import modelWithPooling
from sbert.retrieval.dense import load_pool
from sbert.retrieval.index import SEAL, load_index
from sbert.retrieval.trec import read_run
from sbert.run import RunDirectory, stored_flags
from sbert.shards import read_shards
from sbert.static_vectors import read_vectors

REFUSALS = (DataError, RunError, UsageError)
Target = Callable[[random.Random], object]
DESCRIBES = (
    ".json",
    "2_Dense/model.safetensors",
)  # what says how a model is put together, without its encoder
EVERY_SEED = [seed for files in (*EXAMPLES.values(), *RETRIEVAL.values(), *OWN.values()) for seed in files]


@dataclass
class Feed:
    """The folder that inputs are written to, whole directories to damage (name -> files), and the input of now."""

    folder: Path
    whole: dict[str, dict[str, bytes]] = field(default_factory=dict)
    last: Any = None

    def raws(self, draw: random.Random, seeds: list[bytes]) -> list[Raw]:
        """The files of a split, one of them damaged."""
        hurt = draw.randrange(len(seeds))
        contents = [mutated(draw, s, EVERY_SEED) if i == hurt else s for i, s in enumerate(seeds)]
        self.last = contents
        return [Raw(f"{'stsb/' if i else ''}file{i}", f"file{i}", c, "") for i, c in enumerate(contents)]

    def file(self, draw: random.Random, name: str, seed: bytes) -> Path:
        self.last = mutated(draw, seed, EVERY_SEED)
        path = self.folder / name
        path.write_bytes(gzip.compress(self.last) if name.endswith(".gz") else self.last)
        return path

    def directory(self, draw: random.Random, name: str, names: tuple[str, ...] = ()) -> Path:
        """A copy of a whole directory with one of its files damaged, or removed. names: only these are."""
        files = self.whole[name]
        chosen = draw.choice(sorted(n for n in files if not names or n.endswith(names)))
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        hurt = None if draw.random() < 0.05 else mutated(draw, files[chosen], list(files.values()))
        self.last = (chosen, hurt)
        for file, content in files.items():
            path = place / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if file != chosen:
                path.write_bytes(content)
            elif hurt is not None:
                path.write_bytes(hurt)
        return place


def targets(feed: Feed) -> dict[str, tuple[int, Target]]:
    """Name -> (how often it is drawn, relative to the others; what is done)."""
    out: dict[str, tuple[int, Target]] = {}
    for name, read in READERS.items():
        out[f"reader {name}"] = 30, partial(_split, feed, read, EXAMPLES[name])
    for name, search in RETRIEVAL_READERS.items():
        out[f"reader {name}"] = 60, partial(_split, feed, search, RETRIEVAL[name])
    for suffix, seeds in OWN.items():
        out[f"own {suffix}"] = 80, partial(_own, feed, suffix, seeds)
    return out | {
        "flags": (60, lambda draw: parse(_argv(feed, draw))),
        "corpus .txt": (30, lambda draw: list(stream_corpus(feed.file(draw, "c.txt", LINES)))),
        "corpus .jsonl.gz": (30, lambda draw: list(stream_corpus(feed.file(draw, "c.jsonl.gz", PASSAGES)))),
        "corpus, whole": (30, lambda draw: load_corpus(feed.file(draw, "w.jsonl", PASSAGES), ["q"])),
        "beir folder": (20, lambda draw: load_retrieval(str(feed.directory(draw, "beir")), "test")),
        "run file": (40, lambda draw: read_run(feed.file(draw, "r.run", RUN))),
        "word vectors": (40, lambda draw: read_vectors(feed.file(draw, "v.vec", VECTORS))),
        "archive": (40, lambda draw: _archive(feed, draw)),
        "model description": (
            80,
            lambda draw: read_description(feed.directory(draw, "described", DESCRIBES)),
        ),
        "cross description": (40, lambda draw: read_cross(feed.directory(draw, "described", (".json",)))),
        "model directory": (4, lambda draw: modelWithPooling.from_pretrained(feed.directory(draw, "model"))),
        "index": (60, lambda draw: _index(feed.directory(draw, "index"))),
        "shards": (40, lambda draw: list(read_shards(feed.directory(draw, "shards")))),
        "checkpoint": (
            30,
            lambda draw: load_checkpoint(feed.directory(draw, "checkpoint"), torch.device("cpu")),
        ),
        "config of a run": (30, lambda draw: _resumed(feed.directory(draw, "run"))),
    }


def _split(
    feed: Feed, read: Callable[[list[Raw], str], object], seeds: list[bytes], draw: random.Random
) -> object:
    return read(feed.raws(draw, seeds), "test")


def _own(feed: Feed, suffix: str, seeds: list[bytes], draw: random.Random) -> object:
    return read_own(feed.raws(draw, [draw.choice(seeds)])[0], suffix)


def _argv(feed: Feed, draw: random.Random) -> list[str]:
    """Flags of train.py with values that are theirs, others', or nobody's."""
    out: list[str] = []
    names = [f.name.replace("_", "-") for f in fields_of(Flags)]
    for _ in range(draw.randint(0, 6)):
        out.append("--" + draw.choice(names) + draw.choice(("", "", "", "", "=1", "x")))
        out += [draw.choice(WORDS) for _ in range(draw.choice((0, 1, 1, 1, 2, 3)))]
    feed.last = out
    return out


def _archive(feed: Feed, draw: random.Random) -> bytes:
    packed = io.BytesIO()
    name = draw.choice(
        ("set/member.txt", "../member.txt", "/member.txt", "member.txt", "other", "caf\u00e9/member.txt")
    )
    if draw.random() < 0.5:
        how = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        with zipfile.ZipFile(packed, "w", how) as file:
            file.writestr(name, LINES)
        content = bytearray(packed.getvalue())
        if draw.random() < 0.1:  # "encrypted", in both of its headers
            for at in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
                content[at] |= 1
        return read_member(feed.file(draw, "a.bin", bytes(content)), "member.txt")
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size = len(LINES)
        if draw.random() < 0.3:
            keys = (
                "GNU.sparse.map",
                "GNU.sparse.size",
                "GNU.sparse.realsize",
                "GNU.sparse.major",
                "path",
                "size",
            )
            info.pax_headers = {
                draw.choice(keys): draw.choice(("0,0", "a,b", "zz", "1", "-1", str(2**50))) for _ in "ab"
            }
        tar.addfile(info, io.BytesIO(LINES))
    return read_member(feed.file(draw, "a.bin", packed.getvalue()), "member.txt")


def _index(folder: Path) -> object:
    """As experiments.retrieve opens one."""
    index = load_index(folder, None)
    load_pool(folder, [("a", "one"), ("b", "two")], index.fingerprint, {}, "cosine")
    return index.search(np.ones((1, index.width), dtype=np.float32), 1)


def _resumed(folder: Path) -> Flags:
    flags = Flags(resume=str(folder))
    with redirect_stderr(io.StringIO()):
        return stored_flags(RunDirectory(folder), flags, {"resume"})


def whole_directories(model: Path, scratch: Path) -> dict[str, dict[str, bytes]]:
    """What the loaders read, written by our own writers around a tiny model."""
    from sbert.checkpoint import save_checkpoint
    from sbert.retrieval.dense import DensePool, save_pool
    from sbert.shards import encode_corpus

    saved = scratch / "saved"
    loaded = modelWithPooling.from_pretrained(model)
    loaded.layers.extend([Dense(int(loaded.width), 4), Normalize()])
    loaded.save_pretrained(saved)
    rows = np.eye(2, 4, dtype=np.float32)
    pool = DensePool(rows, ["one", "two"], np.arange(2), "cosine")
    save_pool(scratch / "index", pool, [("a", "one"), ("b", "two")], "f" * 64, {})
    about = scratch / "index/index.json"  # without its own hash, by which alone every damage would be noticed
    about.write_text(json.dumps({k: v for k, v in json.loads(about.read_text()).items() if k != SEAL}))
    encode_corpus(
        lambda texts: rows[: len(texts)], [("a", "x"), ("b", "y")], scratch / "shards", {"fingerprint": "f"}
    )
    place = save_checkpoint(scratch / "checkpoints", 1, {"model": torch.nn.Linear(1, 1)}, {"stage": 0}, 0)
    run = scratch / "run"
    run.mkdir()
    flags = {f.name: getattr(Flags(), f.name) for f in fields_of(Flags)}
    (run / "config.json").write_text(json.dumps({"flags": flags, "precision": "fp32", "data": {}}))
    beir = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": QRELS}
    described = {n: c for n, c in _files(saved).items() if n.endswith(DESCRIBES) and "tokenizer" not in n}
    return {
        "beir": beir,
        "model": _files(saved),
        "described": described,
        "index": _files(scratch / "index"),
        "shards": _files(scratch / "shards"),
        "checkpoint": _files(place),
        "run": _files(run),
    }


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
