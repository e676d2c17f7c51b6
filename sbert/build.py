"""From flags to objects: data sets, the model, its objectives, and what to select on."""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

import data
from data.registry import SETS, format_of
from sbert.errors import RunError, UsageError
from sbert.flag_checks import objectives_of
from sbert.flags import DEFAULT_OBJECTIVE, OBJECTIVES, Flags
from sbert.model import modelWithPooling
from sbert.objectives import (
    Objective,
    modelForClassificationTraining,
    modelForCoSENTTraining,
    modelForRegressionTraining,
    modelForTripletTraining,
)

log = logging.getLogger("sbert")


@dataclass
class Stage:
    """One pass of ``fit``: sets trained together, the sets scored meanwhile, and the metric to select on."""

    train: list[data.DataSet]
    objectives: list[str]
    dev: list[data.DataSet]
    select_on: str | None
    number: int


def load_sets(
    names: Sequence[str],
    split: str | None,
    flags: Flags,
    *,
    limit: int = 0,
    seed: int = 0,
    as_triplets: Sequence[bool] = (),
) -> list[data.DataSet]:
    """Sets by name, NLI ones turned into triplets where asked; ``limit`` > 0 keeps that many rows, drawn once.

    Raises UsageError when two files would share one name in tables and records.
    """
    out: list[data.DataSet] = []
    for i, name in enumerate(names):
        dataset = data.load(name, data.split_for(name, split), data_dir=flags.data_dir)
        if any(dataset.key == other.key for other in out):
            raise UsageError(f"{name}: a set called {dataset.key} is named twice; rename one of the files")
        if i < len(as_triplets) and as_triplets[i] and dataset.task == "nli":
            dataset = data.triplets(dataset)
        if 0 < limit < len(dataset):
            rows = sorted(random.Random(seed).sample(range(len(dataset)), limit))
            dataset = replace(dataset, examples=[dataset.examples[i] for i in rows])
        out.append(dataset)
    return out


def load_stages(flags: Flags) -> list[Stage]:
    """Training and dev sets of every stage, with objectives matched to what the files turned out to hold."""
    wanted = objectives_of(flags)
    sets = load_sets(
        flags.train_data,
        "train",
        flags,
        limit=flags.train_limit,
        seed=flags.seed,
        as_triplets=[objective == "triplet" for objective in wanted],
    )
    objectives: list[str] = []
    for dataset, objective in zip(sets, wanted, strict=True):
        one = DEFAULT_OBJECTIVE[dataset.task] if objective == "auto" else objective
        if dataset.task not in OBJECTIVES[one]:
            raise UsageError(f"--objective {one} cannot train on {dataset.key}, which is {dataset.task} data")
        objectives.append(one)
    groups = [[i] for i in range(len(sets))] if flags.mix == "sequence" else [list(range(len(sets)))]
    stages = []
    for number, group in enumerate(groups):
        names = (
            flags.dev_data if flags.dev_data is not None else _dev_names([flags.train_data[i] for i in group])
        )
        chosen = [objectives[i] for i in group]
        dev = load_sets(
            names, "dev", flags, limit=flags.dev_limit, as_triplets=["triplet" in chosen] * len(names)
        )
        select_on = _select_on(flags, sets[group[-1]], dev, chosen)
        _refuse_constant(select_on, dev)
        stages.append(Stage([sets[i] for i in group], chosen, dev, select_on, number))
    known = [key for stage in stages for key in selectable(stage.dev, stage.objectives)]
    if flags.select_on not in ("auto", "last", *known):
        raise UsageError(
            f"--select-on {flags.select_on}: allowed are auto, last, {', '.join(dict.fromkeys(known))}"
        )
    if flags.patience and not any(stage.select_on for stage in stages):
        raise UsageError("--patience waits for a better dev metric, and no dev set is scored in this run")
    return stages


def _dev_names(train: Sequence[str]) -> list[str]:
    stems = [data.parse_name(name)[0] for name in train if not format_of(name)]
    return [f"{stem}-dev" for stem in dict.fromkeys(stems) if "dev" in SETS[stem].splits]


