"""Speed beside sentence-transformers: the same rows and settings, in turn (ours, peer, ours, peer), in fresh processes. A round
takes every precision and backend once.

    make bench-peers                                                 # the peer's own environment, once
    python -m experiments.bench encode --peer-python .venv-peers/bin/python
    python -m experiments.bench train --task stsb --updates 300 --peer-python .venv-peers/bin/python
    python -m experiments.bench train --task nli --num-layers 4      # ours alone
    python -m experiments.bench rerank --model runs/x/model --peer-python .venv-peers/bin/python
    python -m experiments.bench search                               # beside bm25s and FAISS: experiments.bench_search
    python -m experiments.bench applications --peer-python .venv-peers/bin/python     # experiments.bench_applications

rerank scores the pairs of an STS set with a cross-encoder (--head native, or on ELECTRA: the peer reads no other), or, of
--task squad-passages, each question with the first 20 passages that BM25 finds for it.
encode --task squad-passages takes long texts. --backend measures ours, in the last --precision, beside the peer's other
backends as well, each with the interpreter that has it (make bench-backends): openvino, onnx, onnx-int8.
Ours is also put beside the limit of the machine, and profiled: experiments.bench_limit.

Equal on both sides: model, rows (one file read by both), batch size, updates, learning rate and its schedule, weight
decay, clipping, seed, threads. Each side's own: how it batches. Ours groups by length when training and fills a token
budget when encoding; the peer takes the batches of its trainer and of model.encode(). Timed is the work with its
tokenizing, without loading the model, after a warm-up.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from data.examples import DataError, DataSet
from data.files import sha256_of, write_text_atomically
from data.retrieval import RetrievalSet
from experiments import bench_applications, bench_search
from experiments.bench_flags import ROOT, TASKS, build_parser, check, cores
from experiments.bench_summary import against_default, bench_table, summarize
from sbert.errors import RunError, UsageError

PEERS = Path(__file__).resolve().parent / "peers"
CANDIDATES = 20  # passages of a question that a re-ranker reads
SETTINGS = (
    "model",
    "batch_size",
    "updates",
    "num_layers",
    "lr",
    "seed",
    "device",
    "unpadded",
    "limit",
    "rounds",
)


def main(argv: Sequence[str]) -> int:
    try:
        args = build_parser().parse_args(argv)
        check(args)
        return run(args, argv)
    except UsageError as error:
        print(f"experiments.bench: error: {error}", file=sys.stderr)
        return 2
    except (RunError, DataError) as error:
        print(f"experiments.bench: error: {error}", file=sys.stderr)
        return 1


def run(args: argparse.Namespace, argv: Sequence[str]) -> int:
    """All cells (task x precision) or stages of search, a table, one JSON. What was measured before a failure is in NAME.partial.json."""
    from sbert.encoder import find_model
    from sbert.run import commit

    partial = args.output.with_suffix(".partial.json")
    record: dict[str, Any] = {
        "command": ["python", "-m", "experiments.bench", *shown(argv)],
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": commit(),
        "processor": processor(),
        "cores": cores(),
        "threads": args.threads,
        "settings": {name: getattr(args, name) for name in SETTINGS},
    }
    if args.model != "minilm" and os.path.isdir(args.model):
        record["settings"]["model"] = Path(args.model).name
    args.model = str(find_model(args.model).resolve())
    if args.what == "search":
        return run_search(args, record)
    if args.what == "applications":
        return run_applications(args, record)
    record["cells"] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.task:
            path = Path(folder) / f"{name}.json"
            work = write_rows(args, name, path)
            pairs = [(precision, "torch") for precision in args.precision]
            pairs += [(args.precision[-1], backend) for backend in args.backend]
            cells = [{"task": name, "precision": p, "backend": b, **work, "rounds": []} for p, b in pairs]
            record["cells"] += cells
            for number in range(1, args.rounds + 1):
                for cell in cells:
                    cell["rounds"].append(measure_round(args, path, cell, work, folder))
                    cell["summary"] = summarize(cell["rounds"])
                    _write(partial, record)
                    print(progress_line(args, cell, number), file=sys.stderr)
            for cell in cells:
                if cell["backend"] == "torch" and args.device == "cpu" and not args.no_limit:
                    add_limit(args, path, cell, work)
    record["ours_over_peer_default"] = against_default(record["cells"])
    _write(args.output, record)
    partial.unlink(missing_ok=True)
    print(bench_table(args.what, record["cells"], record["ours_over_peer_default"]))
    print(f"\n{processor()}, {args.threads} threads, {args.rounds} rounds; written to {args.output}")
    return 0


def run_search(args: argparse.Namespace, record: dict[str, Any]) -> int:
    names = {"data": Path(args.data).name, "model": record["settings"]["model"]}  # no paths of this machine
    record["settings"] = {name: getattr(args, name) for name in bench_search.SETTINGS} | names
    found = bench_search.measure_search(args, environment_of(args.threads), ROOT)
    _write(args.output, record | found)
    print(bench_search.search_tables(found))
    print(f"\n{processor()}, {args.threads} threads, {args.rounds} rounds; written to {args.output}")
    return 0


def run_applications(args: argparse.Namespace, record: dict[str, Any]) -> int:
    names = {"data": Path(args.data).name, "model": record["settings"]["model"]}  # no paths of this machine
    record["settings"] = {name: getattr(args, name) for name in bench_applications.SETTINGS} | names
    found = bench_applications.measure_applications(args, environment_of(args.threads), ROOT)
    _write(args.output, record | found)
    print(bench_applications.applications_table(found))
    print(f"\n{processor()}, {args.threads} threads, {args.rounds} rounds; written to {args.output}")
    return 0


def write_rows(args: argparse.Namespace, name: str, path: Path) -> dict[str, Any]:
    """The file both sides read, and what the record says about it."""
    import data

    task = TASKS[name]
    splits = {s: data.load(task.sts, s, data_dir=args.data_dir) for s in ("train", "dev", "test")}
    quality = "dev" if args.what == "train" else "test"
    used: list[Any] = list(splits.values())
    metric = "spearman" if args.what == "rerank" else "spearman_cosine"
    work: dict[str, Any] = {"quality_of": f"{splits[quality].key}/{metric}"}
    content: dict[str, Any] = {split: columns(dataset) for split, dataset in splits.items()}
    if args.what == "encode" and task.passages:
        pool = data.load_retrieval(task.passages, "test", data_dir=args.data_dir)
        content["sentences"] = [passage.text for passage in pool.passages][: args.limit or None]
        used = [splits["test"], pool]
        work |= {"sentences": len(content["sentences"])}
    elif args.what == "encode":
        texts = dict.fromkeys(text for s in used for example in s.examples for text in example.texts)
        content["sentences"] = list(texts)[: args.limit or None]
        work |= {"sentences": len(content["sentences"])}
    elif args.what == "rerank" and task.passages:
        pool = data.load_retrieval(task.passages, "test", data_dir=args.data_dir)
        content["pairs"] = list(islice(candidates(pool), args.limit or None))
        used = [splits["test"], pool]
        work |= {"pairs": len(content["pairs"])}
    elif args.what == "rerank":
        pairs = dict.fromkeys((e.texts[0], e.texts[1]) for s in used for e in s.examples)
        content["pairs"] = list(pairs)[: args.limit or None]
        work |= {"pairs": len(content["pairs"])}
    else:
        from sbert.flags import Flags
        from sbert.plan import load_sets

        limit = min((n for n in (args.limit, args.updates * args.batch_size) if n), default=0)
        flags = Flags(data_dir=args.data_dir)
        train = load_sets([task.train], "train", flags, limit=limit, seed=args.seed)[0]
        assert isinstance(train, data.DataSet)
        used = [train, splits["dev"]]
        content = {"dev": content["dev"], "train": columns(train), "task": train.task}
        per_epoch = math.ceil(len(train) / args.batch_size)
        updates = args.updates or per_epoch
        work |= {"rows": len(train), "updates": updates, "epochs": math.ceil(updates / per_epoch)}
    path.write_text(json.dumps(content), encoding="utf8")
    hashes = {file: sha for s in used for file, sha in s.files.items()}
    return {**work, "rows_sha256": sha256_of(path), "data": hashes}


def candidates(pool: RetrievalSet) -> Iterator[tuple[str, str]]:
    """(question, passage): what a re-ranker is given, the first CANDIDATES passages of BM25 for question after question."""
    from sbert.retrieval.sparse import BM25

    texts = [passage.text for passage in pool.passages]
    bm25 = BM25(texts, "bigrams" if "ko" in pool.language else "words")
    for question in dict.fromkeys(question.text for question in pool.questions):
        for row in bm25.search([question], CANDIDATES).ids[0]:
            yield question, texts[row]


def columns(dataset: DataSet) -> dict[str, list[Any]]:
    """first, second: sentences; labels: scores in 0..1 or class ids."""
    return {
        "first": [example.texts[0] for example in dataset.examples],
        "second": [example.texts[1] for example in dataset.examples],
        "labels": [example.label for example in dataset.examples],
    }


def worker_flags(args: argparse.Namespace, rows: Path, precision: str, work: Mapping[str, Any]) -> list[str]:
    """What every process of a cell is told."""
    flags = ["--rows", str(rows), "--model", args.model, "--precision", precision, "--device", args.device]
    flags += ["--batch-size", str(args.batch_size)]
    if args.num_layers:
        flags += ["--num-layers", str(args.num_layers)]
    if args.what == "train":
        flags += ["--epochs", str(work["epochs"]), "--updates", str(work["updates"])]
        flags += ["--lr", str(args.lr), "--seed", str(args.seed)]
    return flags


def measure_round(
    args: argparse.Namespace, rows: Path, cell: Mapping[str, Any], work: Mapping[str, Any], folder: str
) -> dict[str, Any]:
    """Ours, then the peer. Raises RunError when a process fails or the two did not do the same work."""
    flags = worker_flags(args, rows, cell["precision"], work)
    own = ["--unpadded", args.unpadded]  # the peer has no such flag
    words = [sys.executable, "-m", "experiments.bench_worker", args.what, *own, *flags]
    sides = {"ours": measure(words, args.threads, str(ROOT))}
    backend = cell["backend"]
    python = args.backend.get(backend, args.peer_python)
    if python:
        words = [python, str(PEERS / f"{args.what}_peer.py"), *flags]
        words += ["--backend", backend] if args.what == "encode" else []
        sides["peer"] = measure(words, args.threads, folder)
        for name in ("threads", "device", "updates"):
            ours, peer = (sides[side].get(name) for side in ("ours", "peer"))
            if ours != peer:
                raise RunError(f"not the same work: {name} is {ours} on our side, {peer} on the peer's")
    return sides


def add_limit(args: argparse.Namespace, rows: Path, cell: dict[str, Any], work: Mapping[str, Any]) -> None:
    """What the machine could do, the share of it that ours reached, and where the rest goes; of BERT's shapes only."""
    flags = worker_flags(args, rows, cell["precision"], work)
    words = [sys.executable, "-m", "experiments.bench_limit", args.what, *flags]
    found = measure(words, args.threads, str(ROOT))
    seconds = statistics.median(found_round["ours"]["seconds"] for found_round in cell["rounds"])
    cell |= found
    cell["share_of_limit"] = found["limit"]["seconds"] / seconds


