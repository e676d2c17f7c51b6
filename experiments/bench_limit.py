"""How near a figure is to what the machine can do, and where the rest goes: one process, one line of JSON.

The limit is the time the encoder's matrix products alone take, at their shapes and precision and at the best speed that
torch reaches with them here, on the tokens that are not padding: no layer norm, no softmax, no tokenizing, no copies.
The share is that time over the time measured. The profile groups what a sample of the work spends its time on.
Started by experiments.bench after the rounds of a cell:

python -m experiments.bench_limit encode --rows rows.json --model MODEL_DIRECTORY --precision bf16
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from experiments import bench_worker
from sbert.cross_encoder import CrossEncoder
from sbert.encode import encode, tokenize
from sbert.first_token import can_skip
from sbert.loop import Settings, fit
from sbert.model import modelWithPooling
from sbert.pairs import tokenize_pairs
from sbert.precision import DTYPES, MANY
from sbert.predict import predict
from sbert.source import Source

ROWS = (1024, 2048, 8192)  # tokens a product is tried with; the best speed counts
SECONDS, REPEATS = 0.1, 5  # how long a product is repeated, and how often
SAMPLE = {"encode": 2048, "rerank": 500, "train": 20}  # texts, pairs, updates that are profiled
GROUPS = (  # of an operator's name, the first that holds one of the words
    ("matrix products", ("addmm", "::mm", "bmm", "baddbmm", "linear", "matmul", "mkldnn")),
    ("attention, fused", ("scaled_dot_product", "flash")),
    ("softmax", ("softmax",)),
    ("GELU", ("gelu",)),
    ("layer norm", ("layer_norm",)),
    ("dropout", ("dropout", "bernoulli", "random_", "::ge")),  # all but its products
    ("embedding", ("embedding", "index_select")),
    ("optimizer and clipping", ("adam", "foreach", "norm", "lerp", "addcmul", "addcdiv", "sqrt")),
    ("copies and casts", ("copy", "_to_", "::to", "clone", "contiguous", "cat", "fill", "zero", "empty")),
)


@dataclass(frozen=True)
class Product:
    """A matrix product (m, k) by (k, n), ``batch`` of them at a time. flop: what all of the work spends on it."""

    name: str
    batch: int
    m: int
    k: int
    n: int
    flop: float


def main(argv: Sequence[str]) -> int:
    args = bench_worker.build_parser().parse_args(argv)
    content = json.loads(Path(args.rows).read_text(encoding="utf8"))
    model, lengths, run = prepare(args, content)
    encoder = model.model
    training = args.what == "train"
    reads_first = isinstance(model, CrossEncoder) or model.description.pooling == ("cls",)
    first_token = not training and reads_first and sum(lengths) >= MANY and can_skip(encoder)
    found = {"limit": limit_of(encoder.config, lengths, DTYPES[args.precision], training, first_token)}
    print(json.dumps({**found, "profile": profile_of(run)}), flush=True)
    return 0


def prepare(
    args: Any, content: Mapping[str, Any]
) -> tuple[modelWithPooling | CrossEncoder, list[int], Callable[[], object]]:
    """The model, the token counts of the texts of all of the work, and what runs a sample of the work."""
    size, precision = SAMPLE[args.what], args.precision
    if args.what == "train":
        return _prepare_training(args, content)
    if args.what == "rerank":
        cross = CrossEncoder.from_pretrained(args.model, num_layers=args.num_layers, device=args.device)
        pairs = [(first, second) for first, second in content["pairs"]]
        assert cross.tokenizer is not None
        ids = tokenize_pairs(cross.tokenizer, pairs, cross.max_length).ids
        return cross, [len(row) for row in ids], lambda: predict(cross, pairs[:size], precision=precision)
    model = modelWithPooling.from_pretrained(args.model, num_layers=args.num_layers, device=args.device)
    assert model.tokenizer is not None
    ids = tokenize(model.tokenizer, content["sentences"], model.max_length).ids
    sample = content["sentences"][:: max(1, len(ids) // size)]
    return model, [len(row) for row in ids], lambda: encode(model, sample, precision=precision)


def _prepare_training(
    args: Any, content: Mapping[str, Any]
) -> tuple[modelWithPooling, list[int], Callable[[], object]]:
    train = bench_worker._dataset("train", content["task"], content["train"])
    settings = Settings(
        epochs=args.epochs, batch_size=args.batch_size, precision=args.precision, max_updates=args.updates
    )
    objective = bench_worker._objective(args, content["task"])
    model = objective.model
    source = Source.build(train, objective, model)
    assert model.tokenizer is not None
    batches = [b for epoch in range(args.epochs) for b in settings.batches([source], epoch)]
    rows = [i for _, batch in batches[: args.updates or None] for i in batch]
    texts = [text for i in rows for text in train.examples[i].texts]
    ids = tokenize(model.tokenizer, texts, model.max_length).ids
    few = replace(settings, max_updates=SAMPLE["train"])
    return model, [len(row) for row in ids], lambda: fit(model, [source], few)


# ---------------------------------------------------------------- limit


def products(
    config: Any, lengths: Sequence[int], rows: int, training: bool, first_token: bool = False
) -> list[Product]:
    """Every matrix product of the encoder for texts of these lengths, at ``rows`` tokens a batch.

    Per layer and token: four products with a (H, H) matrix, one with (H, I) and one with (I, H), 2 * inner * outer
    operations each; per layer and text of length T: QK' and PV, 2 * T * T * H each. Backward: for each, one product for
    its input's gradient and one for its weight's. first_token: the last layer computes keys and values of all tokens, and the
    rest for one token of each text (sbert.first_token).
    """
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    heads = config.num_attention_heads
    tokens, squares = sum(lengths), sum(n * n for n in lengths)
    every = computed = tokens * layers
    scores = squares * layers
    if first_token:
        computed, scores = tokens * (layers - 1) + len(lengths), squares * (layers - 1) + tokens
    projections = 2 * every + 2 * computed  # keys and values; queries and outputs
    shapes = [
        ("projections", width, width, projections),
        ("up", width, inner, computed),
        ("down", inner, width, computed),
    ]
    found = []
    for name, k, n, times in shapes:
        flop = 2.0 * k * n * times
        found.append(Product(name, 1, rows, k, n, flop))
        if training:
            found += [
                Product(f"{name}, gradient of the input", 1, rows, n, k, flop),
                Product(f"{name}, gradient of the weight", 1, n, rows, k, flop),
            ]
    typical = max(1, round(squares / max(1, tokens)))  # the mean length, weighted by tokens
    texts = max(1, rows // typical) * heads
    flop = 2.0 * scores * width * (3 if training else 1)
    head = width // heads
    found.append(Product("attention scores", texts, typical, head, typical, flop))
    found.append(Product("attention values", texts, typical, typical, head, flop))
    return found


def rate(product: Product, dtype: torch.dtype) -> float:
    """Floating-point operations a second, the best of some repeats."""
    a = torch.randn(product.batch, product.m, product.k).to(dtype)
    b = torch.randn(product.batch, product.k, product.n).to(dtype)
    run: Callable[[], Tensor]
    if product.batch == 1:
        weight = b[0].t().contiguous()  # as nn.Linear keeps it
        run = lambda: nn.functional.linear(a[0], weight)  # noqa: E731
    else:
        run = lambda: torch.bmm(a, b)  # noqa: E731
    once = 2.0 * product.batch * product.m * product.k * product.n
    run()
    best = 0.0
    for _ in range(REPEATS):
        count, started = 0, time.perf_counter()
        while (seconds := time.perf_counter() - started) < SECONDS:
            run()
            count += 1
        best = max(best, once * count / seconds)
    return best


@torch.inference_mode()
def limit_of(
    config: Any, lengths: Sequence[int], dtype: torch.dtype, training: bool, first_token: bool = False
) -> dict[str, Any]:
    """{"seconds", "gflop", "products": [{"name", "gflop", "gflop_per_s", "seconds"}]} of all of the work."""
    out = []
    for tried in zip(*(products(config, lengths, rows, training, first_token) for rows in ROWS), strict=True):
        best = max(rate(product, dtype) for product in tried)
        flop = tried[0].flop
        out.append(
            {
                "name": tried[0].name,
                "gflop": flop / 1e9,
                "gflop_per_s": best / 1e9,
                "seconds": flop / best,
            }
        )
    return {
        "seconds": sum(row["seconds"] for row in out),
        "gflop": sum(row["gflop"] for row in out),
        "tokens": sum(lengths),
        "products": out,
    }


# ---------------------------------------------------------------- profile


def group_of(name: str) -> str:
    return next(
        (group for group, words in GROUPS if any(word in name.lower() for word in words)), "other operators"
    )


def profile_of(run: Callable[[], object]) -> dict[str, float]:
    """Share of the time of a sample of the work by group; "outside torch" is what no operator accounts for: tokenizing,
    sorting, Python."""
    run()
    started = time.perf_counter()
    run()
    plain = time.perf_counter() - started
    with profile(activities=[ProfilerActivity.CPU]) as found:
        run()
    shares: dict[str, float] = {}
    for event in found.key_averages():
        group = group_of(event.key)
        shares[group] = shares.get(group, 0.0) + event.self_cpu_time_total / 1e6 / plain
    shares["outside torch"] = max(0.0, 1.0 - sum(shares.values()))
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
