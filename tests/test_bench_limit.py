"""experiments.bench_limit: operations counted by hand, and a small run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from experiments import bench, bench_flags, bench_limit
from experiments.bench_summary import limit_line

CONFIG = SimpleNamespace(hidden_size=8, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)


def test_operations_by_hand() -> None:
    """Texts of 3 and 5 tokens, two layers: 8 tokens, squares 9 + 25 = 34."""
    found = {p.name: p for p in bench_limit.products(CONFIG, [3, 5], 16, training=False)}
    assert found["projections"].flop == 2 * 8 * 8 * 8 * 4 * 2
    assert found["up"].flop == found["down"].flop == 2 * 8 * 8 * 32 * 2
    assert found["attention scores"].flop == found["attention values"].flop == 2 * 34 * 8 * 2
    assert (found["up"].m, found["up"].k, found["up"].n) == (16, 8, 32)
    scores = found["attention scores"]  # 34 / 8 rounds to 4 tokens: four texts of two heads in 16 tokens
    assert (scores.batch, scores.m, scores.k, scores.n) == (8, 4, 4, 4)


def test_operations_where_the_last_layer_computes_the_first_token_alone() -> None:
    """The first of two layers as above; the last: query and output of 2 tokens, key and value of 8, 3 + 5 scores."""
    found = {p.name: p.flop for p in bench_limit.products(CONFIG, [3, 5], 16, False, first_token=True)}
    assert found["projections"] == 2 * 8 * 8 * (8 * 4 + 2 * 2 + 8 * 2)
    assert found["up"] == found["down"] == 2 * 8 * 32 * (8 + 2)
    assert found["attention scores"] == found["attention values"] == 2 * (34 + 8) * 8


def test_training_takes_three_times_as_many() -> None:
    forward, training = (bench_limit.products(CONFIG, [3, 5], 16, on) for on in (False, True))
    assert sum(p.flop for p in training) == 3 * sum(p.flop for p in forward)
    shapes = {p.name: (p.m, p.k, p.n) for p in training}
    assert shapes["up, gradient of the input"] == (16, 32, 8)
    assert shapes["up, gradient of the weight"] == (32, 16, 8)


def test_the_limit_is_the_sum_of_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1,000 operations a second whatever the product; 2,000 where it is tried with more rows."""
    monkeypatch.setattr(bench_limit, "ROWS", (16, 32))
    monkeypatch.setattr(bench_limit, "rate", lambda product, dtype: 2000.0 if product.m == 32 else 1000.0)
    found = bench_limit.limit_of(CONFIG, [3, 5], torch.float32, False)
    linear, attention = 2 * 8 * 2 * (4 * 64 + 2 * 256), 2 * (2 * 34 * 8 * 2)
    assert found["seconds"] == pytest.approx(linear / 2000 + attention / 1000)
    assert found["gflop"] == pytest.approx((linear + attention) / 1e9) and found["tokens"] == 8


@pytest.mark.parametrize(
    "name, group",
    [
        ("aten::addmm", "matrix products"),
        ("aten::bmm", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention, fused"),
        ("aten::native_layer_norm", "layer norm"),
        ("aten::_softmax", "softmax"),
        ("aten::gelu_backward", "GELU"),
        ("aten::copy_", "copies and casts"),
        ("aten::select", "other operators"),
    ],
)
def test_groups_of_operators(name: str, group: str) -> None:
    assert bench_limit.group_of(name) == group


@pytest.mark.parametrize("what", ["encode", "train"])
def test_a_run(
    what: str,
    tmp_path: Path,
    tiny_model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench_limit, "SECONDS", 0.001)
    monkeypatch.setattr(bench_limit, "ROWS", (16,))
    monkeypatch.setattr(bench_limit, "SAMPLE", {"encode": 20, "train": 2})
    rows = tmp_path / "rows.json"
    args = bench_flags.build_parser().parse_args([what, "--task", "samples-sts", "--updates", "3"])
    bench.write_rows(args, "samples-sts", rows)
    words = [what, "--rows", str(rows), "--model", str(tiny_model_dir), "--updates", "3", "--batch-size", "8"]
    assert bench_limit.main(words) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["limit"]["seconds"] > 0 and found["limit"]["tokens"] > 0
    assert "matrix products" in found["profile"] and all(share >= 0 for share in found["profile"].values())
    cell = {"task": "t", "precision": "fp32", "share_of_limit": 0.5, **found}
    assert "ours, t fp32: 50 % of the limit" in limit_line(cell)
    slower = cell | {
        "profile": {"matrix products": 0.9, "softmax": 0.6}
    }  # profiled in one and a half times the time
    assert limit_line(slower).endswith("its time: matrix products 60 %, softmax 40 %")


def test_the_limit_of_scoring_leaves_out_what_the_last_layer_does_not_compute(
    tmp_path: Path, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As predict does: from MANY tokens on."""
    monkeypatch.setattr(bench_limit, "SECONDS", 0.001)
    monkeypatch.setattr(bench_limit, "ROWS", (16,))
    args = bench_flags.build_parser().parse_args(["rerank", "--task", "samples-sts", "--limit", "20"])
    rows = tmp_path / "rows.json"
    bench.write_rows(args, "samples-sts", rows)
    found = {}
    for many in (1, 10**6):
        monkeypatch.setattr(bench_limit, "MANY", many)
        assert bench_limit.main(["rerank", "--rows", str(rows), "--model", str(tiny_model_dir)]) == 0
        found[many] = json.loads(capsys.readouterr().out.splitlines()[-1])["limit"]
    assert found[1]["tokens"] == found[10**6]["tokens"] and found[1]["gflop"] < 0.9 * found[10**6]["gflop"]
