"""The stages of a training run, one after the other, each starting from the model the one before selected."""

import logging
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch

from sbert import ranks
from sbert.build import Model, build_objective, build_source
from sbert.checkpoint import load_checkpoint
from sbert.curves import Curves
from sbert.dense_source import DenseSource
from sbert.errors import RunError
from sbert.evaluation import evaluate_objective
from sbert.flags import PER_STAGE, Flags
from sbert.jsonfile import read_json
from sbert.loop import Progress, Settings, fit
from sbert.plan import AnySet, Stage, is_registered, scoring_options
from sbert.run import RunDirectory

log = logging.getLogger("sbert")
LONELY = 0.05  # batches of a single row are told of above this share


def run_stages(
    flags: Flags, stages: list[Stage], model: Model, run: RunDirectory, precision: str
) -> list[dict[str, Any]]:
    """Fits every stage that a resumed run has not finished yet; what each stage came to, first stage first."""
    latest = run.latest_checkpoint() if flags.resume else None
    resume = load_checkpoint(latest, model.device) if latest else None
    if flags.resume:
        run.note_resume(device=str(model.device), threads=torch.get_num_threads())
    history = resume["progress"]["earlier"] if resume else []
    first_update = history[-1]["last_update"] if history else 0
    writes = ranks.is_first()
    purge_step = (first_update + resume["progress"]["update"] + 1) if resume else None
    with closing(Curves(run.path / "tensorboard", purge_step)) if writes else nullcontext() as curves:
        for stage in stages:
            model.facts["trained_on"] = [
                *model.facts.get("trained_on", []),
                *(name for dataset in stage.train for name in trained_names(dataset)),
            ]
            if stage.number < len(history):  # finished before the run was interrupted
                continue
            torch.manual_seed((flags.seed + 1000 * stage.number) % 2**64)
            resumes = resume is not None and resume["progress"]["stage"] == stage.number
            if stage.number and not resumes:
                reload_weights(model, stage_folder(run, stage.number - 1, len(stages)))
            progress = _fit_stage(
                flags,
                stage,
                model,
                settings_of(flags, stage, precision),
                checkpoints=run.checkpoints if writes else None,
                model_folder=stage_folder(run, stage.number, len(stages)) if writes else None,
                first_update=first_update,
                earlier=history,
                resume=resume if resumes else None,
                scalars=curves.add if curves else None,
            )
            first_update += progress.update
            history = [*history, _summary(stage, progress, first_update)]
    return history


def _fit_stage(flags: Flags, stage: Stage, model: Model, settings: Settings, **more: Any) -> Progress:
    """Objectives (sets of one task share one classifier), sources, ``fit``."""
    built = {name: build_objective(name, model, flags).to(model.device) for name in stage.objectives}
    objectives = [built[name] for name in stage.objectives]
    sources = [build_source(s, o, model, flags) for s, o in zip(stage.train, objectives, strict=True)]
    for source in sources:
        if settings.batch_size == 1 and isinstance(source, DenseSource) and not any(source.rows.wrong):
            raise RunError(
                f"--batch-size 1: {source.name} has no negatives of its own, and a batch of one has none either: "
                "there is nothing to tell apart"
            )
        if isinstance(source, DenseSource):
            _warn_of_lonely_rows(source, settings)
    scored = built.get("classification", objectives[0])

    def evaluate() -> dict[str, float]:
        return evaluate_objective(scored, stage.dev, **scoring_options(flags, settings.precision))

    return fit(model, sources, settings, evaluate=evaluate, stage=stage.number, **more)


def _warn_of_lonely_rows(source: DenseSource, settings: Settings) -> None:
    """Where a question has many answers, rows are left over that no batch can take: they learn from nothing."""
    batches = settings.batches([source], 0)
    lonely = sum(len(rows) == 1 and not source.rows.wrong[rows[0]] for _, rows in batches)
    if lonely > LONELY * len(batches):
        log.warning(
            "%s: %s of %s batches hold a single row, which has nothing to be told apart from: rows of one question or passage "
            "share no batch. Hard negatives (python -m experiments.mine) give each row some of its own",
            source.name,
            f"{lonely:,}",
            f"{len(batches):,}",
        )


def _summary(stage: Stage, progress: Progress, last_update: int) -> dict[str, Any]:
    return {
        "stage": stage.number,
        "trained_on": [s.key for s in stage.train],
        "objectives": stage.objectives,
        "selected_on": stage.select_on or "last",
        "best": progress.best,
        "best_update": progress.best_update,
        "last_update": last_update,
        "skipped_updates": progress.skipped,
        "train_seconds": round(progress.seconds, 2),
        "evaluations": progress.history,
    }


def trained_names(dataset: AnySet) -> list[str]:
    """How a model remembers a set: a file of somebody's own must not pass for a registered set of the same name. What
    experiments.mine wrote is remembered with the set that it was mined from, as the file beside it says."""
    if is_registered(dataset):
        return [dataset.key]
    names = [f"local:{dataset.key}"]
    for path, sha256 in dataset.files.items():
        path_of_info = Path(f"{path}.info.json")
        if not path_of_info.is_file():
            continue
        info = read_json(path_of_info)
        mined = info["data"].get("set") if isinstance(info.get("data"), dict) else None
        if not isinstance(mined, str):
            continue
        if info.get("sha256") != sha256:
            log.warning("%s is of another file: which set this one was mined from is not known", path_of_info)
            continue
        names.append(mined)
    return names


def stage_folder(run: RunDirectory, stage: int, stages: int) -> Path:
    """model/ for the last stage; what earlier stages selected is kept beside it."""
    return run.path / ("model" if stage == stages - 1 else f"model-stage-{stage + 1}")


def reload_weights(model: Model, directory: Path) -> None:
    """Puts the weights a stage selected back into the model that is being trained."""
    model.load_state_dict(type(model).from_pretrained(directory).state_dict())


def settings_of(flags: Flags, stage: Stage, precision: str) -> Settings:
    def pick(name: str) -> Any:
        values = getattr(flags, name)
        return values[stage.number] if len(values) > 1 else values[0]

    paper_epochs = 4 if all(s.task == "sts" for s in stage.train) else 1
    return Settings(
        **{
            **{name: pick(name) for name in PER_STAGE if name != "objective"},
            "epochs": pick("epochs") or paper_epochs,
        },
        accumulation=flags.accumulation,
        precision=precision,
        weight_decay=flags.weight_decay,
        max_grad_norm=flags.max_grad_norm,
        sampler=flags.batch_sampler,
        round_robin=flags.mix == "round-robin",
        cache_rows=flags.cache_rows,
        seed=flags.seed,
        eval_steps=flags.eval_steps,
        save_steps=flags.save_steps,
        log_steps=flags.log_steps,
        save_limit=flags.save_limit,
        patience=flags.patience,
        select_on=stage.select_on,
        max_updates=flags.max_updates,
    )
