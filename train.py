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
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.examples import NLI_LABELS, DataError
from sbert import ranks
from sbert.errors import Interrupted, RunError, UsageError
from sbert.flag_checks import parse
from sbert.flags import Flags

if TYPE_CHECKING:  # torch is imported only after the flags are known to be right
    import torch

    from sbert.build import Model
    from sbert.plan import AnySet, Stage
    from sbert.run import RunDirectory

OWN_FLAGS = (
    "data_dir",
    "output_dir",
    "run_name",
    "resume",
    "device",
    "threads",
)  # of each process, or of its machine


def main(argv: list[str]) -> int:
    try:
        flags, given = parse(argv)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        return evaluate_only(flags, argv) if flags.eval_only else train(flags, given, argv)
    except UsageError as error:
        if ranks.is_first():
            print(f"train.py: error: {error}", file=sys.stderr)
        ranks.wait_for_the_first()
        return 2
    except Interrupted as error:
        start = f"torchrun --nproc-per-node {ranks.count()}" if ranks.count() > 1 else "python"
        again = f"{start} train.py --resume {error.run}"
        if ranks.is_first():
            print(f"train.py: {error}: saved; {again} continues", file=sys.stderr)
        return 128 + error.signum
    except (RunError, DataError) as error:
        return _say(str(error))
    except BrokenPipeError:  # whoever read the output has gone; nothing more can be said there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a path that may not be looked at, a name too long, no room for what is printed
        return _say(f"{error.filename or 'standard output'}: {error.strerror or error}")
    except UnicodeEncodeError as error:
        return _say(f"{error.object!a} cannot be written in {error.encoding}")


def _say(message: str) -> int:
    who = "" if ranks.is_first() else f"process {ranks.rank()}: "
    print(f"train.py: error: {who}{message}", file=sys.stderr)
    return 1


def prepare(flags: Flags) -> "tuple[torch.device, str]":
    """Logging, threads, device and precision; the other processes of torchrun."""
    import torch

    from sbert import distributed
    from sbert.build import resolve_device
    from sbert.precision import be_deterministic, cpu_has_bf16, resolve
    from sbert.run import log, set_up_logging

    set_up_logging()
    if flags.threads:
        torch.set_num_threads(flags.threads)
    if flags.deterministic:
        be_deterministic()
    device = resolve_device(flags.device)
    distributed.start(device)
    distributed.check_alike({name: value for name, value in asdict(flags).items() if name not in OWN_FLAGS})
    precision = resolve(flags.precision, device, training=not flags.eval_only)
    if device.type == "cpu" and (precision == "fp16" or (precision == "bf16" and not cpu_has_bf16())):
        log.warning(
            "this processor has no %s arithmetic: it works, slowly (fp32 is the fast choice here)", precision
        )
    return device, precision


