"""Table 2: the STS benchmark's test set (section 4.2). The BERT rows are cross-encoders."""

from experiments.rows.row import Column, Row, Step, Table, train
from experiments.rows.table1 import PAPER as TABLE1

TITLE = "STSb test"
COLUMNS = (Column(TITLE, ("stsb-test/spearman_cosine", "stsb-test/spearman")),)
TEN = tuple(range(1, 11))
ENCODERS = {
    "base": ("bert-base-uncased", "roberta-base"),
    "large": ("bert-large-uncased", "roberta-large"),
}
RECIPE = "--batch-size 16 --lr 2e-5 --warmup-ratio 0.1 --dev-limit 0 --eval-data stsb"
STSB_OFFLINE = (
    "--epochs 4 --batch-size 16 --lr 5e-5 --eval-steps 0.125 --dev-limit 0 --threads 1 --eval-data stsb"
)


def _paper(name: str, title: str, mean: float, sd: float, place: str, *steps: Step) -> Row:
    return Row(name, title, "paper", steps, TEN, {TITLE: mean}, {TITLE: sd}, place=f"Table 2, {place}")


def _untrained(
    name: str, title: str, source: str, printed: str, edition: str, place: str, seeds: tuple[int, ...] = (0,)
) -> Row:
    """A row that Table 1 measures too."""
    paper = {TITLE: TABLE1[printed]["STSb"]}
    same_as = f"table1/{source}" if source else ""
    return Row(name, title, edition, (), seeds, paper, place=place, same_as=same_as)


def _bi(encoder: str) -> Step:
    return train(
        f"--model {encoder} --train-data stsb --objective regression --epochs 4 --pooling mean {RECIPE}"
    )


def _bi_after_nli(encoder: str) -> Step:
    return train(
        f"--model {encoder} --train-data allnli stsb --mix sequence --epochs 1 4 --head-lr 2e-5 --pooling mean {RECIPE}"
    )


def _cross(encoder: str) -> Step:
    return train(
        f"--arch cross --model {encoder} --train-data stsb --objective bce --epochs 4 --head-lr 2e-5 {RECIPE}"
    )


def _cross_nli(encoder: str) -> Step:
    return train(
        f"--arch cross --model {encoder} --train-data allnli --epochs 1 --batch-size 16 --lr 2e-5 --head-lr 2e-5 "
        "--warmup-ratio 0.1 --select-on last --dev-data allnli --eval-data"
    )


# (BERT, SBERT, SRoBERTa) x (base, large), mean and sd of ten seeds, as printed
STSB = {
    "base": ((84.30, 0.76), (84.67, 0.19), (84.92, 0.34)),
    "large": ((85.64, 0.81), (84.45, 0.43), (85.02, 0.76)),
}
NLI_STSB = {
    "base": ((88.33, 0.19), (85.35, 0.17), (84.79, 0.38)),
    "large": ((88.77, 0.46), (86.10, 0.13), (86.15, 0.35)),
}


def _trained_rows() -> tuple[Row, ...]:
    rows = []
    for size, (bert, roberta) in ENCODERS.items():
        cross, siamese, other = STSB[size]
        place = "trained on STSb"
        rows += [
            _paper(f"bert-stsb-{size}", f"BERT-STSb-{size}", *cross, place, _cross(bert)),
            _paper(f"sbert-stsb-{size}", f"SBERT-STSb-{size}", *siamese, place, _bi(bert)),
            _paper(f"sroberta-stsb-{size}", f"SRoBERTa-STSb-{size}", *other, place, _bi(roberta)),
        ]
    for size, (bert, roberta) in ENCODERS.items():
        cross, siamese, other = NLI_STSB[size]
        place = "trained on NLI + STSb"
        two = (_cross_nli(bert), _cross("{step1}/model"))
        rows += [
            _paper(f"bert-nli-stsb-{size}", f"BERT-NLI-STSb-{size}", *cross, place, *two),
            _paper(f"sbert-nli-stsb-{size}", f"SBERT-NLI-STSb-{size}", *siamese, place, _bi_after_nli(bert)),
            _paper(
                f"sroberta-nli-stsb-{size}",
                f"SRoBERTa-NLI-STSb-{size}",
                *other,
                place,
                _bi_after_nli(roberta),
            ),
        ]
    return tuple(rows)


def _offline(name: str, title: str, seeds: int, printed: float | None, place: str, *steps: Step) -> Row:
    paper = {} if printed is None else {TITLE: printed}
    return Row(
        name,
        title,
        "offline",
        steps,
        tuple(range(1, seeds + 1)),
        paper,
        place=place and f"stands in for {place}",
    )


_BI = f"--train-data stsb --objective regression {STSB_OFFLINE}"
_CROSS = f"--arch cross --train-data stsb --objective bce {STSB_OFFLINE}"

ROWS = (
    _untrained("glove", "Avg. GloVe embeddings", "glove", "glove", "paper", "Table 2, not trained for STS"),
    _untrained(
        "avg-bert", "Avg. BERT embeddings", "avg-bert", "bert", "paper", "Table 2, not trained for STS"
    ),
    _untrained("infersent", "InferSent - GloVe", "", "infersent", "quoted", "Table 2, not trained for STS"),
    _untrained("use", "Universal Sentence Encoder", "", "use", "quoted", "Table 2, not trained for STS"),
    *(
        _untrained(
            f"sbert-nli-{s}",
            f"SBERT-NLI-{s}",
            f"sbert-nli-{s}",
            f"sbert-{s}",
            "paper",
            "Table 2, not trained for STS",
            (1, 2, 3),
        )
        for s in ENCODERS
    ),
    *_trained_rows(),
    _untrained(
        "mean-4",
        "MiniLM, 4 of 6 layers, mean",
        "mean-4",
        "bert",
        "offline",
        "stands in for Avg. BERT embeddings",
    ),
    _untrained(
        "nli-4",
        "MiniLM, 4 of 6 layers, NLI",
        "sbert-nli-4",
        "sbert-base",
        "offline",
        "stands in for SBERT-NLI-base",
        (1, 2, 3, 4, 5),
    ),
    _offline(
        "sbert-stsb-4",
        "MiniLM, 4 of 6 layers, STSb",
        5,
        84.67,
        "SBERT-STSb-base",
        train(f"--num-layers 4 {_BI}"),
    ),
    _offline("sbert-stsb-6", "MiniLM, whole, STSb", 5, 84.67, "SBERT-STSb-base", train(_BI)),
    _offline(
        "sbert-nli-stsb-4",
        "MiniLM, 4 of 6 layers, NLI, then STSb",
        5,
        85.35,
        "SBERT-NLI-STSb-base",
        train(f"--model {{row:table1/sbert-nli-4}}/model {_BI}"),
    ),
    _offline("cross-stsb-6", "MiniLM, whole, cross-encoder, STSb", 3, 84.30, "BERT-STSb-base", train(_CROSS)),
    _offline(
        "cross-nli-stsb-6",
        "MiniLM, whole, cross-encoder, NLI, then STSb",
        3,
        88.33,
        "BERT-NLI-STSb-base",
        train(f"--model {{row:cross/nli}}/model {_CROSS}"),
    ),
)

TABLE = Table(
    id="table2",
    title="Table 2: STS benchmark, test",
    columns=COLUMNS,
    rows=ROWS,
    note="The paper's figures of trained models are means of ten seeds. The offline cross-encoder after NLI has three seeds of "
    "STSb and one of NLI.",
)
