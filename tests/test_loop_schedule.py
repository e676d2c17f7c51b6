"""What an update is made of: learning rates, clipping, when things happen, what is logged; and the flags' choices."""

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from loop_parts import SETTINGS, Encoder, source

import sbert.loop
from data.sampler import SAMPLERS
from heads import CONCATENATIONS
from sbert import flags
from sbert.checkpoint import list_checkpoints
from sbert.errors import RunError
from sbert.loop import Progress, _due, fit
from sbert.pooling import POOLINGS
from sbert.precision import DTYPES

UPDATES = 12  # of SETTINGS and 22 rows: 6 batches, twice


def recorded_rates(monkeypatch: pytest.MonkeyPatch) -> list[list[float]]:
    """The rates of the parameter groups at each optimizer step that a later ``fit`` makes."""
    rates: list[list[float]] = []
    build = sbert.loop.build_optimizer

    def recording(*args, **options):
        optimizer = build(*args, **options)
        optimizer.register_step_pre_hook(lambda *_: rates.append([g["lr"] for g in optimizer.param_groups]))
        return optimizer

    monkeypatch.setattr(sbert.loop, "build_optimizer", recording)
    return rates


@pytest.mark.parametrize(
    ("options", "factors"),
    [
        ({"warmup_ratio": 0.25}, [1 / 4, 2 / 4, 3 / 4, *(n / 9 for n in range(9, 0, -1))]),
        ({"warmup_ratio": 0.0}, [n / 12 for n in range(12, 0, -1)]),
        ({"warmup_ratio": 0.5, "accumulation": 2}, [1 / 4, 2 / 4, 3 / 4, 3 / 3, 2 / 3, 1 / 3]),
        ({"warmup_ratio": 0.25, "max_updates": 5}, [1 / 4, 2 / 4, 3 / 4, 9 / 9, 8 / 9]),
    ],
    ids=["warm-up", "none", "accumulation", "cut short"],
)
def test_rates_rise_and_fall_in_every_group(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, float], factors: list[float]
) -> None:
    """The encoder's groups peak at ``lr``, the classifier's at ``head_lr``; the encoder's rate is what is logged."""
    rates = recorded_rates(monkeypatch)
    logged: list[float] = []
    encoder = Encoder()
    settings = replace(SETTINGS, log_steps=1, **options)
    fit(
        encoder,
        [source(encoder, kind="classification")],
        settings,
        scalars=lambda numbers, update: logged.append(numbers["train/lr"]),
    )
    assert len(rates) == len(factors)
    for (*encoder_rates, head, head_biases), factor in zip(rates, factors, strict=True):
        assert encoder_rates == pytest.approx([1e-3 * factor] * 2)
        assert [head, head_biases] == pytest.approx([1e-2 * factor] * 2)
    assert logged == pytest.approx([1e-3 * factor for factor in factors])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("limit", [0.01, 0.0, 1e6], ids=["clipped", "never", "below"])
def test_step_is_as_long_as_the_clipped_gradient(
    monkeypatch: pytest.MonkeyPatch, precision: str, limit: float
) -> None:
    """One step of plain SGD: its length is the rate times the gradient's norm, cut to ``max_grad_norm``."""
    build = sbert.loop.build_optimizer

    def plain(*args, **options):
        return torch.optim.SGD(build(*args, **(options | {"weight_decay": 0.0})).param_groups, lr=1.0)

    monkeypatch.setattr(sbert.loop, "build_optimizer", plain)
    encoder = Encoder(0.0)
    s = source(encoder)
    before = [p.detach().clone() for p in s.objective.parameters()]
    norms: list[float] = []
    options = {"max_grad_norm": limit, "precision": precision, "init_scale": 1024.0, "warmup_ratio": 0.0}
    fit(
        encoder,
        [s],
        replace(SETTINGS, lr=1.0, max_updates=1, **options),
        scalars=lambda numbers, update: norms.append(numbers["train/grad_norm"]),
    )
    after = s.objective.parameters()
    length = math.sqrt(
        sum((a - b).double().square().sum().item() for a, b in zip(after, before, strict=True))
    )
    (norm,) = norms
    assert norm > 0.05, "what is logged is the norm before clipping"
    assert length == pytest.approx(min(norm, limit or math.inf), rel=1e-3)


def test_shares_of_the_stage_say_when_to_evaluate_and_save(tmp_path: Path) -> None:
    encoder = Encoder()
    settings = replace(SETTINGS, eval_steps=0.3, save_steps=0.25, save_limit=0)
    progress = fit(encoder, [source(encoder)], settings, checkpoints=tmp_path)
    assert [entry["update"] for entry in progress.history] == [4, 8, 12]  # 0.3 of 12 is 3.6
    assert [int(path.name[-8:]) for path in list_checkpoints(tmp_path)] == [3, 6, 9, 12]


@pytest.mark.parametrize(
    ("steps", "due"),
    [
        (0, {6, 12}),  # what was given: the ends of the epochs
        (0.001, set(range(1, 13))),
        (0.3, {4, 8, 12}),
        (0.5, {6, 12}),
        (0.99, {12}),
        (1, set(range(1, 13))),
        (5.0, {5, 10, 12}),
        (700.0, {12}),
    ],
)
def test_due(steps: float, due: set[int]) -> None:
    assert _due(steps, UPDATES, {6, 12}) == due


def test_skips_that_do_not_follow_one_another_are_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second update has infinite gradients, and two in a row would be too many."""
    monkeypatch.setattr(sbert.loop, "MAX_SKIPPED", 2)
    encoder = Encoder()
    calls = iter(range(UPDATES))
    encoder.model.embeddings.LayerNorm.weight.register_hook(
        lambda grad: grad * (1.0 if next(calls) % 2 else math.inf)
    )
    progress = fit(encoder, [source(encoder)], SETTINGS)
    assert (progress.update, progress.skipped, progress.skipped_in_a_row) == (UPDATES, UPDATES // 2, 0)


def test_twenty_skips_in_a_row_are_too_many() -> None:
    progress = Progress()
    for norm in [math.inf] * 19 + [1.0] + [math.nan] * 19:
        progress.note_skip(1, norm)
    assert (progress.skipped, progress.skipped_in_a_row) == (38, 19)
    with pytest.raises(
        RunError, match=r"update 7: the gradients were not finite 20 times in a row, .* with rows 1, 2 of x"
    ):
        progress.note_skip(7, math.inf, lambda: "rows 1, 2 of x")


def test_logged_truncation_is_the_mean_over_all_rows() -> None:
    encoder = Encoder()
    sources = [source(encoder, rows=22), source(encoder, rows=10)]
    sources[0].truncated_share, sources[1].truncated_share = 0.25, 0.5
    logged: list[float] = []
    fit(
        encoder,
        sources,
        replace(SETTINGS, epochs=1),
        scalars=lambda numbers, update: logged.append(numbers["train/truncated_share"]),
    )
    assert logged == pytest.approx([(22 * 0.25 + 10 * 0.5) / 32])


def test_flags_offer_what_there_is() -> None:
    """sbert.flags imports nothing heavy, so it names the choices a second time."""
    choices = {f.name: f.metadata.get("choices") for f in fields(flags.Flags)}
    assert choices["pooling"] == flags.POOLINGS == tuple(POOLINGS)
    assert choices["concat"] == flags.CONCATENATIONS == tuple(CONCATENATIONS)
    assert choices["batch_sampler"] == ("auto", *SAMPLERS, "topics")
    assert choices["precision"] == ("auto", *DTYPES)
