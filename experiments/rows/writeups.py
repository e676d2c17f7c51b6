"""The two Korean write-ups this project starts from: SBERT on KoELECTRA, and retrieval for machine reading.

The second one trained a bi-encoder with mega-batch margin and a cross-encoder that re-ranks, and had no time to measure why
dense was weaker than BM25: experiments.analysis does that.
"""

from experiments.rows.row import Column, Row, Table, module, train

COLUMNS = (
    Column("KorNLI test", "kornli-test/accuracy", "accuracy x 100"),
    Column("KorSTS test", ("korsts-test/spearman_cosine", "korsts-test/spearman")),
    Column("KLUE-STS dev", ("klue-sts-dev/spearman_cosine", "klue-sts-dev/spearman")),
    Column("KorQuAD R@1", ("korquad-test/recall@1", "hybrid + rerank/recall@1"), "x 100"),
    Column("KorQuAD MRR@10", ("korquad-test/mrr@10", "hybrid + rerank/mrr@10"), "x 100"),
)
KOELECTRA = "--model monologg/koelectra-base-v3-discriminator"
KR_SBERT = "snunlp/KR-SBERT-V40K-klueNLI-augSTS"
SEEDS = (1, 2, 3)
RECIPE = "--batch-size 16 --lr 2e-5 --warmup-ratio 0.1"
STS = "--eval-data korsts klue-sts"
# published for a cross-encoder on this encoder (github.com/monologg/KoELECTRA)
KORNLI, KORSTS = {"KorNLI test": 82.24}, {"KorSTS test": 85.53}
BI_ENCODER = "{row:writeups/kr-sbert-korquad}/model"

ROWS = (
    Row(
        id="bi-korsts",
        name="KoELECTRA, bi-encoder, KorSTS",
        edition="paper",
        steps=(train(f"{KOELECTRA} --train-data korsts --epochs 4 {RECIPE} --dev-limit 0 {STS}"),),
        seeds=SEEDS,
    ),
    Row(
        id="bi-kornli",
        name="KoELECTRA, bi-encoder, KorNLI",
        edition="paper",
        steps=(train(f"{KOELECTRA} --train-data kornli --epochs 1 {RECIPE} --select-on last {STS}"),),
        seeds=SEEDS,
    ),
    Row(
        id="bi-kornli-korsts",
        name="KoELECTRA, bi-encoder, KorNLI, then KorSTS",
        edition="paper",
        steps=(
            train(
                f"{KOELECTRA} --train-data kornli korsts --mix sequence --epochs 1 4 {RECIPE} --dev-limit 0 {STS}"
            ),
        ),
        seeds=SEEDS,
    ),
    Row(
        id="cross-kornli",
        name="KoELECTRA, cross-encoder, KorNLI",
        edition="paper",
        steps=(
            train(f"--arch cross {KOELECTRA} --train-data kornli --epochs 1 {RECIPE} --eval-data kornli"),
        ),
        seeds=SEEDS,
        paper=KORNLI,
        place="monologg/KoELECTRA, README",
    ),
    Row(
        id="cross-korsts",
        name="KoELECTRA, cross-encoder, KorSTS",
        edition="paper",
        steps=(
            train(f"--arch cross {KOELECTRA} --train-data korsts --epochs 4 {RECIPE} --dev-limit 0 {STS}"),
        ),
        seeds=SEEDS,
        paper=KORSTS,
        place="monologg/KoELECTRA, README",
    ),
    Row(
        id="kr-sbert-korquad",
        name="KR-SBERT, KorQuAD, mega-batch margin",
        edition="paper",
        steps=(
            train(
                f"--model {KR_SBERT} --train-data korquad --objective mega-batch-margin --epochs 3 --batch-size 16 --lr 1e-5 "
                "--weight-decay 0.001 --warmup-ratio 0.01 --eval-data korquad"
            ),
        ),
        seeds=SEEDS,
    ),
    Row(
        id="reranked-korquad",
        name="the same, fused with BM25, re-ranked by klue/roberta-base",
        edition="paper",
        steps=(
            module(
                "mine",
                f"--data korquad --split train --source bm25 dense --model {BI_ENCODER} --num-negatives 4 "
                "--output {out}/1/mined.jsonl",
                writes="mined.jsonl",
            ),
            train(
                "--arch cross --model klue/roberta-base --train-data {step1}/mined.jsonl --objective ranking "
                "--num-negatives 4 --epochs 3 --batch-size 16 --lr 1e-5 --weight-decay 0.001 --warmup-ratio 0.01 "
                "--select-on last --dev-data --eval-data"
            ),
            module(
                "retrieve",
                f"--data korquad --retriever bm25 dense hybrid --model {BI_ENCODER} --rerank {{step2}}/model --depth 20 "
                "--output {out}/3",
                writes="results.json",
            ),
        ),
        seeds=SEEDS,
    ),
)

TABLE = Table(
    id="writeups",
    title="The two write-ups",
    columns=COLUMNS,
    rows=ROWS,
    note="The re-ranker is trained with mined and in-batch negatives: on right passages alone it can only learn to say yes.",
)
