"""What the loop hands on: numbers counted over stages, what checkpoints remember, messages, the bar; the gradient cache."""

import contextlib
import logging
import math
import os
import re
import signal
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from loop_parts import SETTINGS, Encoder, source

import sbert.loop
from data.sampler import mixed_batches
from sbert.checkpoint import list_checkpoints, load_checkpoint
from sbert.errors import Interrupted, RunError
from sbert.loop import Progress, Settings, fit

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sbert")


# ------------------------------------------------------------------ gradient cache


def weights_after(**options: object) -> tuple[dict[str, torch.Tensor], list[float], int]:
    """Weights, logged losses and the most rows that were encoded at a time, of a training without dropout."""
    encoder, losses, widest = Encoder(0.0), [], [0]
    s = source(encoder)

    def note(module: object, args: tuple, kwargs: dict[str, torch.Tensor]) -> None:
        widest[0] = max(widest[0], len(kwargs["input_ids"] if kwargs else args[0]))

    encoder.model.register_forward_pre_hook(note, with_kwargs=True)
    fit(
        encoder,
        [s],
        replace(SETTINGS, lr=1e-4, log_steps=1, **options),  # type: ignore[arg-type]
        scalars=lambda numbers, update: losses.append(numbers["train/loss"]),
    )
    return {k: v.clone() for k, v in s.objective.state_dict().items()}, losses, widest[0]


@pytest.mark.parametrize("accumulation", [1, 3])
def test_gradient_cache_trains_the_same_weights_in_smaller_parts(accumulation: int) -> None:
    plain, losses, _ = weights_after(accumulation=accumulation)
    cached, cached_losses, widest = weights_after(accumulation=accumulation, cache_rows=2)
    assert widest == 2
    assert cached_losses == pytest.approx(losses, rel=1e-5)
    for key, value in plain.items():
        torch.testing.assert_close(cached[key], value, atol=2e-6, rtol=1e-4)


def test_gradient_cache_scales_the_loss_and_casts_for_fp16() -> None:
    """A loss scale that were left out, or put in twice, would show in the length of the gradients that are logged."""
    norms: dict[str, list[float]] = {}
    for precision in ("fp32", "fp16"):
        encoder, norms[precision] = Encoder(0.0), []
        fit(
            encoder,
            [source(encoder)],
            replace(
                SETTINGS, precision=precision, cache_rows=2, init_scale=1024.0, log_steps=1, max_updates=3
            ),
            scalars=lambda numbers, update, seen=norms[precision]: seen.append(numbers["train/grad_norm"]),
        )
    assert norms["fp16"] == pytest.approx(norms["fp32"], rel=0.02)


# ------------------------------------------------------------------ numbers of updates


