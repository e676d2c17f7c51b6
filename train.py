"""Train and evaluate Sentence-BERT models: flags -> build -> fit -> report. See --help and the README.

python train.py                                                            # embedded samples, two minutes
python train.py --train-data stsb --epochs 4 --eval-data stsb sts12 sickr  # STS regression (paper, table 2)
python train.py --eval-only --model minilm --eval-data stsb sts12 sickr
python train.py --resume runs/x
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.examples import DataError
from sbert.errors import Interrupted, RunError, UsageError
from sbert.flag_checks import parse
from sbert.flags import PER_STAGE, Flags

if TYPE_CHECKING:  # torch is imported only after the flags are known to be right
    import torch

    import data
    from sbert.build import Stage
    from sbert.loop import Settings
    from sbert.model import modelWithPooling
    from sbert.run import RunDirectory


def main(argv: list[str]) -> int:
    try:
        flags, given = parse(argv)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        return evaluate_only(flags, argv) if flags.eval_only else train(flags, given, argv)
    except UsageError as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        return 2
    except Interrupted as error:
        print(f"train.py: {error}: saved; python train.py --resume {error.run} continues", file=sys.stderr)
        return 128 + error.signum
    except (RunError, DataError) as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        return 1


def prepare(flags: Flags) -> "tuple[torch.device, str]":
    """Logging, threads, device and precision."""
    import torch

    from sbert.build import resolve_device
    from sbert.precision import cpu_has_bf16, resolve
    from sbert.run import log, set_up_logging

    set_up_logging()
    if flags.threads:
        torch.set_num_threads(flags.threads)
    device = resolve_device(flags.device)
    precision = resolve(flags.precision, device, training=not flags.eval_only)
    if device.type == "cpu" and (precision == "fp16" or (precision == "bf16" and not cpu_has_bf16())):
        log.warning(
            "this processor has no %s arithmetic: it works, slowly (fp32 is the fast choice here)", precision
        )
    return device, precision


def evaluate_only(flags: Flags, argv: list[str]) -> int:
    """Scores a model on the named sets: one table, one JSON."""
    device, precision = prepare(flags)
    from sbert.build import build_model, load_sets, overlap_marks
    from sbert.evaluation.evaluate import evaluate_with_report
    from sbert.report import similarity_table
    from sbert.run import RunDirectory

    assert flags.eval_data is not None
    path = Path(flags.output_dir or Path("runs") / (flags.run_name or time.strftime("eval-%Y%m%d-%H%M%S")))
    RunDirectory(path).refuse_second_run()
    sets = load_sets(flags.eval_data, None, flags)
    for dataset in sets:
        if dataset.task == "nli":
            raise UsageError(f"--eval-data {dataset.key} is NLI data: a bi-encoder keeps no classifier")
    model = build_model(flags, device)
    run = RunDirectory.create(path, unique=not (flags.output_dir or flags.run_name))
    marks = overlap_marks(model, [], flags.eval_data)
    started = time.perf_counter()
    metrics, report = evaluate_with_report(
        model, sets, precision=precision, progress=True, batch_tokens=flags.eval_batch_tokens or None
    )
    assert report is not None
    seconds = time.perf_counter() - started
    pairs = {s.key: len(s) for s in sets}
    run.write_config(flags, argv, device=str(device), precision=precision, data=file_hashes(sets))
    run.write(
        run.metrics_path,
        {
            **metrics,
            "marks": marks,
            "encode/distinct_texts": report.distinct,
            "encode/truncated_texts": report.truncated,
            "encode/seconds": seconds,
            "encode/padding_share": report.padding_share,
        },
    )
    print(similarity_table(metrics, pairs, marks))
    print(
        f"\n{report.distinct:,} distinct texts, {report.truncated:,} truncated to {model.max_length} tokens, "
        f"{seconds:.1f} s, {precision} on {device}; written to {run.metrics_path}"
    )
    return 0


def train(flags: Flags, given: set[str], argv: list[str]) -> int:
    """Trains every stage, evaluates before and after, prints what came of it."""
    from sbert.run import RunDirectory, stored_flags

    if flags.resume:
        run = RunDirectory(Path(flags.resume))
        flags = stored_flags(run, flags, given)
    else:
        run = RunDirectory(Path(flags.output_dir or Path("runs") / (flags.run_name or default_name(flags))))
        run.refuse_second_run()
    device, precision = prepare(flags)
    from sbert.build import build_model, eval_names, load_sets, load_stages, overlap_marks

    stages = load_stages(flags)
    evaluated = eval_names(flags)
    test_sets = [s for s in load_sets(evaluated, None, flags) if s.task != "nli"]
    hashes = file_hashes([s for stage in stages for s in (*stage.train, *stage.dev)] + test_sets)
    if not flags.resume:
        run = RunDirectory.create(run.path, unique=not (flags.output_dir or flags.run_name))
    run.log_to_file()
    if flags.resume:
        check_same_data(run, hashes)
    import torch

    torch.manual_seed(flags.seed)
    model = build_model(flags, device, [o for stage in stages for o in stage.objectives])
    if not flags.resume:
        run.write_config(
            flags,
            argv,
            device=str(device),
            precision=precision,
            data=hashes,
            rows={s.key: len(s) for stage in stages for s in stage.train},
        )
    marks = overlap_marks(model, flags.train_data, evaluated)
    for note in marks.values():
        warn(note)
    before = score_before(run, model, test_sets, flags, precision)
    histories = run_stages(flags, stages, model, run, precision)
    return finish(flags, run, histories, before, test_sets, marks, precision, device)


def run_stages(
    flags: Flags, stages: "list[Stage]", model: "modelWithPooling", run: "RunDirectory", precision: str
) -> list[dict[str, Any]]:
    """Fits the stages one after the other, each starting from the model the one before selected."""
    import torch
    from torch.utils.tensorboard import SummaryWriter

    from sbert.build import build_objective
    from sbert.checkpoint import load_checkpoint
    from sbert.evaluation import evaluate_objective
    from sbert.loop import fit
    from sbert.source import Source

    latest = run.latest_checkpoint() if flags.resume else None
    resume = load_checkpoint(latest, model.device) if latest else None
    history = resume["progress"]["earlier"] if resume else []
    first_update = history[-1]["last_update"] if history else 0
    writer = SummaryWriter(
        str(run.path / "tensorboard"),
        purge_step=(first_update + resume["progress"]["update"] + 1) if resume else None,
    )

    def scalars(numbers: dict[str, float], update: int) -> None:
        try:
            for name, value in numbers.items():
                writer.add_scalar(name, value, update)
        except OSError as error:
            raise RunError(f"{run.path}/tensorboard: cannot be written: {error.strerror or error}") from None

    for stage in stages:
        model.facts["trained_on"] = [*model.facts.get("trained_on", []), *map(trained_name, stage.train)]
        if stage.number < len(history):  # finished before the run was interrupted
            continue
        torch.manual_seed((flags.seed + 1000 * stage.number) % 2**64)
        built = {name: build_objective(name, model, flags).to(model.device) for name in stage.objectives}
        objectives = [built[name] for name in stage.objectives]  # sets of one task share one classifier
        sources = [Source.build(s, o, model) for s, o in zip(stage.train, objectives, strict=True)]
        if stage.number and not (resume and resume["progress"]["stage"] == stage.number):
            reload_weights(model, stage_folder(run, stage.number - 1, len(stages)))
        scored = built.get("classification", objectives[0])

        def evaluate(stage: "Stage" = stage, objective: Any = scored) -> dict[str, float]:
            return evaluate_objective(
                objective, stage.dev, precision=precision, batch_tokens=flags.eval_batch_tokens or None
            )

        progress = fit(
            model,
            sources,
            settings_of(flags, stage, precision),
            evaluate=evaluate,
            checkpoints=run.checkpoints,
            model_folder=stage_folder(run, stage.number, len(stages)),
            stage=stage.number,
            first_update=first_update,
            earlier=history,
            resume=resume if resume and resume["progress"]["stage"] == stage.number else None,
            scalars=scalars,
        )
        first_update += progress.update
        history = [
            *history,
            {
                "stage": stage.number,
                "trained_on": [s.key for s in stage.train],
                "objectives": stage.objectives,
                "selected_on": stage.select_on or "last",
                "best": progress.best,
                "best_update": progress.best_update,
                "last_update": first_update,
                "skipped_updates": progress.skipped,
                "train_seconds": round(progress.seconds, 2),
                "evaluations": progress.history,
            },
        ]
    writer.close()
    return history


def trained_name(dataset: "data.DataSet") -> str:
    """How a model remembers a set: a file of somebody's own must not pass for a registered set of the same name."""
    from data import SETS

    return dataset.key if dataset.name in SETS else f"local:{dataset.key}"


