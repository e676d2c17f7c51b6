"""The loop: resume, accumulation, precision, overflow, NaN, selection, early stopping, pruning."""

import dataclasses
import json
import math
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from loop_parts import SETTINGS, Encoder, source

from sbert.checkpoint import list_checkpoints, load_checkpoint
from sbert.errors import Interrupted, RunError
from sbert.loop import Settings, fit
from sbert.source import Batch, Source


def trained(
    settings: Settings,
    folder: Path | None = None,
    *,
    kind: str = "regression",
    dropout: float = 0.1,
    resume: bool = False,
    **options,
) -> tuple[dict[str, torch.Tensor], object]:
    encoder = Encoder(dropout)
    torch.manual_seed(settings.seed)
    found = list_checkpoints(folder)[-1] if resume and folder else None
    state = load_checkpoint(found, torch.device("cpu")) if found else None
    s = source(encoder, kind=kind)
    progress = fit(encoder, [s], settings, checkpoints=folder, resume=state, **options)
    return {k: v.clone() for k, v in s.objective.state_dict().items()}, progress


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("kind", ["regression", "classification"])
@pytest.mark.parametrize("stop_at", [1, 5, 6, 9])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(tmp_path: Path, kind: str, stop_at: int) -> None:
    settings = Settings(**{**vars(SETTINGS), "save_steps": 1})
    whole, _ = trained(settings, kind=kind)

    class Stop(Exception):
        pass

    def interrupt() -> dict[str, float]:
        raise Stop

    cut = Settings(
        **{**vars(settings), "eval_steps": stop_at + 1}
    )  # dies inside the update after the checkpoint
    with pytest.raises(Stop):
        trained(cut, tmp_path, kind=kind, evaluate=interrupt)
    torch.manual_seed(999)  # the resumed process has other random states until the checkpoint is read
    resumed, progress = trained(settings, tmp_path, kind=kind, resume=True)
    assert progress.update == 12
    assert same(whole, resumed)


def test_dropout_makes_random_states_matter() -> None:
    a, _ = trained(SETTINGS)
    b, _ = trained(Settings(**{**vars(SETTINGS), "seed": 4}))
    assert not same(a, b)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_resumes(tmp_path: Path, signum: int) -> None:
    whole, _ = trained(SETTINGS)
    settings = Settings(**{**vars(SETTINGS), "log_steps": 1})

    def kill(numbers: dict[str, float], update: int) -> None:
        if update == 4:
            os.kill(os.getpid(), signum)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as error:
        trained(settings, tmp_path, scalars=kill)
    assert error.value.signum == signum and error.value.update <= 5
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    resumed, _ = trained(SETTINGS, tmp_path, resume=True)
    assert same(whole, resumed)


