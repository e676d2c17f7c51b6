"""Our side of experiments.bench applications, in a process of its own: prints one line of JSON, progress to stderr.

python -m experiments.bench_applications_worker encode --folder F --data nli-en-train --sentences 1000 --model MODEL_DIRECTORY
python -m experiments.bench_applications_worker paraphrases --folder F
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.examples import DataError
from data.files import write_text_atomically
from experiments.bench_memory import peak_bytes
from sbert.errors import RunError

WARM_UP = 200  # vectors: the libraries start their threads


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench_applications_worker", allow_abbrev=False)
    parser.add_argument("what", choices=("encode", "paraphrases", "communities"))
    parser.add_argument("--folder", type=Path, required=True, help="for the vectors and what is found")
    parser.add_argument("--data")
    parser.add_argument("--data-dir")
    parser.add_argument("--sentences", type=int)
    parser.add_argument("--model", help="model directory")
    parser.add_argument("--seed", type=int, default=42)
    return parser


def main(argv: Sequence[str]) -> int:
    args = build_parser().parse_args(argv)
    try:
        measured = encode(args) if args.what == "encode" else measure(args.what, args.folder)
    except (RunError, DataError) as error:
        print(f"bench_applications_worker: error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(measured), flush=True)
    return 0


def encode(args: argparse.Namespace) -> dict[str, Any]:
    """Draws distinct sentences, encodes them, and leaves vectors.npy (N, D) fp32."""
    from sbert.applications.texts import read_texts
    from sbert.model import modelWithPooling
    from sbert.run import environment, set_up_logging

    set_up_logging()
    texts = read_texts(args.data, args.data_dir)
    distinct = list(dict.fromkeys(texts.texts))
    count = min(args.sentences, len(distinct))
    chosen = random.Random(args.seed).sample(distinct, count)
    vectors = modelWithPooling.from_pretrained(args.model).encode(chosen, progress=True)
    np.save(args.folder / "vectors.npy", vectors)
    facts = {"set": texts.name, "sentences": count, "width": vectors.shape[1], "data_files": texts.files}
    return facts | {"environment": {k: v for k, v in environment().items() if k != "commit"}}


def measure(job: str, folder: Path) -> dict[str, Any]:
    """Seconds, growth of the process beyond the vectors, and how much was found, which is left in ours-JOB.json."""
    from sbert.applications.communities import community_detection
    from sbert.applications.paraphrases import paraphrase_mining

    run = paraphrase_mining if job == "paraphrases" else community_detection
    vectors = np.load(folder / "vectors.npy", allow_pickle=False)
    run(vectors[:WARM_UP])
    before = peak_bytes()
    started = time.perf_counter()
    result = run(vectors)
    seconds = time.perf_counter() - started
    grown = peak_bytes() - before
    found = (
        np.stack(result[:2], axis=1).tolist()
        if job == "paraphrases"
        else [sorted(members) for members in result]
    )
    write_text_atomically(folder / f"ours-{job}.json", json.dumps(found))
    return {"seconds": seconds, "peak_bytes": grown, "found": len(found)}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
