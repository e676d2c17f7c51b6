"""The training loop: one ``fit`` for every objective.

It knows nothing about tasks: a batch goes in, a loss comes out. One update is ``accumulation`` micro-batches under one
autocast, one unscale, one clip, one step. Evaluation, selection, early stopping, checkpoints and pruning hang on the
update counter, so a resumed run (weights, optimizer, scaler, random states, counter) equals an uninterrupted one.
"""

import logging
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from data.sampler import mixed_batches
from sbert import distributed, ranks
from sbert.checkpoint import restore_random_states, save_checkpoint
from sbert.cross_encoder import CrossEncoder
from sbert.diagnose import origin_of_bad_loss, rows_of
from sbert.errors import Interrupted, RunError
from sbert.gradient_cache import cached_backward
from sbert.meter import Meter
from sbert.model import modelWithPooling
from sbert.objectives import Objective
from sbert.optim import (
    TableGradient,
    build_optimizer,
    clip_gradients,
    learning_rate_factor,
    table_gradients,
    zero_gradients,
)
from sbert.precision import autocast, grad_scaler
from sbert.signals import SignalGuard
from sbert.source import Batch, TrainingSource
from sbert.towers import TwoTowers
from sbert.unpadded import trains_packed

log = logging.getLogger("sbert")
Encoder = modelWithPooling | TwoTowers | CrossEncoder
MAX_SKIPPED = 20  # updates in a row whose gradients were not finite, before the run is given up


@dataclass(frozen=True)
class Settings:
    """What one stage of training does. Steps are counted in updates (optimizer steps)."""

    epochs: int = 1
    batch_size: int = 16
    accumulation: int = 1
    lr: float = 2e-5
    head_lr: float = 2e-5
    weight_decay: float = 0.01
    warmup_ratio: float = 0.1
    max_grad_norm: float = 1.0
    precision: str = "fp32"
    sampler: str = "auto"
    round_robin: bool = False  # sets take turns, in place of batches in proportion to their size
    cache_rows: int = 0  # texts that go through the encoder at a time, gradient cache; 0: all, without one
    seed: int = 42
    eval_steps: float = 0  # 0: once an epoch; below 1: a share of the stage
    save_steps: float = 0  # 0: when evaluating
    log_steps: int = 50
    save_limit: int = 2
    patience: int = 0  # evaluations without a better one before stopping; 0: never
    select_on: str | None = None  # metric to keep the best model by; None: keep the last
    max_updates: int = 0  # stop after so many (0: all), with the schedule of the full run
    init_scale: float = 2.0**16  # of the fp16 gradient scaler

    def batches(self, sources: Sequence[TrainingSource], epoch: int) -> list[tuple[int, list[int]]]:
        """The batches of an epoch, (number of the set, its rows)."""
        return mixed_batches(
            [source.lengths for source in sources],
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            sampler=self.sampler,
            keys=[source.keys for source in sources],
            topics=[source.topics for source in sources],
            round_robin=self.round_robin,
        )

    def epoch_starts(self, sources: Sequence[TrainingSource]) -> list[int]:
        """The update each epoch starts after, and the number of all. Batches without duplicates differ in number from
        epoch to epoch, others do not."""
        differ = any(source.keys is not None for source in sources)
        counts = [len(self.batches(sources, epoch)) for epoch in range(self.epochs if differ else 1)]
        updates = [math.ceil(count / self.accumulation) for count in counts]
        return list(accumulate(updates if differ else updates * self.epochs, initial=0))


@dataclass
class Progress:
    """What a checkpoint remembers about a stage besides tensors."""

    stage: int = 0
    update: int = 0
    best: float | None = None
    best_update: int = 0
    worse: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    seconds: float = 0.0
    earlier: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)

    def patience_is_out(self, settings: Settings) -> bool:
        return bool(settings.patience) and self.worse >= settings.patience

    def note_skip(self, number: int, norm: float, rows: Callable[[], str] = str) -> None:
        """Counts an update that was left out. Raises RunError when too many follow one another. rows: names its examples."""
        if math.isfinite(norm):
            self.skipped_in_a_row = 0
            return
        self.skipped += 1
        self.skipped_in_a_row += 1
        log.warning("update %d skipped: the gradient norm is %s (%s)", number, norm, rows())
        if self.skipped_in_a_row >= MAX_SKIPPED:
            raise RunError(
                f"update {number}: the gradients were not finite {MAX_SKIPPED} times in a row, the last time with {rows()}"
            )


