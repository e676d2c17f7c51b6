"""Retrieve and re-rank: one system a row, each on the test questions of its set. A table of ours."""

from experiments.rows.row import Column, Row, Step, Table, module, train

# what a row's last step may print; of several, the one that has been through most counts
SYSTEMS = ("hybrid + blend", "hybrid + rerank", "hybrid", "dense", "bm25")
SHOWN = {"R@1": "recall@1", "R@20": "recall@20", "MRR@10": "mrr@10", "nDCG@10": "ndcg@10"}
COLUMNS = tuple(
    Column(title, tuple(f"{system}/{metric}" for system in SYSTEMS), "x 100")
    for title, metric in SHOWN.items()
)
SETS = {
    "squad": "SQuAD",
    "korquad": "KorQuAD, test articles",
    "nfcorpus": "NFCorpus",
    "scifact": "SciFact",
}
SYSTEM_NAMES = {"bm25": "BM25", "dense": "MiniLM as it is", "hybrid": "both, fused"}
SEEDS = (1, 2, 3)
MINED = "{row:retrieval/squad-mined}/mined.jsonl"
TRAINED = "{row:retrieval/squad-topics#1}/model"
LAST = "--threads 1 --precision bf16 --eval-data --dev-data --select-on last"
FEW = f"--train-limit 2000 --batch-size 32 --lr 2e-5 --epochs 1 {LAST}"
TOPICS = (
    "--objective ranking --batch-sampler topics --batch-size 128 --lr 1e-4 --epochs 3 --threads 1 --precision bf16 "
    "--eval-data --eval-steps 0.34"
)
KOREAN = "{row:retrieval/korquad-korean#1}/model"
RERANKED = "--depth 20 --blend auto --sample 2000 --precision bf16"


def retrieve(step: int, data: str, retriever: str, flags: str = "") -> Step:
    """Step number ``step`` of a row. The weight of a fused system is chosen on the dev questions."""
    weight = " --weight auto" if retriever == "hybrid" else ""
    words = f"--data {data} --retriever {retriever}{weight} {flags} --threads 1 --output {{out}}/{step}"
    return module("retrieve", words, "results.json")


def reranker(questions: int) -> str:
    """Flags of a cross-encoder that is trained on mined negatives. questions: of the train set, drawn by the seed."""
    return (
        f"--arch cross --objective ranking --num-negatives 0 --train-limit {questions} --batch-size 8 --accumulation 2 "
        "--save-steps 0.1"
    )


def _untrained(data: str, system: str) -> Row:
    return Row(
        f"{data}-{system}", f"{SETS[data]}: {SYSTEM_NAMES[system]}", "offline", (retrieve(1, data, system),)
    )


def _cut(data: str) -> Row:
    """What others report: a passage is its first 256 tokens. The other rows score windows over the whole of it."""
    return Row(
        f"{data}-dense-cut",
        f"{SETS[data]}: MiniLM as it is, passages cut at 256 tokens",
        "offline",
        (retrieve(1, data, "dense", "--long truncate"),),
    )


def _few(objective: str, hard: bool) -> Row:
    """63 updates on the same 2,000 questions."""
    of_its_own = " with a mined hard negative" if hard else ""
    negatives = "--hard-negatives 1" if hard else "--hard-negatives 0"
    return Row(
        id=f"squad-{objective}{'-hard' if hard else ''}",
        name=f"SQuAD: dense, {objective} on 2,000 questions{of_its_own}",
        edition="offline",
        steps=(
            train(f"--train-data {MINED} --objective {objective} {negatives} {FEW}"),
            retrieve(2, "squad", "dense", "--model {step1}/model"),
        ),
        seeds=SEEDS,
    )


def _without_labels(objective: str, title: str, seeds: tuple[int, ...]) -> Row:
    return Row(
        id=f"nfcorpus-{objective}",
        name=f"NFCorpus: dense, {title} on the first 64 tokens of 1,000 of its passages, no question",
        edition="offline",
        steps=(
            train(
                f"--objective {objective} --train-data nfcorpus --train-limit 1000 --max-length 64 --batch-size 32 --lr 2e-5 {LAST}"
            ),
            retrieve(2, "nfcorpus", "dense", "--model {step1}/model --max-length 256 --precision bf16"),
        ),
        seeds=seeds,
    )


