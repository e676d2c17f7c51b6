"""Table 6: what pooling and what the classifier sees, on the STS benchmark's dev set (section 6).

Nothing is selected on dev here, since dev is what is reported: every row keeps its last step.
"""

from experiments.rows.row import Column, Row, Table, train

TITLE = "STSb dev"
COLUMNS = (Column(TITLE, "stsb-dev/spearman_cosine"),)
POOLINGS = {"mean": (80.78, 87.44), "max": (79.07, 69.92), "cls": (79.80, 86.62)}  # NLI, STSb
DEFAULT = "u,v,|u-v|"  # with mean pooling it is the first row of both halves
CONCATENATIONS = {
    "u-v": ("u,v", 66.04),
    "diff": ("|u-v|", 69.78),
    "prod": ("u*v", 70.54),
    "diff-prod": ("|u-v|,u*v", 78.37),
    "u-v-prod": ("u,v,u*v", 77.44),
    "u-v-diff-prod": ("u,v,|u-v|,u*v", 80.44),
}
NLI = {
    "paper": "--model bert-base-uncased --train-data allnli --epochs 1 --batch-size 16 --lr 2e-5 --head-lr 2e-5 "
    "--warmup-ratio 0.1 --select-on last --dev-data --eval-data stsb-dev",
    "offline": "--num-layers 4 --train-data nli-en --train-limit 29312 --batch-size 16 --lr 5e-5 --head-lr 1e-2 "
    "--select-on last --dev-data --threads 1 --eval-data stsb-dev",
}
STSB = {
    "paper": "--model bert-base-uncased --train-data stsb --epochs 4 --batch-size 16 --lr 2e-5 --warmup-ratio 0.1 "
    "--select-on last --dev-data --eval-data stsb-dev",
    "offline": "--num-layers 4 --train-data stsb --epochs 4 --lr 5e-5 --select-on last --dev-data --threads 1 "
    "--eval-data stsb-dev",
}
SEEDS = {"paper": tuple(range(1, 11)), "offline": (1, 2, 3)}
ENCODER = {"paper": "BERT-base", "offline": "MiniLM, 4 of 6 layers"}
SUFFIX = {"paper": "base", "offline": "4"}


def _row(edition: str, name: str, what: str, flags: str, value: float) -> Row:
    stands = "" if edition == "paper" else "stands in for "
    return Row(
        id=f"{name}-{SUFFIX[edition]}",
        name=f"{ENCODER[edition]}, {what}",
        edition=edition,
        steps=(train(flags),),
        seeds=SEEDS[edition],
        paper={TITLE: value},
        place=f"{stands}Table 6",
    )


def _rows(edition: str) -> list[Row]:
    nli = [
        _row(
            edition,
            f"nli-{p}",
            f"NLI, {p.upper()} pooling, ({DEFAULT})",
            f"{NLI[edition]} --pooling {p}",
            value,
        )
        for p, (value, _) in POOLINGS.items()
    ]
    stsb = [
        _row(edition, f"stsb-{p}", f"STSb, {p.upper()} pooling", f"{STSB[edition]} --pooling {p}", value)
        for p, (_, value) in POOLINGS.items()
    ]
    concatenations = [
        _row(
            edition,
            f"nli-{name}",
            f"NLI, MEAN pooling, ({concat})",
            f"{NLI[edition]} --pooling mean --concat {concat}",
            value,
        )
        for name, (concat, value) in CONCATENATIONS.items()
    ]
    return nli + stsb + concatenations + (_whole() if edition == "offline" else [])


def _whole() -> list[Row]:
    """STSb with all six layers: their CLS vectors differ from sentence to sentence, those of the fourth layer do not."""
    return [
        Row(
            id=f"stsb-{pooling}-6",
            name=f"MiniLM, whole, STSb, {pooling.upper()} pooling",
            edition="offline",
            steps=(
                train(
                    f"{STSB['offline'].replace('--num-layers 4 ', '')} --precision bf16 --pooling {pooling}"
                ),
            ),
            seeds=(1,),
            paper={TITLE: printed},
            place="stands in for Table 6",
        )
        for pooling, (_, printed) in POOLINGS.items()
    ]


TABLE = Table(
    id="table6",
    title="Table 6: pooling and concatenation, STS benchmark, dev",
    columns=COLUMNS,
    rows=(*_rows("paper"), *_rows("offline")),
    note="NLI is the classification objective, STSb the regression objective. Of the concatenations, (u,v,|u-v|) with MEAN "
    "pooling is the first row. The paper's figures are means of ten seeds. Offline, NLI is a third of nli-en: 29,312 "
    "pairs, drawn with the seed. What the layers' vectors are like before training: `python -m experiments.isotropy "
    "--num-layers 4 6`.",
)