def test_stages_count_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A second stage: its updates are numbered after those of the first wherever they are shown or kept."""
    encoder, seen = Encoder(), []
    progress = fit(
        encoder,
        [source(encoder)],
        replace(SETTINGS, epochs=1, log_steps=3, eval_steps=2, save_steps=4, save_limit=0, select_on="dev/x"),
        evaluate=lambda: {"dev/x": float(len(seen))},
        checkpoints=tmp_path,
        stage=1,
        first_update=100,
        earlier=[{"stage": "one"}],
        scalars=lambda numbers, update: seen.append((update, *numbers)),
    )
    assert [number for number, *names in seen if "train/loss" in names] == [103, 106]
    assert [number for number, *names in seen if names == ["dev/x"]] == [102, 104, 106]
    assert [entry["update"] for entry in progress.history] == [102, 104, 106]
    assert progress.best_update == 106 and progress.update == 6
    assert [path.name for path in list_checkpoints(tmp_path)] == ["update-00000104", "update-00000106"]
    kept = load_checkpoint(tmp_path / "update-00000104", CPU)["progress"]
    assert (kept["stage"], kept["earlier"], kept["update"]) == (1, [{"stage": "one"}], 4)
    assert "update 103/106: loss " in caplog.text and "update 104: dev/x " in caplog.text


def test_a_loss_that_is_not_finite_is_counted_over_stages() -> None:
    encoder = Encoder()
    s = source(encoder)
    word = encoder.model.embeddings.word_embeddings.weight
    word.data[3:] = math.nan
    with pytest.raises(
        RunError, match=r"^update 101: the loss is nan \(.*word_embeddings.weight is not finite .*intact$"
    ):
        fit(encoder, [s], SETTINGS, first_update=100)


def test_skipped_updates_name_their_rows(caplog: pytest.LogCaptureFixture) -> None:
    encoder = Encoder()
    encoder.model.embeddings.LayerNorm.weight.register_hook(lambda grad: grad * math.inf)
    settings = replace(SETTINGS, max_updates=2, accumulation=2)
    s = source(encoder)
    plan = settings.batches([s], 0)
    fit(encoder, [s], settings, first_update=10)
    found = re.findall(
        r"update (\d+) skipped: the gradient norm is (?:nan|inf) \(rows ([\d, ]+) of made-up\)", caplog.text
    )
    assert [int(number) for number, _ in found] == [11, 12]
    for place, (_, rows) in enumerate(found):
        of_the_update = [row + 1 for _, rows in plan[2 * place : 2 * place + 2] for row in rows]
        assert [int(row) for row in rows.split(", ")] == sorted(of_the_update)


def test_an_interrupted_run_says_where_it_lies(tmp_path: Path) -> None:
    for folder, run in ((tmp_path / "run" / "checkpoints", tmp_path / "run"), (None, None)):
        encoder = Encoder()

        def stop(numbers: dict[str, float], update: int) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

        with pytest.raises(Interrupted) as error:
            settings = replace(SETTINGS, log_steps=3)
            fit(encoder, [source(encoder)], settings, checkpoints=folder, first_update=7, scalars=stop)
        assert (error.value.update, error.value.run, error.value.signum) == (10, run, signal.SIGTERM)
    assert [path.name for path in list_checkpoints(tmp_path / "run" / "checkpoints")] == ["update-00000010"]


# ------------------------------------------------------------------ what is kept


def test_time_of_training_is_added_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A clock that goes on by 1, 2, 3, ... seconds at every look: of an update the time between its two looks counts."""
    looks = iter(range(1, 1000))
    now = [0.0]

    def clock() -> float:
        now[0] += next(looks)
        return now[0]

    monkeypatch.setattr(sbert.loop.time, "perf_counter", clock)
    encoder = Encoder()
    s = source(encoder)
    rates: list[float] = []
    cut = fit(
        encoder,
        [s],
        replace(SETTINGS, max_updates=3),
        checkpoints=tmp_path,
        scalars=lambda numbers, update: rates.append(numbers["train/examples_per_second"]),
    )
    assert cut.seconds == 2 + 4 + 6
    assert rates == [sum(len(rows) for _, rows in SETTINGS.batches([s], 0)[:3]) / 12]
    state = load_checkpoint(list_checkpoints(tmp_path)[-1], CPU)
    whole = fit(encoder, [s], SETTINGS, checkpoints=tmp_path, resume=state)
    assert whole.seconds == 12 + sum(range(8, 26, 2))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda state: state.pop("optimizer"), "'optimizer'"),
        (lambda state: state.pop("random"), "'random'"),
        (lambda state: state["progress"].update(weather="fair"), "weather"),
        (lambda state: state["objectives"].popitem(), "Missing key"),
    ],
)
def test_checkpoint_of_something_else_is_refused(tmp_path: Path, spoil, reason: str) -> None:
    encoder = Encoder()
    fit(encoder, [source(encoder)], replace(SETTINGS, max_updates=1), checkpoints=tmp_path)
    state = load_checkpoint(list_checkpoints(tmp_path)[-1], CPU)
    spoil(state)
    with pytest.raises(RunError, match=r"^the checkpoint does not fit this model or run: ") as error:
        fit(encoder, [source(encoder)], SETTINGS, resume=state)
    assert reason in str(error.value) and "\n" not in str(error.value)