def test_accumulated_micro_batches_equal_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 rows an update, whole or in pieces of 4, 3 and 1: the loss is the mean over examples either way."""
    rows = list(range(8))
    ends = []
    for pieces in ([rows], [rows[:4], rows[4:7], rows[7:]]):
        encoder = Encoder(0.0)
        s = source(encoder, rows=8)
        monkeypatch.setattr(
            "sbert.loop.mixed_batches", lambda *a, cut=pieces, **k: [(0, piece) for piece in cut]
        )
        fit(encoder, [s], Settings(**{**vars(SETTINGS), "accumulation": len(pieces), "lr": 1e-4}))
        ends.append({k: v.clone() for k, v in s.objective.state_dict().items()})
    for key, value in ends[0].items():
        torch.testing.assert_close(ends[1][key], value, atol=1e-5, rtol=1e-4)


def test_fp16_scaler_survives_a_forced_overflow(tmp_path: Path) -> None:
    """A scale of 2^40 overflows fp16 at once: updates are skipped, the scale halves, then training goes on."""
    settings = Settings(
        **{
            **vars(SETTINGS),
            "precision": "fp16",
            "init_scale": 2.0**20,
            "epochs": 6,
            "lr": 1e-4,
            "save_steps": 1,
        }
    )
    scales: list[float] = []
    before = Encoder().state_dict()
    after, progress = trained(
        Settings(**{**vars(settings), "log_steps": 1}),
        tmp_path,
        scalars=lambda n, u: scales.append(n["train/loss_scale"]),
    )
    assert progress.skipped >= 1, "the first updates should overflow"
    assert scales[-1] < 2.0**20
    assert all(torch.isfinite(v).all() for v in after.values())
    assert not torch.equal(
        after["model.model.embeddings.word_embeddings.weight"],
        before["model.embeddings.word_embeddings.weight"],
    )
    saved = load_checkpoint(list_checkpoints(tmp_path)[-1], torch.device("cpu"))
    assert saved["scaler"]["scale"] == scales[-1], "the scaler is part of the checkpoint"


def test_fp16_resume_restores_the_scaler(tmp_path: Path) -> None:
    settings = Settings(**{**vars(SETTINGS), "precision": "fp16", "init_scale": 2.0**20, "save_steps": 1})
    whole, _ = trained(settings)
    trained(Settings(**{**vars(settings), "max_updates": 5}), tmp_path)
    resumed, _ = trained(settings, tmp_path, resume=True)
    assert same(whole, resumed)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_near_fp32(precision: str) -> None:
    full, _ = trained(Settings(**{**vars(SETTINGS), "lr": 1e-4}), dropout=0.0)
    half, _ = trained(Settings(**{**vars(SETTINGS), "lr": 1e-4, "precision": precision}), dropout=0.0)
    for key, value in full.items():
        assert half[key].dtype == torch.float32, "master weights stay in fp32"
        torch.testing.assert_close(half[key], value, atol=3e-3, rtol=0)


def test_nan_loss_stops_and_names_the_update(tmp_path: Path) -> None:
    encoder = Encoder()
    s = source(encoder)
    s.labels[:] = 0.5
    original = s.objective.loss
    calls = iter(range(100))

    def loss(representations, answer):
        out = original(representations, answer)
        return {"loss": out["loss"] * (math.nan if next(calls) == 3 else 1.0)}

    s.objective.loss = loss
    with pytest.raises(RunError, match="update 4: the loss is nan"):
        fit(encoder, [s], Settings(**{**vars(SETTINGS), "save_steps": 1}), checkpoints=tmp_path)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["update-00000002", "update-00000003"]


def test_infinite_gradients_are_skipped_then_give_up(caplog: pytest.LogCaptureFixture) -> None:
    encoder = Encoder()
    s = source(encoder, rows=200)
    hook = lambda grad: grad * math.inf  # noqa: E731
    parameter = encoder.model.embeddings.LayerNorm.weight
    parameter.register_hook(hook)
    before = parameter.detach().clone()
    with pytest.raises(RunError, match="20 times in a row"):
        fit(encoder, [s], SETTINGS)
    assert torch.equal(parameter, before)


def metric(values: Iterator[float]):
    return lambda: {"dev/x": next(values)}


def test_selection_keeps_the_best_and_patience_stops(tmp_path: Path) -> None:
    encoder = Encoder()
    values = [0.1, 0.5, 0.4, math.nan, 0.3, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    settings = Settings(**{**vars(SETTINGS), "eval_steps": 1, "select_on": "dev/x", "patience": 3})
    progress = fit(
        encoder,
        [source(encoder)],
        settings,
        evaluate=metric(iter(values)),
        model_folder=tmp_path / "model",
        checkpoints=tmp_path / "checkpoints",
    )
    assert (progress.update, progress.best, progress.best_update) == (5, 0.5, 2)
    assert len(encoder.saved) == 2, "saved when better, and only then"


def test_equal_is_not_better() -> None:
    encoder = Encoder()
    settings = Settings(**{**vars(SETTINGS), "eval_steps": 1, "select_on": "dev/x"})
    progress = fit(encoder, [source(encoder)], settings, evaluate=lambda: {"dev/x": 0.5})
    assert progress.best_update == 1


def test_old_checkpoints_are_pruned_and_damage_is_told(tmp_path: Path) -> None:
    trained(Settings(**{**vars(SETTINGS), "save_steps": 2, "save_limit": 3}), tmp_path)
    kept = list_checkpoints(tmp_path)
    assert [p.name for p in kept] == ["update-00000008", "update-00000010", "update-00000012"]
    with open(kept[-1] / "state.pt", "r+b") as file:
        file.seek(100)
        file.write(b"damage")
    with pytest.raises(RunError, match="damaged: sha256"):
        load_checkpoint(kept[-1], torch.device("cpu"))
    (kept[-2] / "state.json").unlink()
    with pytest.raises(RunError, match="not a whole checkpoint"):
        load_checkpoint(kept[-2], torch.device("cpu"))


def test_full_disk_while_saving_keeps_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(Settings(**{**vars(SETTINGS), "max_updates": 6}), tmp_path)
    before = (tmp_path / "update-00000006" / "state.pt").read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match=r"update-00000012: cannot be saved: No space left on device"):
        trained(SETTINGS, tmp_path, resume=True)
    assert (tmp_path / "update-00000006" / "state.pt").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["update-00000006"], "nothing half-written stays"


def test_checkpoint_is_json_and_tensors_only(tmp_path: Path) -> None:
    """weights_only loading is what keeps a checkpoint from being a program."""
    trained(SETTINGS, tmp_path)
    path = list_checkpoints(tmp_path)[-1]
    state = torch.load(path / "state.pt", weights_only=True)
    assert state["progress"] == json.loads((path / "state.json").read_text())["progress"]


def test_logged_loss_is_the_mean_and_rates_are_positive() -> None:
    seen: list[dict[str, float]] = []
    encoder = Encoder(0.0)
    s = source(encoder, rows=10)
    still = {"lr": 1e-30, "head_lr": 1e-30, "weight_decay": 0.0}  # so that all updates see the same model
    settings = Settings(**{**vars(SETTINGS), "batch_size": 5, "epochs": 1, "log_steps": 2, **still})
    fit(encoder, [s], settings, scalars=lambda numbers, update: seen.append(numbers))
    batch = s.batch(range(10), torch.device("cpu"))
    with torch.no_grad():
        every = s.objective(batch.features, batch.answer)["loss"].item()
    (numbers,) = seen
    assert numbers["train/loss"] == pytest.approx(every, rel=1e-4)
    assert numbers["train/examples_per_second"] > 0 and 0 <= numbers["train/padding_share"] < 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_trains_on_cuda(precision: str) -> None:
    torch.manual_seed(0)
    encoder = Encoder().cuda()
    s = source(encoder)
    s.objective.cuda()
    before = encoder.model.embeddings.word_embeddings.weight.detach().clone()
    progress = fit(encoder, [s], Settings(**{**vars(SETTINGS), "precision": precision}))
    assert progress.update == 12
    assert not torch.equal(before, encoder.model.embeddings.word_embeddings.weight)


class Keyed:
    """A training set of which only some rows may meet in a batch; it counts what it is asked for."""

    topics = None

    def __init__(self, plain: Source, keys: list[tuple[str, ...]]) -> None:
        self.plain, self.keys, self.asked = plain, keys, []
        self.name, self.lengths, self.truncated_share = plain.name, plain.lengths, plain.truncated_share
        self.objective = plain.objective

    def batch(self, rows: Sequence[int], device: torch.device) -> Batch:
        self.asked.append(list(rows))
        return self.plain.batch(rows, device)


def test_epochs_of_different_numbers_of_batches_use_every_row_once() -> None:
    """Without duplicates 22 rows that share keys make now more, now fewer batches of 4: no row is left out, none comes twice."""
    encoder = Encoder()
    keys = [(f"q{i * i % 7}", f"p{i * 5 % 8}") for i in range(22)]
    keyed = Keyed(source(encoder), keys)
    settings = dataclasses.replace(SETTINGS, epochs=6, sampler="auto")
    counts = [len(settings.batches([keyed], epoch)) for epoch in range(6)]  # type: ignore[list-item]
    assert len(set(counts)) > 1, "this set no longer shows what it is for"
    progress = fit(encoder, [keyed], settings)  # type: ignore[list-item]
    assert progress.update == sum(counts) == len(keyed.asked)
    start = 0
    for count in counts:
        assert sorted(row for rows in keyed.asked[start : start + count] for row in rows) == list(range(22))
        start += count
