"""One measurement of our side, in a process of its own: reads a file of rows, prints one line of JSON.

Started by experiments.bench; experiments/peers holds the same for the peer, with the same flags. Timed is the work
alone: encoding or training with its tokenizing, without loading the model, after a warm-up.

python -m experiments.bench_worker encode --rows rows.json --model MODEL_DIRECTORY
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data import NLI_LABELS, DataSet, Example
from sbert.cross_encoder import CrossEncoder
from sbert.encode import encode
from sbert.evaluation import evaluate, similarity_metrics
from sbert.loop import Settings, fit
from sbert.model import modelWithPooling
from sbert.objectives import Objective, modelForClassificationTraining, modelForRegressionTraining
from sbert.predict import predict
from sbert.run import environment
from sbert.source import Source
from sbert.unpadded import pack_for_training

WARM_UP_SENTENCES, WARM_UP_UPDATES = 64, 2


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench_worker", allow_abbrev=False)
    parser.add_argument("what", choices=("encode", "train", "rerank"))
    parser.add_argument("--rows", required=True, help="JSON written by experiments.bench")
    parser.add_argument("--model", required=True, help="model directory")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--unpadded", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--num-layers", type=int)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=1, help="of the learning rate schedule")
    parser.add_argument("--updates", type=int, default=0, help="stop after so many")
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--warmup-ratio", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=42)
    return parser


def main(argv: Sequence[str]) -> int:
    args = build_parser().parse_args(argv)
    content = json.loads(Path(args.rows).read_text(encoding="utf8"))
    once = {"encode": encode_once, "train": train_once, "rerank": rerank_once}[args.what]
    measured = once(args, content)
    print(json.dumps({**measured, **setting(args)}), flush=True)
    return 0


def encode_once(args: argparse.Namespace, content: dict[str, Any]) -> dict[str, Any]:
    """Sentences a second over all distinct sentences, and the Spearman on the test rows of the same vectors."""
    model = modelWithPooling.from_pretrained(args.model, num_layers=args.num_layers, device=args.device)
    options = {"precision": args.precision, "unpadded": args.unpadded}
    sentences, test = content["sentences"], content["test"]
    encode(model, sentences[:WARM_UP_SENTENCES], **options)
    started = time.perf_counter()
    encoded = encode(model, sentences, **options)
    seconds = time.perf_counter() - started

    vectors = dict(zip(sentences, encoded.embeddings, strict=True))
    rest = [text for text in dict.fromkeys(test["first"] + test["second"]) if text not in vectors]
    if rest:  # --limit left them out
        vectors |= dict(zip(rest, encode(model, rest, **options).embeddings, strict=True))
    u, v = (np.stack([vectors[text] for text in test[side]]) for side in ("first", "second"))
    return {
        "count": len(sentences),
        "seconds": seconds,
        "per_second": len(sentences) / seconds,
        "quality": similarity_metrics(u, v, test["labels"])["spearman_cosine"],
        "padding_share": encoded.padding_share,
    }


def rerank_once(args: argparse.Namespace, content: dict[str, Any]) -> dict[str, Any]:
    """Pairs a second over all distinct pairs, and the Spearman of the scores of the test rows."""
    model = CrossEncoder.from_pretrained(args.model, num_layers=args.num_layers, device=args.device)
    if model.fresh or model.num_labels != 1:
        raise SystemExit(f"--model {args.model}: not a trained cross-encoder of one label")
    options = {"precision": args.precision, "unpadded": args.unpadded}
    pairs = [(first, second) for first, second in content["pairs"]]
    predict(model, pairs[:WARM_UP_SENTENCES], **options)
    started = time.perf_counter()
    predicted = predict(model, pairs, **options)
    seconds = time.perf_counter() - started
    test = _dataset("test", "sts", content["test"])
    return {
        "count": len(pairs),
        "seconds": seconds,
        "per_second": len(pairs) / seconds,
        "quality": evaluate(model, test, **options)["rows-test/spearman"],
        "padding_share": predicted.padding_share,
    }


def train_once(args: argparse.Namespace, content: dict[str, Any]) -> dict[str, Any]:
    """Examples a second of training at the project's defaults, and the Spearman on the dev rows afterwards."""
    train = _dataset("train", content["task"], content["train"])
    settings = Settings(
        epochs=args.epochs,
        batch_size=args.batch_size,
        lr=args.lr,
        head_lr=args.lr,  # the peer has one rate for everything
        weight_decay=args.weight_decay,
        warmup_ratio=args.warmup_ratio,
        precision=args.precision,
        seed=args.seed,
        max_updates=args.updates,
    )

    warm = _objective(args, content["task"])
    first = _dataset("train", content["task"], content["train"], rows=WARM_UP_UPDATES * args.batch_size)
    fit(warm.model, [Source.build(first, warm, warm.model)], replace(settings, epochs=1))

    torch.manual_seed(args.seed)
    objective = _objective(args, content["task"])
    started = time.perf_counter()
    source = Source.build(train, objective, objective.model)
    progress = fit(objective.model, [source], settings)
    seconds = time.perf_counter() - started

    sizes = [len(rows) for epoch in range(settings.epochs) for _, rows in settings.batches([source], epoch)]
    count = sum(sizes[: progress.update])
    dev = _dataset("dev", "sts", content["dev"])
    return {
        "count": count,
        "updates": progress.update,
        "seconds": seconds,
        "per_second": count / seconds,
        "quality": evaluate(objective.model, dev)[f"{dev.key}/spearman_cosine"],
    }


def setting(args: argparse.Namespace) -> dict[str, Any]:
    """Threads and versions of this process."""
    return {
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "versions": {name: value for name, value in environment().items() if name != "commit"},
    }


def _objective(args: argparse.Namespace, task: str) -> Objective:
    normalize = False if task == "nli" else None  # as train.py does for the classification objective
    model = modelWithPooling.from_pretrained(
        args.model, num_layers=args.num_layers, normalize=normalize, device=args.device
    )
    pack_for_training(model, args.unpadded, args.precision)
    if task == "nli":
        return modelForClassificationTraining(model, len(NLI_LABELS)).to(model.device)
    return modelForRegressionTraining(model)


def _dataset(split: str, task: str, columns: dict[str, list[Any]], rows: int | None = None) -> DataSet:
    examples = [
        Example((first, second), label)
        for first, second, label in zip(columns["first"], columns["second"], columns["labels"], strict=True)
    ]
    return DataSet("rows", split, task, "unknown", examples[:rows], {})


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
