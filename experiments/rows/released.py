"""Published checkpoints, scored as they are. Their values are known to be right, so they test reading and evaluation."""

from experiments.rows.row import Column, Row, Table, score
from experiments.rows.table1 import COLUMNS as STS
from experiments.rows.table1 import PAPER, SETS

COLUMNS = (
    *STS[:-1],
    Column("SICK-R, all", "sickr-all/spearman_cosine"),
    Column("KorSTS", "korsts-test/spearman_cosine"),
    Column("KLUE-STS", "klue-sts-dev/spearman_cosine"),
)
SEVEN = [column.title for column in STS[:-1]]
# MTEB, which takes all 9,927 rows of SICK for its SICK-R
MINILM = dict(
    zip([*SEVEN[:6], "SICK-R, all"], (72.37, 80.60, 75.59, 85.39, 78.99, 82.03, 77.58), strict=True)
)
ENGLISH = {
    "bert-base-nli": ("bert-base-nli-mean-tokens", "sbert-base"),
    "bert-large-nli": ("bert-large-nli-mean-tokens", "sbert-large"),
    "roberta-base-nli": ("roberta-base-nli-mean-tokens", "sroberta-base"),
    "roberta-large-nli": ("roberta-large-nli-mean-tokens", "sroberta-large"),
}

ROWS = (
    *(
        Row(
            id=name,
            name=model,
            edition="paper",
            steps=(score(f"sentence-transformers/{model}", SETS),),
            paper={title: PAPER[printed][title] for title in SEVEN},
            place="Table 1",
        )
        for name, (model, printed) in ENGLISH.items()
    ),
    Row(
        id="all-minilm",
        name="all-MiniLM-L6-v2",
        edition="paper",
        steps=(score("sentence-transformers/all-MiniLM-L6-v2", f"{SETS} sickr-all"),),
        paper=MINILM,
        place="MTEB",
    ),
    Row(
        id="all-minilm-packaged",
        name="all-MiniLM-L6-v2, the packaged copy",
        edition="offline",
        steps=(score("minilm", f"{SETS} sickr-all"),),
        paper=MINILM,
        place="MTEB",
    ),
    Row(
        id="ko-sroberta-multitask",
        name="jhgan/ko-sroberta-multitask",
        edition="paper",
        steps=(score("jhgan/ko-sroberta-multitask", "korsts klue-sts"),),
        paper={"KorSTS": 85.60},
        place="its publisher's README",
    ),
    Row(
        id="kr-sbert",
        name="snunlp/KR-SBERT-V40K-klueNLI-augSTS",
        edition="paper",
        steps=(score("snunlp/KR-SBERT-V40K-klueNLI-augSTS", "korsts klue-sts"),),
        note="its publisher gives no figure for these sets",
    ),
)

TABLE = Table(
    id="released",
    title="Published models, scored as they are",
    columns=COLUMNS,
    rows=ROWS,
    note="The values beside ours are the publishers' (the paper's for the NLI models). SICK-R is the 4,927 test rows, "
    "SICK-R, all the 9,927 that MTEB scores.",
)