def measure(words: Sequence[str], threads: int, folder: str) -> dict[str, Any]:
    """Runs one process to its end; its last line is its measurement. Raises RunError with its last words."""
    done = subprocess.run(words, cwd=folder, env=environment_of(threads), capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise RunError(f"{' '.join(map(os.path.basename, words[1:4]))} ended with {done.returncode}: {last}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def environment_of(threads: int) -> dict[str, str]:
    """Of a measuring process: so many threads in every library, no network."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    libraries = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    env |= {name: str(threads) for name in libraries}
    return env | {"TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def progress_line(args: argparse.Namespace, cell: dict[str, Any], number: int) -> str:
    found = cell["rounds"][-1]
    speeds = ", ".join(f"{side} {found[side]['per_second']:,.1f}/s" for side in found)
    return f"{args.what} {cell['task']} {cell['precision']} {cell['backend']}, round {number}/{args.rounds}: {speeds}"


def shown(argv: Sequence[str]) -> list[str]:
    """The command for the record: absolute paths, which mean nothing elsewhere, keep their last part."""
    out = []
    for word in argv:
        flag, equals, value = word.partition("=") if "=" in word else ("", "", word)
        out.append(flag + equals + (f".../{Path(value).name}" if os.path.isabs(value) else value))
    return out


def processor() -> str:
    """The processor's name as Linux knows it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _write(path: Path, record: dict[str, Any]) -> None:
    try:
        write_text_atomically(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        print("experiments.bench: interrupted", file=sys.stderr)
        code = 130
    raise SystemExit(code)
