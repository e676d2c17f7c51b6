"""Encode sentences with sentence-transformers and print one line of JSON: the peer's half of experiments.bench.

Only ever run by the peer's interpreter, never imported by this project, which neither needs nor uses that library.
Its environment (make bench-peers builds it in .venv-peers):

    python -m venv peers
    peers/bin/pip install torch==2.13.0
    peers/bin/pip install sentence-transformers==6.2.0 accelerate datasets

Timed is model.encode() with its tokenizing, after a warm-up. bf16 is the library's own way: model.bfloat16().
--backend: the library's other backends, exported from the same model (onnx-int8: quantized dynamically, for AVX-512 VNNI); they compute
in what precision they please, whatever --precision says.
"""

import json
import time

from peer_model import BACKENDS, load_exported, load_model, parser, read_rows, setting, spearman, wait_for

WARM_UP_SENTENCES = 64


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--backend", choices=["torch", *BACKENDS], default="torch")
    args = flags.parse_args()
    content = read_rows(args.rows)
    model = load_model(args) if args.backend == "torch" else load_exported(args)
    if args.precision == "bf16" and args.backend == "torch":
        model.bfloat16()
    sentences = content["sentences"]
    options = {"batch_size": args.batch_size, "show_progress_bar": False}
    model.encode(sentences[:WARM_UP_SENTENCES], **options)
    wait_for(args.device)
    started = time.perf_counter()
    embeddings = model.encode(sentences, **options)
    seconds = time.perf_counter() - started
    measured = {
        "count": len(sentences),
        "seconds": seconds,
        "per_second": len(sentences) / seconds,
        "quality": spearman(model, content["test"], dict(zip(sentences, embeddings, strict=True))),
    }
    print(json.dumps(measured | setting(args)), flush=True)


if __name__ == "__main__":
    main()