def fit(
    encoder: Encoder,
    sources: Sequence[TrainingSource],
    settings: Settings,
    *,
    evaluate: Callable[[], dict[str, float]] = dict,
    checkpoints: Path | None = None,
    model_folder: Path | None = None,
    stage: int = 0,
    first_update: int = 0,
    earlier: Sequence[dict[str, Any]] = (),
    resume: dict[str, Any] | None = None,
    scalars: Callable[[dict[str, float], int], None] | None = None,
) -> Progress:
    """Trains the objectives of ``sources`` (which share ``encoder``) and returns the progress made.

    evaluate: called every ``eval_steps`` updates. model_folder: where the selected model goes; checkpoints: where
    those go; None writes nothing. first_update: updates of earlier stages, added to the numbers that are logged;
    earlier: what those stages left to remember, kept in every checkpoint.
    resume: what checkpoint.load_checkpoint returned. scalars: receives named numbers and the update.
    Raises Interrupted on SIGINT/SIGTERM after saving, RunError when the loss or the gradients stop being finite.
    """
    objectives = nn.ModuleList([source.objective for source in sources])
    optimizer = build_optimizer(
        encoder, objectives, lr=settings.lr, head_lr=settings.head_lr, weight_decay=settings.weight_decay
    )
    scaler = grad_scaler(encoder.device, settings.precision, settings.init_scale)
    parts = {"objectives": objectives, "optimizer": optimizer, "scaler": scaler}
    starts = settings.epoch_starts(sources)
    total = starts[-1]
    warmup = int(total * settings.warmup_ratio)
    last = min(total, settings.max_updates or total)
    evaluates = _due(settings.eval_steps, last, {*starts[1:], last})
    saves = _due(settings.save_steps, last, evaluates)
    progress = _restore(resume, parts) if resume else Progress(stage=stage, earlier=list(earlier))
    distributed.copy_weights(objectives)
    meter = Meter(sources, scalars, settings.log_steps, first_update, last, trains_packed(encoder))
    objectives.train()
    with (
        table_gradients(encoder, encoder.device) as kept,
        SignalGuard() as guard,
        tqdm(
            total=last, initial=progress.update, unit=" updates", disable=None if ranks.is_first() else True
        ) as bar,
    ):
        plan: list[tuple[int, list[int]]] = []
        while progress.update < last and not progress.patience_is_out(settings):
            epoch = bisect_right(starts, progress.update) - 1
            within = progress.update - starts[epoch]
            if within == 0 or not plan:
                plan = settings.batches(sources, epoch)
            micro_batches = plan[within * settings.accumulation : (within + 1) * settings.accumulation]
            started = time.perf_counter()
            factor = learning_rate_factor(progress.update, total, warmup)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            number = first_update + progress.update + 1
            loss, norm = _update(sources, micro_batches, optimizer, scaler, settings, meter, number, kept)
            progress.update += 1
            seconds = time.perf_counter() - started
            progress.seconds += seconds
            progress.note_skip(number, norm, partial(rows_of, sources, micro_batches))
            bar.update()
            meter.update(progress.update, loss, norm, settings.lr * factor, scaler.get_scale(), seconds, bar)

            if progress.update in evaluates:
                _evaluate(encoder, evaluate, settings, progress, model_folder, number, scalars)
            # a signal to one process stops all of them, after the same update
            stop = distributed.most(guard.signum or 0)
            ending = progress.update == last or progress.patience_is_out(settings) or stop
            if progress.update in saves or ending:
                if checkpoints is not None:
                    save_checkpoint(checkpoints, number, parts, asdict(progress), settings.save_limit)
                stop = distributed.most(guard.signum or 0)  # all wait until the first has saved
            if stop:
                raise Interrupted(stop, number, checkpoints.parent if checkpoints else None)
    _finish(encoder, settings, progress, model_folder)
    distributed.wait()  # what the first process has saved is there for all
    return progress


