"""Numbers that are not finite are told with the examples they came from; vectors do not depend on their neighbours; the stated
bounds between precisions hold; --deterministic does what it says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loop_parts import SETTINGS, Encoder, source
from train_process import SMALL, TrainRunner, said, same_numbers

import data
from data.files import sha256_of
from sbert.diagnose import origin_of_bad_loss, rows_of
from sbert.encode import encode
from sbert.errors import RunError
from sbert.loop import Settings, fit
from sbert.model import modelWithPooling
from sbert.objectives import modelForRegressionTraining
from sbert.source import Source


def poison(s: Source, row: int) -> Source:
    """The loss of every batch with this row is not a number; no reader lets a label through that would do it."""
    assert s.labels is not None
    s.labels[row] = 0.123456
    original = s.objective.loss

    def loss(representations: Any, answer: torch.Tensor) -> dict[str, torch.Tensor]:
        out = original(representations, answer)
        return {**out, "loss": out["loss"] * (math.nan if (answer == s.labels[row]).any() else 1.0)}

    s.objective.loss = loss  # type: ignore[method-assign]
    return s


def test_the_loss_names_the_row_that_spoils_it(tmp_path: Path) -> None:
    s = poison(source(Encoder()), 9)
    encoder = s.objective.model
    with pytest.raises(
        RunError, match=r"update \d: the loss is nan \(rows 10 of made-up\); the last checkpoint is intact"
    ):
        fit(encoder, [s], SETTINGS)


def test_a_poisoned_update_changes_no_weight() -> None:
    s = poison(source(Encoder()), 0)
    before = {name: p.clone() for name, p in s.objective.named_parameters()}
    settings = Settings(**{**vars(SETTINGS), "batch_size": 22, "max_grad_norm": 0.0})
    with pytest.raises(RunError, match="update 1: the loss is nan"):
        fit(s.objective.model, [s], settings)
    for name, p in s.objective.named_parameters():
        assert torch.equal(p, before[name])


def test_weights_that_are_not_finite_are_named_first() -> None:
    encoder = Encoder()
    with torch.no_grad():
        encoder.model.embeddings.LayerNorm.bias[0] = math.inf
    with pytest.raises(
        RunError,
        match=r"embeddings\.LayerNorm\.bias is not finite itself; rows \d+, \d+, \d+, \d+ of made-up",
    ):
        fit(encoder, [source(encoder)], SETTINGS)


def test_a_row_that_is_well_alone_is_not_singled_out() -> None:
    """Then all rows of the update are named, once each, sorted, set by set."""
    encoder = Encoder()
    sources = [source(encoder), source(encoder)]
    sources[1].name = "other"
    micro_batches = [(0, [3, 1]), (1, [0]), (0, [7])]
    assert rows_of(sources, micro_batches) == "rows 2, 4, 8 of made-up; rows 1 of other"
    assert origin_of_bad_loss(sources, micro_batches, "fp32") == rows_of(sources, micro_batches)


def test_several_processes_try_no_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An objective that gathers from all of them would wait for ever."""
    s = poison(source(Encoder()), 9)
    assert origin_of_bad_loss([s], [(0, [8, 9])], "fp32") == "rows 10 of made-up"
    monkeypatch.setattr("sbert.diagnose.ranks.count", lambda: 2)
    assert origin_of_bad_loss([s], [(0, [8, 9])], "fp32") == "rows 9, 10 of made-up"


def test_the_text_of_the_row_is_shown(tiny_model_dir: Path) -> None:
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    dataset = data.load("samples-sts-en-train")
    built = Source.build(dataset, modelForRegressionTraining(model), model)
    poison(built, 4)
    first = dataset.examples[4].texts[0].lower().split()[0]
    assert origin_of_bad_loss([built], [(0, [2, 4, 6])], "fp32").startswith(
        f"rows 5 of samples-sts-en-train: '{first}"
    )


def test_a_skipped_update_names_its_rows(caplog: pytest.LogCaptureFixture) -> None:
    encoder = Encoder()
    encoder.model.embeddings.LayerNorm.weight.register_hook(lambda grad: grad * math.inf)
    with caplog.at_level("WARNING", "sbert"):
        fit(encoder, [source(encoder, rows=3)], Settings(**{**vars(SETTINGS), "epochs": 1}))
    (line,) = [r.getMessage() for r in caplog.records if "skipped" in r.getMessage()]
    assert line == "update 1 skipped: the gradient norm is inf (rows 1, 2, 3 of made-up)"


# ---------------------------------------------------------------- neighbours and precisions

NEIGHBOURS = 1e-6  # largest difference of a coordinate of a unit vector; docs/reliability.md states it
BOUNDS = {"bf16": 1e-2, "fp16": 1e-3}  # the same, against fp32


def texts() -> list[str]:
    found = [t for e in data.load("samples-sts-train").examples for t in e.texts]
    return [*found[:60], "x", " ".join(found[:8])]


def test_a_vector_does_not_depend_on_its_neighbours(tiny_model_dir: Path) -> None:
    """Alone, in batches of about four, and all in one padded batch."""
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    alone = np.concatenate([encode(model, [t], normalize=True).embeddings for t in texts()])
    for batch_tokens in (128, 100_000):
        together = encode(model, texts(), normalize=True, batch_tokens=batch_tokens).embeddings
        assert np.abs(together - alone).max() < NEIGHBOURS
    reversed_order = encode(model, texts()[::-1], normalize=True).embeddings[::-1]
    assert np.abs(reversed_order - alone).max() < NEIGHBOURS


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize("many", [0, 10**9])  # a half-precision copy, and autocast
def test_half_precision_keeps_its_bound(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, precision: str, many: int
) -> None:
    monkeypatch.setattr("sbert.encode.MANY", many)
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    exact, half = (
        encode(model, texts(), normalize=True, precision=p).embeddings for p in ("fp32", precision)
    )
    difference = np.abs(exact - half).max()
    assert 0 < difference < BOUNDS[precision]
    assert np.abs((exact * half).sum(1) - 1).max() < BOUNDS[precision] ** 2 * 32  # cosines, of width 32


# ---------------------------------------------------------------- --deterministic


def test_deterministic_runs_and_gives_the_bits_it_gives_without(
    run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path, finished: tuple[Path, object]
) -> None:
    """On the CPU the flag changes nothing; that torch is told is seen below."""
    flags = ("--model", tiny_model_dir, *SMALL, "--output-dir", "run", "--seed", 7, "--deterministic")
    assert run_train(*flags).code == 0
    assert same_numbers(tmp_path / "run") == same_numbers(finished[0])
    weights = [sha256_of(run / "model/model.safetensors") for run in (tmp_path / "run", finished[0])]
    assert weights[0] == weights[1]
    assert "--deterministic was" not in said(run_train("--resume", "run", "--lr", "0.5"), 2)


def test_deterministic_tells_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    from sbert.precision import be_deterministic

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        be_deterministic()
        assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
        import os

        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
