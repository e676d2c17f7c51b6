"""Score pairs with sentence-transformers' CrossEncoder and print one line of JSON: the peer's half of experiments.bench.

Only ever run by the peer's interpreter, never imported by this project, which neither needs nor uses that library.
Its environment: see encode_peer.py. Timed is model.predict() with its tokenizing, after a warm-up.
"""

import json
import time

from peer_model import parser, read_rows, setting, wait_for
from scipy.stats import spearmanr
from sentence_transformers import CrossEncoder

WARM_UP_PAIRS = 64


def main() -> None:
    args = parser(__doc__).parse_args()
    content = read_rows(args.rows)
    model = CrossEncoder(args.model, device=args.device, local_files_only=True)
    if args.num_layers:
        raise SystemExit("--num-layers: cut the model before it is saved")
    if args.precision == "bf16":
        model.bfloat16()
    pairs, test = content["pairs"], content["test"]
    options = {"batch_size": args.batch_size, "show_progress_bar": False}
    model.predict(pairs[:WARM_UP_PAIRS], **options)
    wait_for(args.device)
    started = time.perf_counter()
    model.predict(pairs, **options)
    seconds = time.perf_counter() - started
    scores = model.predict(list(zip(test["first"], test["second"], strict=True)), **options)
    measured = {
        "count": len(pairs),
        "seconds": seconds,
        "per_second": len(pairs) / seconds,
        "quality": float(spearmanr(test["labels"], scores).statistic),
    }
    print(json.dumps(measured | setting(args)), flush=True)


if __name__ == "__main__":
    main()
