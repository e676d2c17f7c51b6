"""What a run is to do: which sets, in which stages, scored on what, and the metric to select on."""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import data
from data.tasks import is_local, is_retrieval, key_of, split_of, splits_of, stem_of, task_of
from sbert.errors import UsageError
from sbert.evaluation.cross import takes
from sbert.evaluation.evaluate import SIAMESE_TASKS
from sbert.flag_checks import check_one_head, check_teacher, objectives_of
from sbert.flags import Flags
from sbert.trains_on import AS_TRIPLETS, DEFAULT_OBJECTIVE, OBJECTIVES, WITHOUT_LABELS

log = logging.getLogger("sbert")


AnySet = data.DataSet | data.RetrievalSet


@dataclass
class Stage:
    """One pass of ``fit``: sets trained together, the sets scored meanwhile, and the metric to select on."""

    train: list[AnySet]
    objectives: list[str]
    dev: list[AnySet]
    select_on: str | None
    number: int


def load_sets(
    names: Sequence[str],
    split: str | None,
    flags: Flags,
    *,
    limit: int = 0,
    seed: int = 0,
    objectives: Sequence[str] = (),
) -> list[AnySet]:
    """Sets by name, as the objective of each takes them; ``limit`` > 0 keeps that many rows, drawn once.

    Raises UsageError when two files would share one name in tables and records.
    """
    out: list[AnySet] = []
    for name, objective in zip(names, objectives or [""] * len(names), strict=True):
        dataset = load_set(name, split, flags.data_dir)
        if any(dataset.key == other.key for other in out):
            raise UsageError(f"{name}: a set called {dataset.key} is named twice; rename one of the files")
        out.append(drawn(taken_by(objective, dataset), limit, seed))
    return out


def taken_by(objective: str, dataset: AnySet) -> AnySet:
    """The set as an objective takes it: NLI as triplets, anything as its distinct texts, or as it is."""
    if objective in WITHOUT_LABELS or dataset.task == "text":
        return data.unlabeled(dataset)
    if objective in AS_TRIPLETS and isinstance(dataset, data.DataSet) and dataset.task == "nli":
        return data.triplets(dataset)
    return dataset


def load_set(name: str, split: str | None, data_dir: str | None) -> AnySet:
    """One split of a set, of either registry, or somebody's own file."""
    load = data.load_retrieval if is_retrieval(name) else data.load
    return load(name, split_of(name, split), data_dir=data_dir)


def drawn(dataset: AnySet, limit: int, seed: int) -> AnySet:
    """``limit`` of the rows (0: all), drawn with ``seed``, in their order; a retrieval set keeps its pool."""
    if not 0 < limit < len(dataset):
        return dataset
    rows = sorted(random.Random(seed).sample(range(len(dataset)), limit))
    if isinstance(dataset, data.RetrievalSet):
        return dataset.questions_only(rows)
    return replace(dataset, examples=[dataset.examples[i] for i in rows])


def load_stages(flags: Flags) -> list[Stage]:
    """Training and dev sets of every stage, with objectives matched to what the files turned out to hold."""
    wanted = objectives_of(flags)
    sets = load_sets(
        flags.train_data,
        "train",
        flags,
        limit=flags.train_limit,
        seed=flags.seed,
        objectives=wanted,
    )
    objectives: list[str] = []
    for dataset, objective in zip(sets, wanted, strict=True):
        one = DEFAULT_OBJECTIVE[flags.arch].get(dataset.task) if objective == "auto" else objective
        if one is None or dataset.task not in OBJECTIVES[flags.arch][one]:
            raise UsageError(
                f"--objective {objective} of --arch {flags.arch} cannot train on {dataset.key}, which is "
                f"{dataset.task} data"
            )
        objectives.append(one)
    check_one_head(flags.arch, objectives)
    check_teacher(flags, objectives)
    groups = [[i] for i in range(len(sets))] if flags.mix == "sequence" else [list(range(len(sets)))]
    stages = []
    for number, group in enumerate(groups):
        names = (
            flags.dev_data if flags.dev_data is not None else _dev_names([flags.train_data[i] for i in group])
        )
        chosen = [objectives[i] for i in group]
        form = "triplet" if {*AS_TRIPLETS, *WITHOUT_LABELS} & set(chosen) else ""
        dev = load_sets(names, "dev", flags, limit=flags.dev_limit, objectives=[form] * len(names))
        select_on = _select_on(flags, sets[group[-1]], dev, chosen)
        _refuse_constant(select_on, dev)
        stages.append(Stage([sets[i] for i in group], chosen, dev, select_on, number))
    known = [key for stage in stages for key in selectable(stage.dev, stage.objectives, flags.arch)]
    if flags.select_on not in ("auto", "last", *known):
        raise UsageError(
            f"--select-on {flags.select_on}: allowed are auto, last, {', '.join(dict.fromkeys(known))}"
        )
    for name in flags.dev_data or ():
        loaded = [
            d for stage in stages for d in stage.dev if name in d.files or d.key.startswith(Path(name).name)
        ]
        if loaded and not any(key.startswith(d.key + "/") for d in loaded for key in known):
            raise UsageError(
                f"--dev-data {name} is {loaded[0].task} data, which nothing this run trains can score"
            )
    if flags.patience and not any(stage.select_on for stage in stages):
        raise UsageError("--patience waits for a better dev metric, and no dev set is scored in this run")
    return stages


