"""What people do with sentence embeddings (sbert/applications), where the right answers are known. A table of ours."""

from experiments.rows.row import Column, Row, Step, Table

COLUMNS = (
    Column("F1", "parallel/f1", "x 100"),
    Column("best F1", "parallel/best_f1", "x 100"),
    Column("AP", "paraphrases/average_precision", "x 100"),
    Column("V-measure", "cluster/v_measure", "x 100"),
)


def command(flags: str) -> tuple[Step, ...]:
    """One run of ``python -m sbert.applications``."""
    words = (*flags.split(), "--output", "{out}/1/results.json")
    return (Step("sbert.applications", words, writes="results.json"),)


def parallel(source: str, target: str, flags: str = "") -> tuple[Step, ...]:
    return command(
        f"parallel --aligned --source parallel-ko-en/{source} --target parallel-ko-en/{target} {flags}"
    )


PARK = "korean-english-park.test"
KOREAN = "--model {row:korean/distilled}/model"

ROWS = (
    Row(
        id="parallel-tatoeba",
        name="parallel sentences, Tatoeba, the last 1,000 rows",
        edition="offline",
        steps=parallel("kor.txt#2", "kor.txt#1", "--rows 4750-5749"),
        note="the encoder has no Korean: it reads Hangul as letters, and finds what stands in Latin letters and digits",
    ),
    Row(
        id="parallel-news",
        name="parallel sentences, news test, 2,000 rows",
        edition="offline",
        steps=parallel(f"{PARK}.ko", f"{PARK}.en"),
        note="the same encoder",
    ),
    Row(
        id="parallel-tatoeba-korean",
        name="parallel sentences, Tatoeba, the last 1,000 rows, with Korean",
        edition="offline",
        steps=parallel("kor.txt#2", "kor.txt#1", f"--rows 4750-5749 {KOREAN}"),
        note="the encoder of table korean, distilled on other pairs of these sources",
    ),
    Row(
        id="parallel-news-korean",
        name="parallel sentences, news test, 2,000 rows, with Korean",
        edition="offline",
        steps=parallel(f"{PARK}.ko", f"{PARK}.en", KOREAN),
        note="the same encoder",
    ),
    Row(
        id="paraphrases-stsb",
        name="paraphrases, sentences of STSb test",
        edition="offline",
        steps=command("paraphrases --data stsb"),
    ),
    Row(
        id="kmeans-trec",
        name="k-means, 6 clusters, TREC test",
        edition="offline",
        steps=command("cluster --data trec --clusters 6"),
    ),
    Row(
        id="ward-trec",
        name="agglomerative (Ward), 6 clusters, TREC test",
        edition="offline",
        steps=command("cluster --data trec --method agglomerative --clusters 6"),
    ),
)

TABLE = Table(
    id="applications",
    title="Applications",
    columns=COLUMNS,
    rows=ROWS,
    note="F1: Korean-English pairs whose English side was shuffled, found again one to one by the margin, threshold 1; best "
    "F1: of the threshold, from 1 up, that is best for these very pairs. AP: of all mined "
    "pairs, where the right ones are those of STSb with a score of 4 or more and every other pair, labelled or not, counts "
    "as wrong. V-measure: of clusters against the six classes of question.",
)
