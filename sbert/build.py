"""From flags to objects: the model, its objectives, its training sets, the device."""

from collections.abc import Sequence

import torch

import data
from sbert import ranks
from sbert.cross_encoder import IDENTITY, SIGMOID, CrossEncoder
from sbert.cross_objectives import (
    CrossBinary,
    CrossClassification,
    CrossLambda,
    CrossListNet,
    CrossMarginMSE,
    CrossObjective,
    CrossRanking,
    CrossRegression,
)
from sbert.dense_objectives import DenseMegaBatchMargin, DenseObjective, DenseRanking
from sbert.dense_source import DenseSource
from sbert.distillation import DistillationSource, ends_in_unit_length, load_teacher, seen_by
from sbert.errors import RunError
from sbert.flags import Flags
from sbert.model import modelWithPooling
from sbert.objectives import (
    Objective,
    SiameseObjective,
    modelForClassificationTraining,
    modelForCoSENTTraining,
    modelForDistillationTraining,
    modelForMarginMSETraining,
    modelForRegressionTraining,
    modelForTripletTraining,
)
from sbert.pair_source import PairSource, RankingSource
from sbert.retrieval.search import SIMILARITIES
from sbert.simcse import SimCSE, check_passes_differ
from sbert.source import Source, TrainingSource
from sbert.towers import TwoTowers, load_bi_encoder
from sbert.trains_on import IN_BATCH
from sbert.tsdae import TSDAE, DenoisingSource, check_decodes

Model = modelWithPooling | TwoTowers | CrossEncoder
AnySet = data.DataSet | data.RetrievalSet
# what predict puts on the logits of a cross-encoder: the sigmoid where it was trained through one or for order alone
ACTIVATION_OF = {
    "classification": IDENTITY,
    "regression": IDENTITY,
    "margin-mse": IDENTITY,
    "bce": SIGMOID,
    "ranking": SIGMOID,
    "listnet": SIGMOID,
    "lambda": SIGMOID,
}


def build_model(flags: Flags, device: torch.device, objectives: Sequence[str] = ()) -> Model:
    """The bi- or cross-encoder the flags describe, on its device. objectives: none when it is only scored."""
    if flags.arch == "cross":
        labels = len(data.NLI_LABELS) if "classification" in objectives else 1
        cross = CrossEncoder.from_pretrained(
            flags.model,
            head=flags.head,
            num_labels=labels if objectives else None,
            num_layers=flags.num_layers,
            max_length=flags.max_length,
            activation=ACTIVATION_OF[objectives[-1]] if objectives else None,
            device=device,
        )
        if cross.fresh and not objectives:
            raise RunError(
                f"--model {flags.model}: an encoder without a trained head: train it with --arch cross"
            )
        if labels > 1 and objectives:
            cross.set_labels(data.NLI_LABELS)
        return cross
    return build_bi_encoder(flags, device, objectives)


def build_bi_encoder(
    flags: Flags, device: torch.device, objectives: Sequence[str]
) -> modelWithPooling | TwoTowers:
    """One encoder or two, as the flags or the model directory say. Raises RunError where the two disagree."""
    normalize = {"yes": True, "no": False, "auto": None}[flags.normalize]
    if flags.normalize == "auto" and {"classification", "triplet", "tsdae"} & set(objectives):
        normalize = False
    elif flags.normalize == "auto" and flags.teacher and "distill" in objectives:
        normalize = ends_in_unit_length(load_teacher(flags.teacher, device))
    options = {
        "pooling_type": flags.pooling,
        "num_layers": flags.num_layers,
        "average_layers": flags.average_layers,
        "max_length": flags.max_length,
        "normalize": normalize,
        "device": device,
    }
    model = load_bi_encoder(flags.model, **options)
    if flags.towers == "separate" and not isinstance(model, TwoTowers):
        model = TwoTowers.of(model)
    if flags.towers == "shared" and isinstance(model, TwoTowers):
        raise RunError(f"--model {flags.model}: holds two towers, and --towers is shared")
    others = sorted(set(objectives) - set(IN_BATCH))
    if isinstance(model, TwoTowers) and others:
        raise RunError(f"--objective {others[0]} trains one encoder; two towers take {' or '.join(IN_BATCH)}")
    if "tsdae" in objectives:
        assert isinstance(model, modelWithPooling)  # of two towers said above
        check_decodes(model)
    for width in flags.matryoshka:
        if width > model.width:
            raise RunError(f"--matryoshka {width}: the embeddings have {model.width} dimensions")
    if flags.similarity:
        model.description.similarity = flags.similarity
    if flags.teacher and "distill" in objectives:
        known = [*model.facts["trained_on"], *seen_by(load_teacher(flags.teacher, device))]
        model.facts["trained_on"] = list(dict.fromkeys(known))
    return model