ROWS = (
    *(_untrained("squad", system) for system in SYSTEM_NAMES),
    Row(
        id="squad-mined",
        name="SQuAD: hard negatives for the rows below, no figures",
        edition="offline",
        steps=(
            module(
                "mine",
                "--data squad --split train --source bm25 dense --model minilm --num-negatives 4 --precision bf16 "
                "--output {out}/1/mined.jsonl",
                "mined.jsonl",
            ),
        ),
    ),
    *(_few(objective, hard) for objective in ("ranking", "mega-batch-margin") for hard in (False, True)),
    Row(
        id="squad-topics",
        name="SQuAD: dense, ranking on all train questions, batches by topic",
        edition="offline",
        steps=(
            train(f"--train-data squad {TOPICS} --dev-data squad --select-on squad-dev/mrr@10"),
            retrieve(2, "squad", "dense", "--model {step1}/model"),
        ),
        seeds=SEEDS,
    ),
    Row(
        id="squad-topics-fused",
        name="SQuAD: that and BM25, fused",
        edition="offline",
        steps=(retrieve(1, "squad", "hybrid", f"--model {TRAINED}"),),
        seeds=SEEDS,
    ),
    Row(
        id="squad-reranked",
        name="SQuAD, 2,000 questions: that, the first 20 re-ranked and blended",
        edition="offline",
        steps=(
            train(
                f"{reranker(3000)} --model {{row:table2/cross-stsb-6}}/model --train-data {MINED} --lr 5e-5 --head-lr 1e-4 --epochs 1 {LAST}"
            ),
            retrieve(2, "squad", "hybrid", f"--model {TRAINED} --rerank {{step1}}/model {RERANKED}"),
        ),
        seeds=(1,),
    ),
    *(_untrained("korquad", system) for system in ("bm25", "dense")),
    Row(
        id="korquad-korean",
        name="KorQuAD: dense, MiniLM with Korean words (table korean), distilled, ranking, batches by topic",
        edition="offline",
        steps=(
            train(
                f"--model {{row:korean/distilled}}/model --train-data korquad {TOPICS} --dev-data korquad "
                "--select-on korquad-dev/mrr@10 --save-steps 0.1"
            ),
            retrieve(2, "korquad", "dense", "--model {step1}/model"),
        ),
        seeds=(1,),
    ),
    Row(
        id="korquad-korean-fused",
        name="KorQuAD: that and BM25, fused",
        edition="offline",
        steps=(retrieve(1, "korquad", "hybrid", f"--model {KOREAN}"),),
        seeds=(1,),
    ),
    Row(
        id="korquad-mined",
        name="KorQuAD: hard negatives for the rows below, no figures",
        edition="offline",
        steps=(
            module(
                "mine",
                f"--data korquad --split train --source bm25 dense --model {KOREAN} --num-negatives 4 --precision bf16 "
                "--output {out}/1/mined.jsonl",
                "mined.jsonl",
            ),
        ),
    ),
    Row(
        id="korquad-korean-reranked",
        name="KorQuAD: fused, the first 20 re-ranked and blended",
        edition="offline",
        steps=(
            train(
                f"{reranker(1500)} --model {{row:korean/distilled}}/model --train-data {{row:retrieval/korquad-mined}}/mined.jsonl "
                f"--lr 1e-4 --head-lr 1e-3 --epochs 1 {LAST}"
            ),
            retrieve(2, "korquad", "hybrid", f"--model {KOREAN} --rerank {{step1}}/model {RERANKED}"),
        ),
        seeds=(1,),
    ),
    Row(
        id="korquad-korean-blended",
        name="KorQuAD: fused, the first 10 re-ranked by a cross-encoder of KorSTS, then of all train questions, blended",
        edition="offline",
        steps=(
            train(
                "--arch cross --model {row:korean/distilled}/model --train-data korsts --objective bce --epochs 3 --batch-size 32 "
                "--lr 1e-4 --head-lr 1e-3 --threads 1 --precision bf16 --eval-data --dev-data korsts --eval-steps 0.34 "
                "--select-on korsts-dev/spearman"
            ),
            train(
                f"{reranker(0)} --model {{step1}}/model --train-data {{row:retrieval/korquad-mined}}/mined.jsonl --max-length 288 "
                f"--lr 1e-4 --head-lr 1e-3 --epochs 2 --max-updates 280 {LAST}"
            ),
            retrieve(
                3,
                "korquad",
                "hybrid",
                f"--model {KOREAN} --rerank {{step2}}/model --depth 10 --blend auto --precision bf16",
            ),
        ),
        seeds=SEEDS,
    ),
    *(_untrained(data, system) for data in ("nfcorpus", "scifact") for system in SYSTEM_NAMES),
    *(_cut(data) for data in ("nfcorpus", "scifact")),
    _without_labels("simcse", "SimCSE", SEEDS),
    _without_labels("tsdae", "TSDAE", (1,)),
)

TABLE = Table(
    id="retrieval",
    title="Retrieval",
    columns=COLUMNS,
    rows=ROWS,
    note="Words for English, character bigrams for Korean under BM25. The encoder's publisher trained it on SQuAD's train "
    "questions, among much else: on other articles than these. It has no Korean.",
)