def test_the_last_model_is_kept_where_none_was_selected(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = Encoder()
    fit(encoder, [source(encoder)], SETTINGS, model_folder=tmp_path / "last")
    assert encoder.saved == [tmp_path / "last"] and not encoder.training
    assert "never a number" not in caplog.text

    encoder = Encoder()
    settings = replace(SETTINGS, select_on="dev/x", eval_steps=4)
    fit(
        encoder,
        [source(encoder)],
        settings,
        evaluate=lambda: {"dev/x": math.nan},
        model_folder=tmp_path / "nan",
    )
    assert encoder.saved == [tmp_path / "nan"]
    assert "dev/x was never a number: the last model is kept" in caplog.text


def test_early_stopping_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encoder, values = Encoder(), iter([0.25, 0.5, 0.5, 0.4])
    settings = replace(SETTINGS, eval_steps=1, select_on="dev/x", patience=2)
    progress = fit(
        encoder,
        [source(encoder)],
        settings,
        evaluate=lambda: {"dev/x": next(values)},
        checkpoints=tmp_path,
        model_folder=tmp_path / "model",
    )
    assert (progress.update, progress.worse, progress.best) == (4, 2, 0.5)
    assert encoder.saved == [tmp_path / "model"] * 2, "nothing is saved over the best one"
    messages = [record.getMessage() for record in caplog.records]
    assert "update 2: dev/x 0.5000 (best so far)" in messages and "update 3: dev/x 0.5000" in messages
    assert "stopped early: no better dev/x in 2 evaluations" in messages
    kept = load_checkpoint(list_checkpoints(tmp_path)[-1], CPU)["progress"]
    assert (kept["update"], kept["best"], kept["best_update"], kept["worse"]) == (4, 0.5, 2, 2)


def test_nothing_measured_nothing_told() -> None:
    encoder, seen = Encoder(), []
    progress = fit(
        encoder, [source(encoder)], replace(SETTINGS, log_steps=1000), scalars=lambda *told: seen.append(told)
    )
    assert progress.history == [{"update": 6}, {"update": 12}]
    assert [update for _, update in seen] == [12], "an evaluation without metrics is no point of a curve"


def test_dropout_is_on_while_training() -> None:
    """An objective that an evaluation left in its own mode."""
    encoder = Encoder(0.5)
    s = source(encoder)
    s.objective.eval()
    modes = []
    encoder.model.register_forward_pre_hook(lambda module, args: modes.append(module.training))
    fit(encoder, [s], replace(SETTINGS, max_updates=1))
    assert modes and all(modes)


# ------------------------------------------------------------------ the bar, the plan


class Bar:
    """Stands in for tqdm; remembers how it was made and how often it went on."""

    def __init__(self, **options: object) -> None:
        self.options, self.steps, self.disable, self.text = options, 0, True, ""

    def update(self) -> None:
        self.steps += 1

    def set_postfix_str(self, text: str) -> None:
        self.text = text


def test_progress_bar_counts_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Bar] = []

    def bar(**options: object) -> contextlib.nullcontext[Bar]:
        made.append(Bar(**options))
        return contextlib.nullcontext(made[-1])

    monkeypatch.setattr(sbert.loop, "tqdm", bar)
    encoder = Encoder()
    fit(encoder, [source(encoder)], replace(SETTINGS, max_updates=5), checkpoints=tmp_path)
    state = load_checkpoint(list_checkpoints(tmp_path)[-1], CPU)
    monkeypatch.setattr(sbert.loop.ranks, "is_first", lambda: False)
    fit(encoder, [source(encoder)], SETTINGS, resume=state)
    first, second = made
    assert first.options == {"total": 5, "initial": 0, "unit": " updates", "disable": None}
    assert second.options == {"total": 12, "initial": 5, "unit": " updates", "disable": True}
    assert (first.steps, second.steps) == (5, 7)
    assert re.fullmatch(r"loss \d\.\d{4}, \d+ examples/s", second.text)