def check_towers(model: Model, sets: Sequence[AnySet]) -> None:
    """Before anything is computed: two towers have vectors of questions and of passages, not of sentences."""
    for dataset in sets:
        if isinstance(model, TwoTowers) and dataset.task != "retrieval":
            raise RunError(
                f"{dataset.key} is {dataset.task} data: two towers are scored on retrieval sets alone"
            )


def build_objective(name: str, model: Model, flags: Flags) -> Objective:
    """One objective by its flag value."""
    if isinstance(model, CrossEncoder):
        if name == "ranking":
            return CrossRanking(model, flags.num_negatives, flags.scale or 10.0)
        return {
            "classification": CrossClassification,
            "regression": CrossRegression,
            "bce": CrossBinary,
            "margin-mse": CrossMarginMSE,
            "listnet": CrossListNet,
            "lambda": CrossLambda,
        }[name](model)
    if name == "classification":
        return modelForClassificationTraining(model, len(data.NLI_LABELS), flags.concat)
    if name == "regression":
        return modelForRegressionTraining(model)
    if name == "cosent":
        return modelForCoSENTTraining(model, flags.scale or 20.0)
    if name == "margin-mse":
        return modelForMarginMSETraining(model)
    if name == "distill":
        return modelForDistillationTraining(model)
    if name == "tsdae":
        return TSDAE(model, flags.deletion_ratio)
    if name in (*IN_BATCH, "simcse"):
        return build_dense_objective(name, model, flags)
    return modelForTripletTraining(model, flags.margin, flags.distance)


def build_dense_objective(name: str, model: modelWithPooling | TwoTowers, flags: Flags) -> DenseObjective:
    similarity = model.description.similarity
    if similarity not in SIMILARITIES:
        raise RunError(
            f"this model compares by {similarity}; retrieval does by {' or '.join(SIMILARITIES)} (--similarity)"
        )
    if name == "ranking":
        return DenseRanking(model, similarity, flags.matryoshka, flags.scale or 20.0, flags.symmetric)
    if name == "simcse":
        return SimCSE(model, similarity, flags.matryoshka, flags.scale or 20.0)
    return DenseMegaBatchMargin(
        model, similarity, flags.matryoshka, flags.positive_margin, flags.negative_margin
    )


def build_source(dataset: AnySet, objective: Objective, model: Model, flags: Flags) -> TrainingSource:
    """The training set as the loop takes it: columns of texts, pairs, questions with passages or candidates."""
    if isinstance(objective, DenseObjective):
        source = DenseSource.build(dataset, objective, flags.hard_negatives)
        if isinstance(objective, SimCSE):
            check_passes_differ(source, flags.model)
        return source
    if flags.batch_sampler == "topics":
        raise RunError(
            f"--batch-sampler topics: {dataset.key} has no passages; allowed are auto, length, random"
        )
    assert isinstance(dataset, data.DataSet)
    if isinstance(objective, CrossObjective):
        assert isinstance(model, CrossEncoder)
        return (RankingSource if objective.ranks else PairSource).build(dataset, objective, model)
    assert isinstance(objective, SiameseObjective) and isinstance(model, modelWithPooling)
    if isinstance(objective, TSDAE):
        return DenoisingSource.of_texts(dataset, objective)
    if isinstance(objective, modelForDistillationTraining):
        assert flags.teacher is not None
        return DistillationSource.taught(dataset, objective, model, flags.teacher)
    return Source.build(dataset, objective, model)


def resolve_device(name: str) -> torch.device:
    """auto: the first CUDA card, else the CPU; of several processes each has the card of its own number. Raises
    RunError when the card asked for is not there."""
    if ranks.count() > 1 and name.startswith("cuda:"):
        raise RunError(
            f"--device {name} is one card for {ranks.count()} processes: allowed are auto, cpu, cuda"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks.count() > 1 and name == "cuda":
        name = f"cuda:{ranks.local_rank()}"
    index = int(name.partition(":")[2] or 0)
    if name.startswith("cuda") and index >= torch.cuda.device_count():
        raise RunError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices")
    return torch.device(name)