def evaluate_only(flags: Flags, argv: list[str]) -> int:
    """Scores a model on the named sets: one table, one JSON."""
    device, precision = prepare(flags)
    from sbert import distributed
    from sbert.build import build_model, check_towers
    from sbert.evaluation.cross import takes
    from sbert.evaluation.evaluate import SIAMESE_TASKS, evaluate_with_report
    from sbert.plan import load_sets, overlap_marks, scoring_options
    from sbert.report import cross_tables, similarity_tables
    from sbert.run import RunDirectory

    assert flags.eval_data is not None
    path = Path(flags.output_dir or Path("runs") / (flags.run_name or time.strftime("eval-%Y%m%d-%H%M%S")))
    RunDirectory(path).refuse_second_run()
    with distributed.first_alone():
        sets = load_sets(flags.eval_data, None, flags)
        model = build_model(flags, device)
        check_towers(model, sets)
    distributed.check_alike(file_hashes(sets))
    labels = int(model.width) if flags.arch == "cross" else 0
    allowed = SIAMESE_TASKS if flags.arch == "bi" else takes(labels)
    for dataset in sets:
        if dataset.task not in allowed:
            kind = "a bi-encoder" if flags.arch == "bi" else f"this cross-encoder of {labels} label(s)"
            scored = f"scores {', '.join(allowed)}" if allowed else "has no metrics here"
            raise UsageError(f"--eval-data {dataset.key} is {dataset.task} data: {kind} {scored}")
    run = RunDirectory.create(path, unique=not (flags.output_dir or flags.run_name))
    run.lock()
    marks = overlap_marks(model.facts, [], flags.eval_data)
    started = time.perf_counter()
    metrics, report = evaluate_with_report(model, sets, progress=True, **scoring_options(flags, precision))
    seconds = time.perf_counter() - started
    unit = "texts" if flags.arch == "bi" else "pairs"
    pairs = {s.key: len(s) for s in sets}
    run.write_config(flags, argv, device=str(device), precision=precision, data=file_hashes(sets))
    counts: dict[str, float] = {"encode/seconds": seconds}
    said = ""
    if report is not None:
        counts[f"encode/distinct_{unit}"] = report.distinct
        counts[f"encode/truncated_{unit}"] = report.truncated
        counts["encode/padding_share"] = report.padding_share
        said = f"{report.distinct:,} distinct {unit}, {report.truncated:,} truncated to {model.max_length} tokens, "
    run.write(run.metrics_path, {**metrics, "marks": marks, **counts})
    print((similarity_tables if flags.arch == "bi" else cross_tables)(metrics, pairs, marks))
    print(f"\n{said}{seconds:.1f} s, {precision} on {device}; written to {run.metrics_path}")
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
    from sbert import distributed
    from sbert.build import build_model, check_towers
    from sbert.plan import eval_names, load_stages, overlap_marks
    from sbert.stages import run_stages
    from sbert.unpadded import pack_for_training

    with distributed.first_alone():
        stages = load_stages(flags)
        test_sets = load_test_sets(flags, stages)
    hashes = file_hashes([s for stage in stages for s in (*stage.train, *stage.dev)] + test_sets)
    if flags.teacher:
        from sbert.distillation import fingerprint

        hashes[f"teacher {flags.teacher}"] = fingerprint(flags.teacher)
    distributed.check_alike(hashes)
    if not flags.resume:
        run = RunDirectory.create(run.path, unique=not (flags.output_dir or flags.run_name))
    run.lock()
    run.log_to_file()
    if flags.resume:
        check_same_data(run, hashes)
    import torch

    torch.manual_seed(flags.seed)
    with distributed.first_alone():
        model = build_model(flags, device, [o for stage in stages for o in stage.objectives])
        check_towers(model, [*test_sets, *(s for stage in stages for s in stage.dev)])
    if not flags.resume:
        run.write_config(
            flags,
            argv,
            device=str(device),
            precision=precision,
            data=hashes,
            rows={s.key: len(s) for stage in stages for s in stage.train},
            **({"processes": ranks.count()} if ranks.count() > 1 else {}),
        )
    marks = overlap_marks(model.facts, flags.train_data, eval_names(flags))
    for note in marks.values():
        warn(note)
    before = score_before(run, model, test_sets, flags, precision)
    pack_for_training(model, flags.unpadded, precision)
    histories = run_stages(flags, stages, model, run, precision)
    return finish(flags, run, histories, before, test_sets, marks, precision, device)


def load_test_sets(flags: Flags, stages: "list[Stage]") -> "list[AnySet]":
    """The sets scored before and after. Raises UsageError on one that the trained model gives no score for."""
    from sbert.evaluation.cross import takes
    from sbert.evaluation.evaluate import SIAMESE_TASKS
    from sbert.plan import eval_names, load_sets

    classifies = any("classification" in stage.objectives for stage in stages)
    allowed = SIAMESE_TASKS if flags.arch == "bi" else takes(len(NLI_LABELS) if classifies else 1)
    sets = load_sets(eval_names(flags), None, flags)
    for dataset in sets:
        if dataset.task not in allowed:
            raise UsageError(
                f"--eval-data {dataset.key} is {dataset.task} data: what this run trains scores {', '.join(allowed)}"
            )
    return sets


