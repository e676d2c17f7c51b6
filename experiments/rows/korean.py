"""Korean sets with the packaged encoder, which is English and reads Hangul as letters. A table of ours."""

from experiments.rows.row import Column, Row, Table, score, train

COLUMNS = (
    Column("KorSTS test", "korsts-test/spearman_cosine"),
    Column("KLUE-STS dev", "klue-sts-dev/spearman_cosine"),
    Column("KLUE-NLI dev", "klue-nli-dev/accuracy", "accuracy x 100"),
    Column("KorNLI test", "kornli-test/accuracy", "accuracy x 100"),
)
STS = "korsts klue-sts"
SEEDS = (1, 2, 3)

ROWS = (
    Row("minilm", "MiniLM, whole, as its publisher trained it", "offline", (score("minilm", STS),)),
    Row("mean-4", "MiniLM, 4 of 6 layers", "offline", (score("minilm --num-layers 4", STS),)),
    Row(
        id="minilm-korsts",
        name="MiniLM, whole, KorSTS",
        edition="offline",
        steps=(
            train(
                "--train-data korsts --objective regression --epochs 4 --batch-size 16 --lr 5e-5 --eval-steps 0.125 "
                f"--dev-limit 0 --threads 1 --eval-data {STS}"
            ),
        ),
        seeds=SEEDS,
    ),
    Row(
        id="cross-klue-nli",
        name="MiniLM, whole, cross-encoder, KLUE-NLI",
        edition="offline",
        steps=(
            train(
                "--arch cross --train-data klue-nli --epochs 1 --batch-size 32 --lr 5e-5 --select-on last --dev-data "
                "--threads 1 --eval-data klue-nli kornli"
            ),
        ),
        seeds=SEEDS,
    ),
)

TABLE = Table(
    id="korean",
    title="Korean",
    columns=COLUMNS,
    rows=ROWS,
    note="An English encoder: these rows show the path, not what Korean encoders reach (see the tables released and "
    "writeups). Chance on NLI is a third.",
)