def stage_folder(run: "RunDirectory", stage: int, stages: int) -> Path:
    """model/ for the last stage; what earlier stages selected is kept beside it."""
    return run.path / ("model" if stage == stages - 1 else f"model-stage-{stage + 1}")


def reload_weights(model: "modelWithPooling", directory: Path) -> None:
    """Puts the weights a stage selected back into the model that is being trained."""
    from sbert.model import modelWithPooling

    model.load_state_dict(modelWithPooling.from_pretrained(directory).state_dict())


def settings_of(flags: Flags, stage: "Stage", precision: str) -> "Settings":
    from sbert.loop import Settings

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
        seed=flags.seed,
        eval_steps=flags.eval_steps,
        save_steps=flags.save_steps,
        log_steps=flags.log_steps,
        save_limit=flags.save_limit,
        patience=flags.patience,
        select_on=stage.select_on,
        max_updates=flags.max_updates,
    )


def score_before(
    run: "RunDirectory", model: "modelWithPooling", sets: "list[data.DataSet]", flags: Flags, precision: str
) -> dict[str, float]:
    """Metrics of the untrained model, kept in before.json so that a resumed run does not compute them again."""
    from sbert.evaluation import evaluate
    from sbert.jsonfile import read_json

    path = run.path / "before.json"
    if flags.resume and path.exists():
        return {k: float("nan") if v is None else v for k, v in read_json(path).items()}
    metrics = evaluate(model, sets, precision=precision, batch_tokens=flags.eval_batch_tokens or None)
    run.write(path, metrics)
    return metrics