@pytest.mark.parametrize("round_robin", [False, True])
@pytest.mark.parametrize("sampler", ["random", "length"])
def test_batches_of_an_epoch_are_those_of_the_sampler(sampler: str, round_robin: bool) -> None:
    encoder = Encoder()
    sources = [source(encoder, rows=22), source(encoder, rows=9)]
    settings = replace(SETTINGS, sampler=sampler, round_robin=round_robin, batch_size=5, seed=8)
    for epoch in range(2):
        assert settings.batches(sources, epoch) == mixed_batches(  # type: ignore[arg-type]
            [s.lengths for s in sources], 5, seed=8, epoch=epoch, sampler=sampler, round_robin=round_robin
        )


@pytest.mark.parametrize(
    ("accumulation", "starts"), [(1, [0, 6, 12, 18]), (4, [0, 2, 4, 6]), (7, [0, 1, 2, 3])]
)
def test_epochs_start_at_whole_updates(accumulation: int, starts: list[int]) -> None:
    encoder = Encoder()
    settings = replace(SETTINGS, epochs=3, accumulation=accumulation)
    assert settings.epoch_starts([source(encoder)]) == starts


def test_the_schedule_of_a_run_cut_short_is_that_of_the_whole(tmp_path: Path) -> None:
    """Evaluations and checkpoints of a run that --max-updates ends are at its own end and its epochs'."""
    encoder = Encoder()
    progress = fit(
        encoder, [source(encoder)], replace(SETTINGS, max_updates=8, save_limit=0), checkpoints=tmp_path
    )
    assert [entry["update"] for entry in progress.history] == [6, 8]
    assert [int(path.name[-8:]) for path in list_checkpoints(tmp_path)] == [6, 8]
    longer = fit(encoder, [source(encoder)], replace(SETTINGS, max_updates=99))
    assert longer.update == 12


def test_defaults_are_the_papers() -> None:
    """Section 3.1: one epoch, batches of 16, Adam at 2e-5, a tenth of the steps to warm up."""
    plain = Settings()
    assert (plain.epochs, plain.batch_size, plain.lr, plain.head_lr, plain.warmup_ratio) == (
        1,
        16,
        2e-5,
        2e-5,
        0.1,
    )
    assert (plain.accumulation, plain.cache_rows, plain.max_updates, plain.patience) == (1, 0, 0, 0)
    assert (plain.select_on, plain.init_scale, plain.max_grad_norm) == (None, 65536.0, 1.0)
    assert Progress() == Progress(0, 0, None, 0, 0, 0, 0, 0.0, [], [])


@pytest.mark.parametrize("accumulation", [1, 2])
def test_what_is_logged_is_the_mean_of_the_updates_since(accumulation: int) -> None:
    """Loss and gradient norm of three updates together are the mean of the three alone; each loss the mean over its rows."""
    logged: dict[int, list[dict[str, float]]] = {}
    for steps in (1, 3):
        encoder = Encoder(0.0)
        s = source(encoder)
        logged[steps] = []
        still = {
            "lr": 1e-30,
            "head_lr": 1e-30,
            "weight_decay": 0.0,
            "epochs": 1,
            "accumulation": accumulation,
        }
        settings = replace(SETTINGS, log_steps=steps, **still)  # type: ignore[arg-type]
        fit(encoder, [s], settings, scalars=lambda numbers, update, to=logged[steps]: to.append(numbers))
    plan = [rows for _, rows in settings.batches([s], 0)]
    rows_of = [list(chain(*plan[i : i + accumulation])) for i in range(0, len(plan), accumulation)]
    for numbers, rows in zip(logged[1], rows_of, strict=True):
        batch = s.batch(rows, CPU)
        with torch.no_grad():
            loss = s.objective(batch.features, batch.answer)["loss"].item()
        assert numbers["train/loss"] == pytest.approx(loss, rel=1e-4)
    for name in ("train/loss", "train/grad_norm"):
        first = [numbers[name] for numbers in logged[1][:3]]
        assert logged[3][0][name] == pytest.approx(sum(first) / 3, rel=1e-5)
