"""Table 3: Argument Facet Similarity (section 4.3). Nothing was run: its publisher gives the data on request."""

from experiments.rows.row import Column, Row, Table, module, printed

COLUMNS = (
    Column("r", "afs/pearson", "Pearson x 100"),
    Column("rho", "afs/spearman", "Spearman x 100"),
)
SETTINGS = {"cv": "10-fold cross-validation", "cross-topic": "cross-topic"}
ENCODERS = {"base": "bert-base-uncased", "large": "bert-large-uncased"}
# setting -> size -> (BERT, the cross-encoder; SBERT, the bi-encoder)
PAPER = {
    "cv": {"base": ("77.20 74.84", "76.57 74.13"), "large": ("78.68 76.38", "77.85 75.93")},
    "cross-topic": {"base": ("58.49 57.23", "52.34 50.65"), "large": ("62.02 60.34", "53.82 53.10")},
}


def _quoted(name: str, title: str, line: str, setting: str) -> Row:
    return Row(name, title, "quoted", paper=printed(COLUMNS, line), place=f"Table 3, {setting}")


def _trained(protocol: str, size: str) -> tuple[Row, Row]:
    cross, siamese = (
        Row(
            id=f"{protocol}-{name}-{size}",
            name=f"{title}-AFS-{size}, {SETTINGS[protocol]}",
            edition="paper",
            steps=(
                module(
                    "afs",
                    f"--protocol {protocol} --arch {arch} --model {ENCODERS[size]} --epochs 4 --batch-size 16 --lr 2e-5 "
                    "--seed {seed}",
                ),
            ),
            seeds=(1,),
            paper=printed(COLUMNS, line),
            place=f"Table 3, {SETTINGS[protocol]}",
        )
        for name, title, arch, line in zip(
            ("bert", "sbert"), ("BERT", "SBERT"), ("cross", "bi"), PAPER[protocol][size], strict=True
        )
    )
    return cross, siamese


ROWS = (
    _quoted("tf-idf", "tf-idf", "46.77 42.95", "unsupervised"),
    _quoted("glove", "Avg. GloVe embeddings", "32.40 34.00", "unsupervised"),
    _quoted("infersent", "InferSent - GloVe", "27.08 26.63", "unsupervised"),
    _quoted("svr", "SVR (Misra et al., 2016)", "63.33 -", SETTINGS["cv"]),
    *(row for protocol in SETTINGS for size in ENCODERS for row in _trained(protocol, size)),
)

TABLE = Table(
    id="table3",
    title="Table 3: Argument Facet Similarity",
    columns=COLUMNS,
    rows=ROWS,
    note="No row stands in for these offline: the set was not at hand. The paper does not say how many epochs; 4 here, as "
    "for STSb.",
)