def finish(
    flags: Flags,
    run: "RunDirectory",
    histories: list[dict[str, Any]],
    before: dict[str, float],
    test_sets: "list[data.DataSet]",
    marks: dict[str, str],
    precision: str,
    device: "torch.device",
) -> int:
    """Scores the selected model as it stands on disk, writes metrics.json, prints the table and what to try next."""
    from sbert.evaluation import evaluate
    from sbert.model import modelWithPooling
    from sbert.report import before_after_table

    model = modelWithPooling.from_pretrained(run.path / "model", device=device)
    after = evaluate(model, test_sets, precision=precision, batch_tokens=flags.eval_batch_tokens or None)
    run.write(
        run.metrics_path,
        {**after, **{f"before/{k}": v for k, v in before.items()}, "marks": marks, "stages": histories},
    )
    pairs = {s.key: len(s) for s in test_sets}
    if pairs:
        print(before_after_table(before, after, pairs, marks))
    for stage in histories:
        picked = (
            f"update {stage['best_update']}, {stage['selected_on']} {stage['best']:.4f}"
            if stage["best"] is not None
            else f"update {stage['last_update']} (the last)"
        )
        print(
            f"\n{' + '.join(stage['trained_on'])}, {' + '.join(stage['objectives'])}: kept {picked}; "
            f"{stage['train_seconds']:.0f} s of training, {precision} on {device}",
            end="",
        )
    here = Path(sys.executable)
    python = os.path.relpath(here) if Path.cwd() in here.parents else "python"
    tensorboard = str(Path(python).with_name("tensorboard"))
    print(f"""

model        {run.path}/model
metrics      {run.metrics_path}
TensorBoard  {tensorboard} --logdir {run.path}/tensorboard

next: {python} train.py --eval-only --model {run.path}/model --eval-data {" ".join(s.name for s in test_sets) or "stsb"}
      {python} train.py --train-data stsb --epochs 4 --eval-data stsb korsts    # needs --data-dir or a network""")
    return 0


def default_name(flags: Flags) -> str:
    model = Path(flags.model).name
    return f"{model}-{'+'.join(Path(d).stem for d in flags.train_data)}-{time.strftime('%Y%m%d-%H%M%S')}"


def file_hashes(sets: "list[data.DataSet]") -> dict[str, str]:
    return {name: sha for s in sets for name, sha in s.files.items()}


def check_same_data(run: "RunDirectory", hashes: dict[str, str]) -> None:
    from sbert.jsonfile import read_json

    stored = read_json(run.config_path).get("data", {})
    for name, sha in hashes.items():
        if stored.get(name, sha) != sha:
            raise RunError(
                f"--resume {run.path}: {name} has changed: sha256 was {stored[name]}, is now {sha}"
            )


def warn(message: str) -> None:
    from sbert.run import log

    log.warning("%s", message)


def _terminated(signum: int, frame: object) -> None:
    print(f"train.py: {signal.Signals(signum).name}: stopped", file=sys.stderr)
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)  # inside the loop its own guard saves a checkpoint first
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        print("train.py: SIGINT: stopped", file=sys.stderr)
        code = 128 + signal.SIGINT
    except ModuleNotFoundError as error:
        print(
            f"train.py: error: {error}: run make quickstart once, then use .venv/bin/python", file=sys.stderr
        )
        code = 1
    raise SystemExit(code)
