"""One encoder, one budget, every objective of the bi-encoder: STS-B whole, a third of NLI with 4 layers. A table of ours."""

from experiments.rows.row import Column, Row, Table, train

COLUMNS = (
    Column("STSb dev", "stsb-dev/spearman_cosine"),
    Column("STSb test", "stsb-test/spearman_cosine"),
)
SEEDS = (1, 2, 3)
SCORED = "--select-on last --dev-data --threads 1 --eval-data stsb-dev stsb"
STSB = f"--train-data stsb --epochs 4 --batch-size 32 --lr 5e-5 --precision bf16 {SCORED}"
NLI = f"--num-layers 4 --train-data nli-en --epochs 1 --lr 5e-5 --precision bf16 {SCORED}"
PAIRS, TRIPLETS = "--train-limit 29312", "--train-limit 19541"  # the same number of texts
OF_STSB = {"regression": "regression (MSE of the cosine)", "cosent": "CoSENT"}
OF_NLI = {
    "classification": ("classification", f"{PAIRS} --batch-size 32 --head-lr 1e-2"),
    "triplet": ("triplet, Euclidean, margin 1", f"{TRIPLETS} --batch-size 32"),
    "ranking": ("in-batch ranking, batches of 64", f"{TRIPLETS} --batch-size 64"),
    "mega-batch-margin": ("mega-batch margin, batches of 64", f"{TRIPLETS} --batch-size 64"),
}

ROWS = (
    *(
        Row(
            id=f"stsb-{objective}",
            name=f"MiniLM, whole, STSb, {title}",
            edition="offline",
            steps=(train(f"--objective {objective} {STSB}"),),
            seeds=SEEDS,
        )
        for objective, title in OF_STSB.items()
    ),
    *(
        Row(
            id=f"nli-{objective}",
            name=f"MiniLM, 4 of 6 layers, NLI, {title}",
            edition="offline",
            steps=(train(f"--objective {objective} {NLI} {flags}"),),
            seeds=SEEDS,
        )
        for objective, (title, flags) in OF_NLI.items()
    ),
    Row(
        id="simcse-4",
        name="MiniLM, 4 of 6 layers, SimCSE on 2,000 sentences of STSb and 2,000 of NLI, no label",
        edition="offline",
        steps=(
            train(
                "--objective simcse --num-layers 4 --train-data stsb nli-en --train-limit 2000 --epochs 1 --batch-size 64 "
                f"--lr 5e-5 --precision bf16 {SCORED}"
            ),
        ),
        seeds=SEEDS,
        note="the same layers as they are: 66.82 on dev, 59.59 on test",
    ),
    Row(
        id="tsdae-4",
        name="MiniLM, 4 of 6 layers, TSDAE on 2,000 sentences of STSb and 2,000 of NLI, 4 epochs, no label",
        edition="offline",
        steps=(
            train(
                "--objective tsdae --num-layers 4 --train-data stsb nli-en --train-limit 2000 --epochs 4 --batch-size 64 "
                f"--lr 1e-4 --precision bf16 {SCORED}"
            ),
        ),
        seeds=SEEDS,
    ),
    Row(
        id="mixed-4",
        name="MiniLM, 4 of 6 layers, 4,000 rows each of NLI (classification), STSb (regression) and SQuAD (ranking), in turn",
        edition="offline",
        steps=(
            train(
                "--num-layers 4 --train-data nli-en stsb squad --mix round-robin --train-limit 4000 --epochs 1 --batch-size 32 "
                f"--lr 5e-5 --head-lr 1e-2 --precision bf16 {SCORED}"
            ),
        ),
        seeds=SEEDS,
    ),
)

TABLE = Table(
    id="objectives",
    title="Objectives of the bi-encoder",
    columns=COLUMNS,
    rows=ROWS,
    note="Every row keeps its last step. NLI is a third of nli-en, 58,624 texts, drawn with the seed: 29,312 pairs for the "
    "classification objective, for the others 19,541 of the triplets (premise, entailment, contradiction) that can be "
    "made of it.",
)