def _dev_names(train: Sequence[str]) -> list[str]:
    stems = [stem_of(name) for name in train if not is_local(name)]
    return [f"{stem}-dev" for stem in dict.fromkeys(stems) if "dev" in splits_of(stem)]


def _select_on(
    flags: Flags, last_trained: AnySet, dev: Sequence[AnySet], objectives: Sequence[str]
) -> str | None:
    """The metric key of a stage, or None for its last step. ``auto`` never selects an NLI run on STS.

    A key given by hand holds for the stages that score its set; the others choose as ``auto`` does.
    """
    available = selectable(dev, objectives, flags.arch)
    if flags.select_on == "last":
        return None
    if flags.select_on in available:
        return flags.select_on
    local = not is_registered(last_trained)  # a file of somebody's own: any dev set of its kind speaks for it
    kinds = {last_trained.task, "retrieval"} if last_trained.task == "ranking" else {last_trained.task}
    mine = [key for key, d in available.items() if d.task in kinds and (d.name == last_trained.name or local)]
    return mine[0] if mine else None


def _refuse_constant(select_on: str | None, dev: Sequence[AnySet]) -> None:
    """A set whose gold scores are all the same has no correlation: nothing can be selected on it."""
    for d in dev:
        chosen = select_on is not None and select_on.startswith(d.key + "/") and d.task == "sts"
        if chosen and isinstance(d, data.DataSet) and len({example.label for example in d.examples}) < 2:
            raise UsageError(f"{d.key}: its {len(d)} gold scores do not differ, so there is no {select_on}")


def selectable(dev: Sequence[AnySet], objectives: Sequence[str], arch: str) -> dict[str, AnySet]:
    """Metric keys a stage computes on its dev sets; NLI takes the classifier of a classification objective."""
    classifies = "classification" in objectives
    if arch == "cross":
        scored = [d for d in dev if d.task in takes(len(data.NLI_LABELS) if classifies else 1)]
    else:
        scored = [d for d in dev if d.task in SIAMESE_TASKS or (d.task == "nli" and classifies)]
    return {f"{d.key}/{metric}": d for d in scored for metric in main_metrics(d, arch)}


def main_metrics(dataset: AnySet, arch: str) -> list[str]:
    """Metrics of a set that a model can be selected on, the usual one first."""
    if isinstance(dataset, data.RetrievalSet):
        return ["mrr@10", "ndcg@10", "recall@1", "recall@10", "recall@100", "map@100"]
    nli = ["accuracy", "f1_macro"]
    if arch == "cross":
        ranking = ["ndcg@10", "mrr@10", "map"]
        sts = ["spearman", "pearson"]
        if {example.label for example in dataset.examples} <= {0.0, 1.0}:
            sts += ["ap", "f1"]
        known = {"sts": sts, "nli": nli, "ranking": ranking}
        return known.get(dataset.task, ["accuracy"])
    triplet = ["accuracy_cosine", "accuracy_euclidean"]
    known = {"sts": ["spearman_cosine", "pearson_cosine"], "nli": nli, "parallel": ["accuracy_mean"]}
    return known.get(dataset.task, triplet)


def eval_names(flags: Flags) -> list[str]:
    """--eval-data, or the test splits of the training sets that the model can be scored on (both languages of the
    samples apart): a bi-encoder keeps no classifier, a cross-encoder is one or gives scores."""
    classifies = flags.arch == "cross" and "classification" in objectives_of(flags)
    if flags.eval_data is not None:
        return flags.eval_data
    out: list[str] = []
    for name in flags.train_data:
        stem = stem_of(name)
        if stem == "samples-sts":
            out += ["samples-sts-en", "samples-sts-ko"]
        elif (task_of(name) == "nli") == classifies and "test" in splits_of(name):
            out.append(stem)
    return list(dict.fromkeys(out))


def scoring_options(flags: Flags, precision: str) -> dict[str, Any]:
    """What every evaluation of a run is told."""
    options: dict[str, Any] = {
        "precision": precision,
        "batch_tokens": flags.eval_batch_tokens or None,
        "unpadded": flags.unpadded,
    }
    if flags.arch == "cross":
        options["always_rerank_positives"] = flags.rerank == "all"
    return options


def overlap_marks(facts: dict[str, Any], trained: Sequence[str], evaluated: Sequence[str]) -> dict[str, str]:
    """{"sts12-test": "..."} for every evaluated set that shares rows with a training set, this run's or an earlier's."""
    before: list[Any] = list(facts.get("trained_on", []))
    if facts.get("source") == "minilm":
        before.append("minilm")
    known = [name for name in [*before, *trained] if name == "minilm" or _registered(name)]
    marks = {}
    for name in evaluated:
        if is_retrieval(name):
            warning = data.retrieval_overlap(known, name)
        else:
            warning = data.overlap_warning([x for x in known if x == "minilm" or not is_retrieval(x)], name)
        if warning:
            marks[name if is_local(name) else key_of(name)] = warning
    return marks


def is_registered(dataset: AnySet) -> bool:
    """Not a file or folder of somebody's own, which may be called anything."""
    return dataset.name in data.SETS or dataset.name in data.retrieval_names()


def _registered(name: str) -> bool:
    """Not a set of somebody's own, known by its file's name."""
    try:
        split_of(name)
    except data.DataError:
        return False
    return not is_local(name)
