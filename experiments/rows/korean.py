"""Korean sets with the packaged encoder, which is English and reads Hangul as letters, and with Korean words given to it.
A table of ours."""

from experiments.rows.row import Column, Row, Step, Table, score, train

COLUMNS = (
    Column("KorSTS test", "korsts-test/spearman_cosine"),
    Column("KLUE-STS dev", "klue-sts-dev/spearman_cosine"),
    Column("KLUE-NLI dev", "klue-nli-dev/accuracy", "accuracy x 100"),
    Column("KorNLI test", "kornli-test/accuracy", "accuracy x 100"),
    Column("Tatoeba en-ko", "tatoeba-test/accuracy_en_ko", "accuracy x 100"),
    Column("ko-en", "tatoeba-test/accuracy_ko_en", "accuracy x 100"),
    Column("STSb test", "stsb-test/spearman_cosine"),
)
STS = "korsts klue-sts"
ALL = f"{STS} tatoeba stsb"
SEEDS = (1, 2, 3)
PARALLEL = "tatoeba news-ko-en jhe stsb-ko-en xnli-ko-en"
ONE = "--threads 1 --precision bf16"
DISTILLED = "{row:korean/distilled}/model"
COSENT = (
    "--objective cosent --epochs 4 --batch-size 32 --lr 5e-5 --eval-steps 0.125 --dev-limit 0 "
    f"--eval-data {ALL} {ONE}"
)
KORSTS = f"--train-data korsts {COSENT}"
STSB_TEACHER = "{row:korean/teacher-stsb}/model"


def distilled(teacher: str) -> Step:
    """From the words' first rows on; kept is what reads KorSTS dev best."""
    return train(
        f"--model {{row:korean/words-translations#1}} --teacher {teacher} --objective distill --train-data {PARALLEL} "
        f"--epochs 3 --batch-size 32 --lr 1e-4 --eval-steps 0.1 --save-steps 0.05 --dev-data korsts "
        f"--dev-limit 0 --select-on korsts-dev/spearman_cosine --eval-data {ALL} {ONE}"
    )


def words(init: str) -> Row:
    """8,000 Korean WordPiece tokens; nothing is trained, ``init`` gives their first rows."""
    flags = f"--data klue-nli {PARALLEL} korquad tydiqa-ko --language ko --init {init} --output {{out}}/1"
    return Row(
        id=f"words-{init}",
        name=f"MiniLM, whole, Korean words, their rows from {init}",
        edition="offline",
        steps=(
            Step("sbert.vocabulary", tuple(flags.split()), "vocabulary.json"),
            score("{step1}", f"{ALL} {ONE}"),
        ),
    )


ROWS = (
    Row("minilm", "MiniLM, whole, as its publisher trained it", "offline", (score("minilm", ALL),)),
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
        seeds=(1,),
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
        seeds=(1,),
    ),
    *(words(init) for init in ("random", "pieces", "translations")),
    Row(
        id="distilled",
        name="the words from translations, distilled on parallel text (teacher: MiniLM)",
        edition="offline",
        steps=(distilled("minilm"),),
        seeds=(1,),
    ),
    Row(
        id="distilled-korsts",
        name="that, KorSTS, CoSENT",
        edition="offline",
        steps=(train(f"--model {DISTILLED} {KORSTS}"),),
        seeds=SEEDS,
    ),
    Row(
        id="distilled-korsts-stsb",
        name="the distilled one, KorSTS and STSb in English, CoSENT",
        edition="offline",
        steps=(
            train(
                f"--model {DISTILLED} --train-data korsts stsb --dev-data korsts "
                f"--select-on korsts-dev/spearman_cosine {COSENT}"
            ),
        ),
        seeds=(1,),
    ),
    Row(
        id="distilled-klue-nli",
        name="the distilled one, KLUE-NLI",
        edition="offline",
        steps=(
            train(
                f"--model {DISTILLED} --train-data klue-nli --batch-size 32 --lr 5e-5 --head-lr 1e-2 --select-on last "
                f"--dev-data klue-nli --dev-limit 0 --eval-data {ALL} {ONE}"
            ),
        ),
        seeds=(1,),
    ),
    Row(
        id="distilled-cross-klue-nli",
        name="the distilled one, cross-encoder, KLUE-NLI",
        edition="offline",
        steps=(
            train(
                f"--arch cross --model {DISTILLED} --train-data klue-nli --epochs 3 --batch-size 32 --lr 5e-5 "
                f"--select-on last --dev-data --eval-data klue-nli kornli {ONE}"
            ),
        ),
        seeds=(1,),
    ),
    Row(
        id="distilled-klue-nli-korsts",
        name="that, then KorSTS, CoSENT",
        edition="offline",
        steps=(train(f"--model {{row:korean/distilled-klue-nli}}/model {KORSTS}"),),
        seeds=(1,),
    ),
    Row(
        id="teacher-stsb",
        name="MiniLM, whole, STSb in English, CoSENT",
        edition="offline",
        steps=(train(f"--train-data stsb {COSENT}"),),
        seeds=(1,),
    ),
    Row(
        id="distilled-stsb-3",
        name="the words from translations, distilled from that",
        edition="offline",
        steps=(distilled(STSB_TEACHER),),
        seeds=(1,),
    ),
    Row(
        id="distilled-stsb-3-korsts",
        name="that, KorSTS, CoSENT",
        edition="offline",
        steps=(train(f"--model {{row:korean/distilled-stsb-3}}/model {KORSTS}"),),
        seeds=(1,),
    ),
)

TABLE = Table(
    id="korean",
    title="Korean",
    columns=COLUMNS,
    rows=ROWS,
    note="An English encoder: these rows show the path, not what Korean encoders reach (see the tables released and "
    "writeups). Chance on NLI is a third. No text that is reported is in a training part; KorSTS is STS-B translated.",
)