def score_before(
    run: "RunDirectory", model: "Model", sets: "list[AnySet]", flags: Flags, precision: str
) -> dict[str, float]:
    """Metrics of the untrained model, kept in before.json so that a resumed run does not compute them again."""
    from sbert import distributed
    from sbert.evaluation import evaluate
    from sbert.jsonfile import read_json
    from sbert.plan import scoring_options

    path = run.path / "before.json"
    if getattr(model, "fresh", None):
        return {}  # the scores of a head that has learned nothing say nothing
    if flags.resume and distributed.from_first(path.exists()):
        stored = read_json(path)
        wrong = next((k for k, v in stored.items() if v is not None and type(v) not in (int, float)), None)
        if wrong is not None:
            raise RunError(
                f"{path}: {wrong} is {stored[wrong]!r}, not a number: remove the file to score the start anew"
            )
        return {k: float("nan") if v is None else v for k, v in stored.items()}
    metrics = evaluate(model, sets, **scoring_options(flags, precision))
    run.write(path, metrics)
    return metrics


def finish(
    flags: Flags,
    run: "RunDirectory",
    histories: list[dict[str, Any]],
    before: dict[str, float],
    test_sets: "list[AnySet]",
    marks: dict[str, str],
    precision: str,
    device: "torch.device",
) -> int:
    """Scores the selected model as it stands on disk, writes metrics.json, prints the table and what to try next."""
    from sbert.cross_encoder import CrossEncoder
    from sbert.evaluation import evaluate
    from sbert.plan import eval_names, scoring_options
    from sbert.report import before_after_table, confusion_tables
    from sbert.towers import load_bi_encoder

    load = CrossEncoder.from_pretrained if flags.arch == "cross" else load_bi_encoder
    model = load(run.path / "model", device=device)
    after = evaluate(model, test_sets, **scoring_options(flags, precision))
    run.write(
        run.metrics_path,
        {**after, **{f"before/{k}": v for k, v in before.items()}, "marks": marks, "stages": histories},
    )
    pairs = {s.key: len(s) for s in test_sets}
    if pairs:
        print(before_after_table(before, after, pairs, marks) + confusion_tables(after, pairs))
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

next: {python} train.py --eval-only{" --arch cross" * (flags.arch == "cross")} --model {run.path}/model --eval-data {" ".join(eval_names(flags)) or "stsb"}
      {python} train.py{" --arch cross" * (flags.arch == "cross")} --train-data stsb --epochs 4 --eval-data stsb korsts    # needs --data-dir or a network""")
    return 0


def default_name(flags: Flags) -> str:
    model = Path(flags.model).name
    return f"{model}-{'+'.join(Path(d).stem for d in flags.train_data)}-{time.strftime('%Y%m%d-%H%M%S')}"


def file_hashes(sets: "list[AnySet]") -> dict[str, str]:
    return {name: sha for s in sets for name, sha in s.files.items()}


def check_same_data(run: "RunDirectory", hashes: dict[str, str]) -> None:
    from sbert.jsonfile import read_json

    stored = read_json(run.config_path).get("data", {})
    if not isinstance(stored, dict):
        raise RunError(f"{run.config_path}: data {stored!r} is not what a run writes")
    for name, sha in hashes.items():
        if stored.get(name, sha) != sha:
            raise RunError(
                f"--resume {run.path}: {name} has changed: sha256 was {stored[name]}, is now {sha}"
            )


def warn(message: str) -> None:
    from sbert.run import log

    log.warning("%s", message)


def _terminated(signum: int, frame: object) -> None:
    if ranks.is_first():
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