def _select_on(
    flags: Flags, last_trained: data.DataSet, dev: Sequence[data.DataSet], objectives: Sequence[str]
) -> str | None:
    """The metric key of a stage, or None for its last step. ``auto`` never selects an NLI run on STS.

    A key given by hand holds for the stages that score its set; the others choose as ``auto`` does.
    """
    available = selectable(dev, objectives)
    if flags.select_on == "last":
        return None
    if flags.select_on in available:
        return flags.select_on
    local = last_trained.name not in SETS  # a file of somebody's own: any dev set of its kind speaks for it
    mine = [
        key
        for key, d in available.items()
        if d.task == last_trained.task and (d.name == last_trained.name or local)
    ]
    return mine[0] if mine else None


def _refuse_constant(select_on: str | None, dev: Sequence[data.DataSet]) -> None:
    """A set whose gold scores are all the same has no correlation: nothing can be selected on it."""
    for d in dev:
        chosen = select_on is not None and select_on.startswith(d.key + "/") and d.task == "sts"
        if chosen and len({example.label for example in d.examples}) < 2:
            raise UsageError(f"{d.key}: its {len(d)} gold scores do not differ, so there is no {select_on}")


def selectable(dev: Sequence[data.DataSet], objectives: Sequence[str]) -> dict[str, data.DataSet]:
    """Metric keys a stage computes on its dev sets; NLI takes the classifier of a classification objective."""
    scored = [d for d in dev if d.task != "nli" or "classification" in objectives]
    return {f"{d.key}/{metric}": d for d in scored for metric in main_metrics(d)}


def main_metrics(dataset: data.DataSet) -> list[str]:
    """Metrics of a set that a model can be selected on, the usual one first."""
    return {
        "sts": ["spearman_cosine", "pearson_cosine"],
        "nli": ["accuracy", "f1_macro"],
        "triplet": ["accuracy_cosine", "accuracy_euclidean"],
    }[dataset.task]


def eval_names(flags: Flags) -> list[str]:
    """--eval-data, or the STS test splits of the training sets (both languages of the samples apart)."""
    if flags.eval_data is not None:
        return flags.eval_data
    out: list[str] = []
    for name in flags.train_data:
        stem = name if format_of(name) else data.parse_name(name)[0]
        if stem == "samples-sts":
            out += ["samples-sts-en", "samples-sts-ko"]
        elif not format_of(name) and SETS[stem].task != "nli" and "test" in SETS[stem].splits:
            out.append(stem)
    return list(dict.fromkeys(out))


def build_model(flags: Flags, device: torch.device, objectives: Sequence[str] = ()) -> modelWithPooling:
    """The bi-encoder the flags describe, on its device."""
    normalize = {"yes": True, "no": False, "auto": None}[flags.normalize]
    if flags.normalize == "auto" and {"classification", "triplet"} & set(objectives):
        normalize = False
    return modelWithPooling.from_pretrained(
        flags.model,
        pooling_type=flags.pooling,
        num_layers=flags.num_layers,
        max_length=flags.max_length,
        normalize=normalize,
        device=device,
    )


def build_objective(name: str, model: modelWithPooling, flags: Flags) -> Objective:
    """One objective by its flag value."""
    if name == "classification":
        return modelForClassificationTraining(model, len(data.NLI_LABELS), flags.concat)
    if name == "regression":
        return modelForRegressionTraining(model)
    if name == "cosent":
        return modelForCoSENTTraining(model, flags.scale)
    return modelForTripletTraining(model, flags.margin, flags.distance)


def resolve_device(name: str) -> torch.device:
    """auto: the first CUDA card, else the CPU. Raises RunError when the card asked for is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    index = int(name.partition(":")[2] or 0)
    if name.startswith("cuda") and index >= torch.cuda.device_count():
        raise RunError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices")
    return torch.device(name)


def overlap_marks(
    model: modelWithPooling, trained: Sequence[str], evaluated: Sequence[str]
) -> dict[str, str]:
    """{"sts12-test": "..."} for every evaluated set that shares rows with a training set, this run's or an earlier's."""
    before: list[Any] = list(model.facts.get("trained_on", []))
    if model.facts.get("source") == "minilm":
        before.append("minilm")
    known = [name for name in [*before, *trained] if name == "minilm" or _registered(name)]
    marks = {}
    for name in evaluated:
        warning = data.overlap_warning(known, name)
        if warning:
            marks[name if format_of(name) else _key(name)] = warning
    return marks


def _registered(name: str) -> bool:
    try:
        data.parse_name(name)
    except data.DataError:
        return False  # a set of somebody's own, known by its file's name
    return not format_of(name)


def _key(name: str) -> str:
    stem, _ = data.parse_name(name)
    split = data.split_for(name)
    return stem if split == "all" else f"{stem}-{split}"
