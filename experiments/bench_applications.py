"""Paraphrase mining and community detection beside sentence-transformers' functions: flags, processes, table.

    python -m experiments.bench applications --peer-python .venv-peers/bin/python       # 50,000 sentences of nli-en
    python -m experiments.bench applications --data samples-sts-en --sentences 80 --rounds 1         # to try it out

The sentences are drawn from a set and encoded once, by us; both sides read the same vectors. Every measurement is a
process of its own (ours in experiments.bench_applications_worker, the peer's in experiments/peers), so that its peak
memory is its own: the figure is what the process grew by after the vectors were read. Both sides run with the peer's
defaults: top_k 100, 500,000 pairs; threshold 0.75, at least 10 texts. What was found is compared.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from experiments.bench_summary import SIDES, summary
from sbert.errors import RunError, UsageError
from sbert.jsonfile import read_json
from sbert.report import table

DATA, SENTENCES = "nli-en-train", 50_000
JOBS = ("paraphrases", "communities")
SETTINGS = ("data", "sentences", "model", "rounds", "seed")
ELSEWHERE = (
    "task",
    "precision",
    "updates",
    "batch_size",
    "num_layers",
    "lr",
    "device",
    "limit",
    "backend",
    "no_limit",
    "passages",
    "queries",
)


def check(args: argparse.Namespace, defaults: Mapping[str, Any]) -> None:
    """Flags of applications only, and those that it does not have. defaults: of every flag. Raises UsageError."""
    for name in ELSEWHERE if args.what == "applications" else ("sentences",):
        if getattr(args, name) != defaults[name]:
            raise UsageError(f"--{name.replace('_', '-')}: not a flag of {args.what}")


def measure_applications(args: argparse.Namespace, env: Mapping[str, str], root: Path) -> dict[str, Any]:
    """Every job, round by round ours and the peer's, and how far they found the same. Raises RunError."""
    worker = [sys.executable, "-m", "experiments.bench_applications_worker"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = ["--data", args.data, "--sentences", str(args.sentences), "--seed", str(args.seed)]
        words += ["--model", args.model] + (["--data-dir", args.data_dir] if args.data_dir else [])
        found: dict[str, Any] = _run([*worker, "encode", "--folder", name, *words], env, root)
        programs = {"ours": worker}
        if args.peer_python:
            programs["peer"] = [args.peer_python, str(root / "experiments/peers/applications_peer.py")]
        found["jobs"] = []
        for job in JOBS:
            rounds = []
            for number in range(1, args.rounds + 1):
                once = {
                    side: _run([*program, job, "--folder", name], env, root)
                    for side, program in programs.items()
                }
                rounds.append(once)
                said = ", ".join(f"{side} {measured['seconds']:.2f} s" for side, measured in once.items())
                print(f"{job}, round {number}/{args.rounds}: {said}", file=sys.stderr)
            found["jobs"].append(summarized(job, rounds) | agreement(job, folder))
    return found


def _run(words: Sequence[str], env: Mapping[str, str], root: Path) -> dict[str, Any]:
    """One process to its end; its last line is its measurement, its progress and last words go to standard error."""
    done = subprocess.run(words, cwd=root, env=dict(env), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        name = Path(words[1]).name if words[1] != "-m" else words[2]
        raise RunError(f"{name} ended with {done.returncode}; what it said stands above")
    return json.loads(done.stdout.strip().splitlines()[-1])


def summarized(job: str, rounds: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Seconds of each side; the peer's over ours, round by round: above 1 where ours is faster; the peak memory."""
    out: dict[str, Any] = {"job": job, "rounds": list(rounds)}
    for side in SIDES:
        found = [once[side] for once in rounds if side in once]
        if found:
            out[side] = {
                **summary([measured["seconds"] for measured in found]),
                "peak_bytes": median(measured["peak_bytes"] for measured in found),
                "found": found[-1]["found"],
            }
    ratios = [once["peer"]["seconds"] / once["ours"]["seconds"] for once in rounds if "peer" in once]
    return out | ({"ratio": {**summary(ratios), "rounds": ratios}} if ratios else {})


def agreement(job: str, folder: Path) -> dict[str, Any]:
    """What both sides found: {"same": how many, "only_ours", "only_peer"}; nothing where ours ran alone."""
    files = [folder / f"{side}-{job}.json" for side in SIDES]
    if not files[1].exists():
        return {}
    ours, peer = ({tuple(row) for row in read_json(file, list)} for file in files)
    return {"same": len(ours & peer), "only_ours": len(ours - peer), "only_peer": len(peer - ours)}


def applications_table(found: Mapping[str, Any]) -> str:
    """One row a job and side, then how far both found the same."""
    rows, said = [], []
    for job in found["jobs"]:
        for side in (side for side in SIDES if side in job):
            one = job[side]
            seconds = [f"{one[name]:.2f}" for name in ("median", "min", "max")]
            ratio = f"{job['ratio']['median']:.2f}" if side == "ours" and "ratio" in job else "-"
            rows.append(
                [job["job"], side, *seconds, ratio, f"{one['peak_bytes'] / 1e6:.0f}", f"{one['found']:,}"]
            )
        if "same" in job:
            said.append(
                f"{job['job']}: {job['same']:,} found by both, {job['only_ours']:,} by ours alone, "
                f"{job['only_peer']:,} by the peer alone"
            )
    header = ["job", "side", "seconds", "min", "max", "peer / ours", "peak MB", "found"]
    counted = f"{found['sentences']:,} sentences of {found['set']}, {found['width']} dimensions"
    return "\n\n".join([table(header, rows), "\n".join([*said, counted])])
