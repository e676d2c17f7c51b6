"""What encode_peer.py and train_peer.py share: their flags, the rows, the model, the Spearman. See encode_peer.py.

Only ever run by the peer's interpreter, never imported by this project.
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer

BACKENDS = ["openvino", "onnx", "onnx-int8"]
PACKAGES = (
    "sentence-transformers",
    "transformers",
    "tokenizers",
    "torch",
    "accelerate",
    "datasets",
    "numpy",
    "scipy",
    "optimum",
    "optimum-intel",
    "optimum-onnx",
    "openvino",
    "onnxruntime",
)


def parser(description: str | None) -> argparse.ArgumentParser:
    """The flags of experiments/bench_worker.py that both scripts take."""
    out = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    out.add_argument("--rows", required=True, help="JSON written by experiments.bench")
    out.add_argument("--model", required=True, help="model directory")
    out.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    out.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    out.add_argument("--num-layers", type=int, help="keep only the first N encoder layers")
    out.add_argument("--batch-size", type=int, default=32)
    return out


def read_rows(path: str) -> dict[str, Any]:
    """{"train" and others: {"first": [...], "second": [...], "labels": [...]}, "sentences": [...], "task": ...}."""
    return json.loads(Path(path).read_text(encoding="utf8"))


def load_model(args: argparse.Namespace, *, drop_normalize: bool = False) -> SentenceTransformer:
    """The model in fp32 on its device, its encoder cut to the first layers asked for."""
    model = SentenceTransformer(args.model, device=args.device, local_files_only=True)
    if drop_normalize:
        kept = [module for module in model if type(module).__name__ != "Normalize"]
        model = SentenceTransformer(modules=kept, device=args.device)
    if args.num_layers:
        encoder = model[0].model
        total = len(encoder.encoder.layer)
        if args.num_layers > total:
            raise SystemExit(f"--num-layers {args.num_layers}: the model has {total}")
        encoder.encoder.layer = encoder.encoder.layer[: args.num_layers]
        encoder.config.num_hidden_layers = args.num_layers
    return model


def load_exported(args: argparse.Namespace) -> SentenceTransformer:
    """The model at another backend of the library, exported anew from its torch weights."""
    backend = args.backend.partition("-")[0]
    options = {"device": args.device, "local_files_only": True, "backend": backend}
    model = SentenceTransformer(args.model, model_kwargs={"export": True}, **options)
    if args.backend != "onnx-int8":
        return model
    from sentence_transformers import export_dynamic_quantized_onnx_model

    folder = tempfile.mkdtemp(dir=".")  # in the folder of this measurement, which is removed after it
    model.save_pretrained(folder)
    export_dynamic_quantized_onnx_model(model, "avx512_vnni", folder)
    return SentenceTransformer(
        folder, model_kwargs={"file_name": "onnx/model_qint8_avx512_vnni.onnx"}, **options
    )


def spearman(
    model: SentenceTransformer, columns: dict[str, list[Any]], known: dict[str, Any] | None = None
) -> float:
    """Spearman of cosine and score. known: vectors by text; the other texts are encoded, each once."""
    first, second = columns["first"], columns["second"]
    vectors = dict(known or {})
    rest = [text for text in dict.fromkeys(first + second) if text not in vectors]
    if rest:
        vectors |= dict(zip(rest, model.encode(rest, show_progress_bar=False), strict=True))
    u, v = (np.stack([vectors[text] for text in texts]).astype(np.float64) for texts in (first, second))
    cosine = (u * v).sum(1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))
    return float(spearmanr(columns["labels"], cosine).statistic)


def wait_for(device: str) -> None:
    """Lets queued work of a CUDA card end before a clock is read."""
    if device == "cuda":
        torch.cuda.synchronize()


def setting(args: argparse.Namespace) -> dict[str, Any]:
    """Threads and versions of this process."""
    return {
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "versions": {"python": platform.python_version()} | dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        with suppress(PackageNotFoundError):  # an interpreter has one of the backends, or none
            yield name, version(name)
