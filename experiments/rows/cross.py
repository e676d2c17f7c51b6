"""The cross-encoder: its losses and its two heads on STS-B, and what it says of NLI. A table of ours."""

from experiments.rows.row import Column, Row, Table, train
from experiments.rows.table2 import STSB_OFFLINE

COLUMNS = (
    Column("STSb test", "stsb-test/spearman"),
    Column("NLI dev", "nli-en-dev/accuracy", "accuracy x 100"),
    Column("NLI test", "nli-en-test/accuracy", "accuracy x 100"),
)
SEEDS = (1, 2, 3)
NLI = (
    "--arch cross --train-data nli-en --lr 5e-5 --batch-size 32 --epochs 1 --select-on last --dev-data --threads 1 "
    "--eval-data nli-en-dev nli-en"
)
STSB = f"--arch cross --train-data stsb {STSB_OFFLINE}"

ROWS = (
    Row("bce", "STSb, binary cross-entropy", "offline", seeds=SEEDS, same_as="table2/cross-stsb-6"),
    Row(
        id="regression",
        name="STSb, squared error",
        edition="offline",
        steps=(train(f"{STSB} --objective regression"),),
        seeds=SEEDS,
    ),
    Row(
        id="native",
        name="STSb, binary cross-entropy, the library's own head",
        edition="offline",
        steps=(train(f"{STSB} --objective bce --head native"),),
        seeds=SEEDS,
    ),
    Row(
        id="nli",
        name="NLI, cross-entropy",
        edition="offline",
        steps=(train(NLI),),
        seeds=(1,),
        note="the model that Table 2's NLI row goes on from",
    ),
    Row("nli-bce", "NLI, then STSb", "offline", seeds=SEEDS, same_as="table2/cross-nli-stsb-6"),
)

TABLE = Table(
    id="cross",
    title="Cross-encoders",
    columns=COLUMNS,
    rows=ROWS,
    note="All of MiniLM, whole, with classificationHead where nothing else is said. NLI dev is SNLI and MultiNLI, test is "
    "SNLI.",
)
