"""Table 5: SentEval, a logistic regression on frozen embeddings, seven tasks (section 5)."""

from experiments.rows.row import AVERAGE, Column, Row, Table, module, printed
from experiments.rows.table1 import GLOVE_FILE, GLOVE_NOTE

TASKS = {
    "MR": "mr",
    "CR": "cr",
    "SUBJ": "subj",
    "MPQA": "mpqa",
    "SST": "sst2",
    "TREC": "trec",
    "MRPC": "mrpc",
}
COLUMNS = (
    *(Column(title, f"{task}/accuracy", "accuracy x 100") for title, task in TASKS.items()),
    Column("Avg", AVERAGE, "accuracy x 100"),
)
PAPER = {
    name: printed(COLUMNS, line)
    for name, line in {
        "glove": "77.25 78.30 91.17 87.85 80.18 83.0 72.87 81.52",
        "fast-text": "77.96 79.23 91.68 87.81 82.15 83.6 74.49 82.42",
        "bert": "78.66 86.25 94.37 88.66 84.40 92.8 69.45 84.94",
        "cls": "78.68 84.85 94.21 88.23 84.13 91.4 71.13 84.66",
        "infersent": "81.57 86.54 92.50 90.38 84.18 88.2 75.77 85.59",
        "use": "80.09 85.19 93.98 86.70 86.38 93.2 70.14 85.10",
        "sbert-base": "83.64 89.43 94.39 89.86 88.96 89.6 76.00 87.41",
        "sbert-large": "84.88 90.07 94.52 90.33 90.66 87.4 75.94 87.69",
    }.items()
}


def _row(
    name: str,
    title: str,
    edition: str,
    model: str,
    printed_as: str = "",
    place: str = "",
    *,
    seeds: tuple[int, ...] = (0,),
    note: str = "",
) -> Row:
    steps = (module("senteval", f"--model {model}"),) if model else ()
    return Row(name, title, edition, steps, seeds, PAPER.get(printed_as, {}), place=place, note=note)


ROWS = (
    _row("glove", "Avg. GloVe embeddings", "paper", GLOVE_FILE, "glove", "Table 5, row 1", note=GLOVE_NOTE),
    _row(
        "fast-text",
        "Avg. fast-text embeddings",
        "paper",
        "crawl-300d-2M.vec",
        "fast-text",
        "Table 5, row 2",
        note="wants crawl-300d-2M.vec of fasttext.cc in the project's folder; the paper does not say which file it took",
    ),
    _row(
        "avg-bert",
        "Avg. BERT embeddings",
        "paper",
        "bert-base-uncased --pooling mean --average-layers 4",
        "bert",
        "Table 5, row 3",
        note="as in Table 1: bert-as-a-service, a mean over the last few layers, 4 of them here",
    ),
    _row("bert-cls", "BERT CLS-vector", "paper", "bert-base-uncased --pooling cls", "cls", "Table 5, row 4"),
    _row("infersent", "InferSent - GloVe", "quoted", "", "infersent", "Table 5, row 5"),
    _row("use", "Universal Sentence Encoder", "quoted", "", "use", "Table 5, row 6"),
    *(
        _row(
            f"sbert-nli-{size}",
            f"SBERT-NLI-{size}",
            "paper",
            f"{{row:table1/sbert-nli-{size}}}/model",
            f"sbert-{size}",
            f"Table 5, row {place}",
            seeds=(1, 2, 3),
        )
        for size, place in (("base", 7), ("large", 8))
    ),
    _row(
        "mean-4",
        "MiniLM, 4 of 6 layers, mean",
        "offline",
        "minilm --num-layers 4",
        "bert",
        "stands in for Table 5, row 3",
    ),
    _row(
        "cls-4",
        "MiniLM, 4 of 6 layers, CLS-vector",
        "offline",
        "minilm --num-layers 4 --pooling cls",
        "cls",
        "stands in for Table 5, row 4",
    ),
    _row(
        "nli-4",
        "MiniLM, 4 of 6 layers, NLI",
        "offline",
        "{row:table1/sbert-nli-4}/model",
        "sbert-base",
        "stands in for Table 5, row 7",
        seeds=(1, 2, 3),
    ),
    _row("minilm", "MiniLM, whole, as its publisher trained it", "offline", "minilm"),
)

TABLE = Table(
    id="table5",
    title="Table 5: SentEval",
    columns=COLUMNS,
    rows=ROWS,
    note="Accuracy of a logistic regression on frozen embeddings. SST-2 is trained on its 6,920 whole sentences; the paper's "
    "figures come from SentEval, which trains on ten times as many rows, most of them phrases.",
)
