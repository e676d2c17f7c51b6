"""argv -> flags, with every check that needs nothing loaded: unknown values, contradictions, sets that do not exist."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from data import DataError
from data.tasks import split_of, task_of
from sbert.errors import UsageError
from sbert.flag_parser import build_parser, suggestion
from sbert.flags import PER_STAGE, Flags
from sbert.trains_on import DEFAULT_OBJECTIVE, IN_BATCH, OBJECTIVES

CROSS_RETRIEVAL = (
    "{0} is retrieval data: a cross-encoder trains on the negatives that python -m experiments.mine --data {0} finds, "
    "and is scored by python -m experiments.retrieve --data {0} --rerank MODEL"
)


def parse(argv: Sequence[str]) -> tuple[Flags, set[str]]:
    """argv -> checked flags, and the names of those that were given. Raises UsageError; exits 2 like argparse."""
    parser = build_parser()
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        word = unknown[0].split("=")[0]
        every = ["--" + f.name.replace("_", "-") for f in fields(Flags)]
        raise UsageError(f"unknown flag {word}" + suggestion(word, every))
    given = set(vars(known))
    flags = Flags(**vars(known))
    check(flags, given)
    return flags, given


def check(flags: Flags, given: set[str]) -> None:
    """Everything that can be known to be wrong before a file is opened. Raises UsageError."""
    for f in fields(Flags):
        check_value("--" + f.name.replace("_", "-"), getattr(flags, f.name), f.metadata)
    _check_sets(flags)
    if "run_name" in given and "output_dir" in given:
        raise UsageError(
            "--run-name names a folder under runs/ and --output-dir is a folder: give one of them"
        )
    if flags.resume and {"output_dir", "run_name"} & given:
        raise UsageError("--resume RUN writes into RUN: --output-dir and --run-name are for new runs")
    if flags.resume and flags.eval_only:
        raise UsageError("--resume continues a training run and --eval-only trains nothing: give one of them")
    for f in fields(Flags):
        if f.name in given and f.metadata.get("arch", flags.arch) != flags.arch and not flags.resume:
            raise UsageError(
                f"--{f.name.replace('_', '-')} is for --arch {f.metadata['arch']}; this run has --arch {flags.arch}"
            )
    if flags.resume:
        return  # what else was typed is compared with the run's own flags
    if flags.eval_only:
        _check_eval_only(flags, given)
        return
    for name in flags.eval_data or ():
        if flags.arch == "bi" and task_of(name) == "nli":
            raise UsageError(
                f"--eval-data {name} is NLI data; a trained bi-encoder is scored on it with --dev-data {name}"
            )
    if len(set(flags.train_data)) < len(flags.train_data):
        raise UsageError("--train-data names a set twice; --epochs passes over it more often")
    if flags.mix != "proportional" and len(flags.train_data) == 1:
        raise UsageError(f"--mix {flags.mix} needs two or more --train-data sets")
    for name in ("eval_steps", "save_steps"):
        value = getattr(flags, name)
        if value > 1 and value != int(value):
            raise UsageError(
                f"--{name.replace('_', '-')} {value}: a whole number of updates, or a share below 1"
            )
    stages = len(flags.train_data) if flags.mix == "sequence" else 1
    for name in PER_STAGE:
        count, wanted = len(getattr(flags, name)), len(flags.train_data) if name == "objective" else stages
        if count not in (1, wanted):
            raise UsageError(
                f"--{name.replace('_', '-')} has {count} values; give 1 or {wanted} (--mix {flags.mix}, "
                f"{len(flags.train_data)} training set(s))"
            )
    objectives = objectives_of(flags)
    _check_needs(flags, given, objectives)
    if flags.batch_sampler == "topics" and (flags.arch == "cross" or set(objectives) - {*IN_BATCH, "auto"}):
        raise UsageError(
            f"--batch-sampler topics is for --arch bi --objective {' and '.join(IN_BATCH)}, whose batch is the negatives; "
            f"this run has --arch {flags.arch}, {', '.join(objectives)}"
        )
    check_one_head(flags.arch, [objective for objective in objectives if objective != "auto"])
    check_teacher(flags, objectives)
    if flags.patience and flags.select_on == "last":
        raise UsageError("--patience waits for a better --select-on metric, and --select-on last has none")


def _check_needs(flags: Flags, given: set[str], objectives: Sequence[str]) -> None:
    """Flags that say something to some objectives alone; "needs_bi" holds for bi-encoders and not for --arch cross."""
    for f in fields(Flags):
        of_bi = f.metadata.get("needs_bi") if flags.arch == "bi" else None
        needs = f.metadata.get("needs") or of_bi
        if f.name in given and needs and "auto" not in objectives and not set(needs) & set(objectives):
            raise UsageError(
                f"--{f.name.replace('_', '-')} is for --objective {' and '.join(needs)}"
                f"{', or --arch cross' if of_bi else ''}; this run has {', '.join(objectives)}"
            )


def check_one_head(arch: str, objectives: Sequence[str]) -> None:
    """Raises UsageError when a cross-encoder would need two heads."""
    if arch == "cross" and len({objective == "classification" for objective in objectives}) > 1:
        raise UsageError(
            "--arch cross: classification gives a logit a class and the other objectives one score: one model "
            "cannot be both; train on one, then start from its directory with --model"
        )


def check_teacher(flags: Flags, objectives: Sequence[str]) -> None:
    """Raises UsageError when there is nobody to learn from, or nobody who learns from the teacher."""
    if "distill" in objectives and flags.teacher is None:
        raise UsageError(
            "--objective distill needs --teacher: minilm, or the model whose embeddings are to be learned"
        )
    if flags.teacher is not None and not {"distill", "auto"} & set(objectives):
        raise UsageError(f"--teacher is for --objective distill; this run has {', '.join(objectives)}")


def _check_sets(flags: Flags) -> None:
    """Every named set exists, with the split it is wanted for."""
    wanted: list[tuple[Iterable[str], str | None]] = [
        (flags.eval_data or (), None),
        (flags.dev_data or (), "dev"),
    ]
    if not flags.eval_only:
        wanted.append((flags.train_data, "train"))
    try:
        for names, split in wanted:
            for name in names:
                split_of(name, split)
                if flags.arch == "cross" and task_of(name) == "retrieval":
                    raise UsageError(CROSS_RETRIEVAL.format(name))
    except DataError as error:
        raise UsageError(str(error)) from None


def objectives_of(flags: Flags) -> list[str]:
    """One objective a training set, ``auto`` resolved. Raises UsageError when an objective cannot use the set."""
    known, default = OBJECTIVES[flags.arch], DEFAULT_OBJECTIVE[flags.arch]
    for objective in flags.objective:
        if objective not in ("auto", *known):
            raise UsageError(
                f"--objective {objective} is not one of --arch {flags.arch}; allowed are auto, {', '.join(known)}"
            )
    chosen = flags.objective if len(flags.objective) > 1 else flags.objective * len(flags.train_data)
    out = []
    for name, objective in zip(flags.train_data, chosen, strict=True):
        # a local file tells its task when it is read
        task = task_of(name)
        if objective == "auto" and task in (None, *default):
            out.append(default[task] if task else "auto")
            continue
        if task and task not in known.get(objective, ()):
            fitting = [o for o, tasks in known.items() if task in tasks]
            raise UsageError(
                f"--objective {objective} cannot train on {name}, which is {task} data; "
                f"allowed are {', '.join(fitting) or f'none with --arch {flags.arch}'}"
            )
        out.append(objective)
    return out


def _check_eval_only(flags: Flags, given: set[str]) -> None:
    training = {f.name for f in fields(Flags) if f.metadata["group"] in ("objective", "optimisation")} - {
        "precision"
    }
    training |= {
        "train_data",
        "dev_data",
        "mix",
        "train_limit",
        "dev_limit",
        "eval_steps",
        "save_steps",
        "save_limit",
        "select_on",
        "patience",
        "log_steps",
    }
    for name in sorted(given & training):
        raise UsageError(f"--{name.replace('_', '-')} is about training, and --eval-only trains nothing")
    if not flags.eval_data:
        raise UsageError("--eval-only needs --eval-data: the sets to score")
    for name in flags.eval_data:
        if flags.arch == "bi" and task_of(name) == "nli":
            raise UsageError(
                f"--eval-data {name} is NLI data: it takes a classifier, which a bi-encoder does not keep"
            )


def check_value(flag: str, value: Any, meta: Any) -> None:
    """Raises UsageError for a value, or one of a list, that is none of the flag's choices or outside its bounds."""
    for one in value if isinstance(value, list) else [value]:
        if one is None:
            continue
        choices = meta.get("choices")
        if choices and one not in choices:
            raise UsageError(
                f"{flag} {one!r}: allowed are {', '.join(choices)}{suggestion(str(one), choices)}"
            )
        if meta.get("type") in (int, float):
            low, above, high = meta.get("at_least"), meta.get("above"), meta.get("at_most")
            if one != one or one in (float("inf"), float("-inf")):
                raise UsageError(f"{flag} {one}: must be a finite number")
            if low is not None and one < low:
                raise UsageError(f"{flag} {one}: must be at least {low}")
            if above is not None and one <= above:
                raise UsageError(f"{flag} {one}: must be above {above}")
            if high is not None and one > high:
                raise UsageError(f"{flag} {one}: must be at most {high}")
    if flag == "--device" and not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise UsageError(f"--device {value}: allowed are auto, cpu, cuda, cuda:N")
