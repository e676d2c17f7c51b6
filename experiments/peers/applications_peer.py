"""Mine paraphrases or detect communities with sentence-transformers and print one line of JSON: the peer's half of
experiments.bench applications.

Only ever run by the peer's interpreter, never imported by this project; see encode_peer.py for its environment. Timed is
the library's function on vectors that lie in FOLDER/vectors.npy, with its defaults, after a warm-up.

    peers/bin/python experiments/peers/applications_peer.py paraphrases --folder FOLDER
"""

import argparse
import json
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import util

WARM_UP = 200  # vectors


def peak_bytes() -> int:
    """Most memory this process has held so far. Not ru_maxrss where it can be helped: on Linux that begins with what the parent
    held when it started this process. As experiments.bench_memory has it."""
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("what", choices=["paraphrases", "communities"])
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    run = util.paraphrase_mining_embeddings if args.what == "paraphrases" else util.community_detection
    vectors = torch.from_numpy(np.load(args.folder / "vectors.npy", allow_pickle=False))
    run(vectors[:WARM_UP])
    before = peak_bytes()
    started = time.perf_counter()
    result = run(vectors)
    seconds = time.perf_counter() - started
    grown = peak_bytes() - before
    found = [row[1:] for row in result] if args.what == "paraphrases" else [sorted(row) for row in result]
    (args.folder / f"peer-{args.what}.json").write_text(json.dumps(found), encoding="utf8")
    versions = {name: version(name) for name in ("sentence-transformers", "torch")}
    measured = {"seconds": seconds, "peak_bytes": grown, "found": len(found)}
    print(json.dumps(measured | {"threads": torch.get_num_threads(), "versions": versions}), flush=True)


if __name__ == "__main__":
    main()