def _restore(resume: dict[str, Any], parts: dict[str, Any]) -> Progress:
    """Puts a checkpoint back into the parts it was made of. Raises RunError when it does not fit them."""
    try:
        progress = Progress(**resume["progress"])
        for name, part in parts.items():
            part.load_state_dict(resume[name])
        restore_random_states(resume["random"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise RunError(f"the checkpoint does not fit this model or run: {reason}") from error
    return progress


def _update(
    sources: Sequence[TrainingSource],
    micro_batches: Sequence[tuple[int, list[int]]],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    settings: Settings,
    meter: "Meter",
    number: int,
    kept: Sequence[TableGradient],
) -> tuple[float, float]:
    """One optimizer step: (mean loss of its examples, gradient norm before clipping).

    The step is left out when the norm is not finite. Raises RunError when the loss is not and no scaler could mend it.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    device = parameters[0].device
    examples = sum(len(rows) for _, rows in micro_batches)
    loss_sum = torch.zeros((), device=device)
    for position, (source, rows) in enumerate(micro_batches):
        batch = sources[source].batch(rows, device)
        share = batch.size / examples  # so that the update's loss is the mean over its examples
        with distributed.own_randomness(settings.seed, number, position):
            loss = accumulate_gradients(sources[source].objective, batch, settings, scaler, share)
        loss_sum += loss.detach() * share
        meter.count(batch)
    if not math.isfinite(loss_sum.item()) and not scaler.is_enabled():
        origin = origin_of_bad_loss(sources, micro_batches, settings.precision)
        raise RunError(
            f"update {number}: the loss is {loss_sum.item()} ({origin}); the last checkpoint is intact"
        )
    distributed.sum_gradients(source.objective for source in sources)
    scaler.unscale_(optimizer)  # of the sum: an overflow on one process is found by all
    norm = clip_gradients(parameters, settings.max_grad_norm or math.inf, kept)
    if math.isfinite(norm):
        scaler.step(optimizer)
    scaler.update()
    zero_gradients(optimizer, kept)
    return loss_sum.item(), norm


def accumulate_gradients(
    objective: Objective, batch: Batch, settings: Settings, scaler: torch.amp.GradScaler, share: float
) -> torch.Tensor:
    """Accumulates the gradients of one micro-batch, plainly or through the gradient cache; its loss.

    Of several processes each accumulates those of its share of the rows (sbert.distributed).
    """
    casting = partial(autocast, batch.features[0]["input_ids"].device, settings.precision)

    def backward(loss: torch.Tensor) -> None:
        scaler.scale(loss * share).backward()

    if settings.cache_rows:
        return cached_backward(
            objective, batch.features, batch.answer, settings.cache_rows, backward, casting
        )
    with casting():
        encoded = objective.embed(distributed.share(batch.features))
        loss = objective.score(distributed.gather(encoded, batch.features), batch.answer)["loss"]
    backward(loss)
    return loss


def _finish(
    encoder: Encoder,
    settings: Settings,
    progress: Progress,
    model_folder: Path | None,
) -> None:
    """Says why training ended where that is news; keeps the last model where no better one was kept."""
    if progress.patience_is_out(settings):
        log.info("stopped early: no better %s in %d evaluations", settings.select_on, settings.patience)
    if settings.select_on and progress.best is None:
        log.warning("%s was never a number: the last model is kept", settings.select_on)
    if model_folder is not None and progress.best is None:
        encoder.save_pretrained(model_folder)
    encoder.eval()


def _due(steps: float, last: int, otherwise: set[int]) -> set[int]:
    """The updates after which something is done: every so many, or every such share of the stage, and the last one;
    0: ``otherwise``."""
    every = max(1, round(steps * last)) if 0 < steps < 1 else int(steps)
    return {*range(every, last + 1, every), last} if every else otherwise


def _evaluate(
    encoder: Encoder,
    evaluate: Callable[[], dict[str, float]],
    settings: Settings,
    progress: Progress,
    model_folder: Path | None,
    number: int,
    scalars: Callable[[dict[str, float], int], None] | None,
) -> None:
    """Evaluates and keeps the model if it is the best so far."""
    metrics = distributed.from_first(evaluate())
    progress.history.append({"update": number, **metrics})
    if scalars and metrics:
        scalars(metrics, number)
    if settings.select_on is None:
        return
    value = metrics[settings.select_on]
    # a collapsed model has no correlation (nan): it is never the best one
    better = math.isfinite(value) and (progress.best is None or value > progress.best)
    log.info("update %d: %s %.4f%s", number, settings.select_on, value, " (best so far)" if better else "")
    if better:
        progress.best, progress.best_update, progress.worse = value, number, 0
        if model_folder is not None:
            encoder.save_pretrained(model_folder)
    else:
        progress.worse += 1
