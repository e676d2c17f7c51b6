"""python -m sbert.applications: flags, the texts it reads, what it prints and writes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import data
from sbert.applications import commands, flags, groups, texts
from sbert.applications.__main__ import main
from sbert.applications.texts import read_texts

ROOT = Path(__file__).resolve().parents[1]
EN = ("--data", "samples-mrc-en")
Run = Callable[..., str]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with the tiny model, which must succeed; what it printed."""

    def one(command: str, *words: Any) -> str:
        assert main([command, "--model", str(tiny_model_dir), *map(str, words)]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return one


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf8"), delimiter="\t", quoting=csv.QUOTE_NONE))


def lines(path: Path, *rows: str) -> Path:
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf8")
    return path


# ---------------------------------------------------------------- flags


@pytest.mark.parametrize(
    "words, said",
    [
        ("serch --query a", "invalid choice: 'serch'"),
        ("search", "needs --query TEXT or --queries X"),
        ("search --query a --queries b", "one of the two"),
        ("search --qeury a", "unknown flag --qeury of search; did you mean --query?"),
        ("search --query a --top-k 0", "whole number of at least 1"),
        ("search --query a --device gpu", "--device gpu: allowed are auto"),
        ("search --query a --output x.csv", "must end in .json or .tsv"),
        ("paraphrases --min-score 2", "number in -1..1"),
        ("parallel --rows 5-2", "range such as 1-1000"),
        ("parallel --rows 0-2", "range such as 1-1000"),
        ("parallel --threshold nan", "number of at least 0"),
        ("cluster --method dbscan", "invalid choice: 'dbscan'"),
        ("cluster --threshold 0.5", "--threshold is for --method agglomerative or communities"),
        ("cluster --method communities --clusters 3", "--clusters is for --method kmeans or agglomerative"),
        ("cluster --method communities --threshold 75", "--threshold 75.0: allowed is -1 to 1"),
        ("cluster --method agglomerative --threshold nan", "allowed is 0 or more"),
        ("cluster --method agglomerative", "needs --clusters or --threshold"),
        ("cluster --method agglomerative --clusters 2 --threshold 1", "one of the two"),
        ("cluster --min-size 3", "--min-size is for --method communities"),
        ("cluster --linkage ward", "--linkage is for --method agglomerative"),
        ("map", "map needs --png"),
        ("map --png x.jpg", "--png x.jpg: must end in .png"),
        ("map --heat-map x", "--heat-map x: must end in .png"),
        ("keywords --diversity 2", "number in 0..1"),
        ("recommend", "recommend needs --wish TEXT, --liked ID, or both"),
    ],
)
def test_wrong_flags_are_one_line_and_exit_2(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(words.split())
    except SystemExit as stopped:
        code = int(str(stopped.code))
    error = capsys.readouterr().err
    assert code == 2 and said in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["search", "--query", " "], ["keywords", "--text", ""], ["recommend", "--wish", " "]]
)
def test_an_empty_text(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2 and f"{words[1]}: an empty text" in capsys.readouterr().err


def test_help_and_mistakes_do_without_torch() -> None:
    code = (
        "import sys; from sbert.applications.__main__ import main; from sbert.applications import flags\n"
        "assert main(['cluster', '--min-size', '3']) == 2\n"
        "flags.build_parser().format_help(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0


# ---------------------------------------------------------------- texts


def test_sets_by_name() -> None:
    pairs = read_texts("samples-sts-en")
    examples = data.load("samples-sts-en").examples
    assert pairs.texts == list(dict.fromkeys(text for e in examples for text in e.texts))
    assert pairs.name == "samples-sts-en-test" and set(pairs.files) == {"samples/sts/en-test.tsv"}
    pool = read_texts("samples-mrc-ko", limit=4)
    assert pool.labels[:3] == ["제주도"] * 3 and len(pool) == len(pool.ids) == 4


def test_own_files(tmp_path: Path) -> None:
    plain = read_texts(str(lines(tmp_path / "a.txt", " one ", "둘", "two")), rows=(2, 3))
    assert (plain.texts, plain.ids) == (["둘", "two"], ["2", "3"])
    column = read_texts(f"{lines(tmp_path / 'b.tab', 'x1	y1	z', 'x2	y2')}#2")
    assert column.texts == ["y1", "y2"] and list(column.files) == [str(tmp_path / "b.tab")]
    rows = ('{"text": "t", "id": 7, "title": "Book", "label": 3}', '{"text": "u"}')
    items = read_texts(str(lines(tmp_path / "c.jsonl", *rows)))
    assert (items.texts, items.ids, items.titles) == (["Book t", "u"], ["7", "2"], ["Book", ""])
    assert items.labels == ["3", ""]
    named = read_texts(str(lines(tmp_path / "d.tsv", "anchor\tpositive", "a\tb", "a\tc")))
    assert named.texts == ["a", "b", "c"] and named.pairs is None


def test_files_below_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    lines(tmp_path / "data" / "sub" / "x.txt", "found")
    assert read_texts("sub/x.txt", str(tmp_path / "data")).texts == ["found"]
    assert list(read_texts("sub/x.txt", str(tmp_path / "data")).files) == ["sub/x.txt"]
    monkeypatch.setenv("SBERT_DATA", str(tmp_path / "data"))
    assert read_texts("sub/x.txt#1").texts == ["found"]


def test_classes_of_a_transfer_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [data.Example(("who?",), 1), data.Example(("when?",), 0)]
    made = data.DataSet("senteval-trec", "test", "classification", "en", examples, {"f": "0"})
    asked: list[Any] = []
    monkeypatch.setattr(texts, "load_senteval", lambda *words: asked.append(words) or made)
    found = read_texts("trec-test", "folder")
    assert (found.texts, found.labels, asked) == (["who?", "when?"], ["1", "0"], [("trec", "test", "folder")])


@pytest.mark.parametrize(
    "name, rows, said",
    [
        ("a.txt", ("x", "", "y"), "a.txt:2: empty sentence"),
        ("a.txt", (), "a.txt: no texts"),
        ("a.txt#3", ("x\ty",), "a.txt:1: 2 column(s), the text was to be in column 3"),
        ("a.txt#0", ("x",), "'0' after # is not the number of a column"),
        ("b.jsonl", ('{"text": "x", "id": "a"}', '{"text": "y", "id": "a"}'), "b.jsonl:2: id 'a' stands"),
        ("b.jsonl", ('{"text": "x"}', '{"txt": "y"}'), "b.jsonl:2: text: sentence None is not a text"),
        ("b.jsonl", ('{"text": "x", "label": [1]}',), "b.jsonl:1: label: [1] is not a word or a number"),
        ("c.tsv", ("x\ty", "1\t2"), "no known task in the columns"),
        ("none.txt", None, "none.txt: cannot be read (No such file"),
        ("samples-stss", None, "did you mean samples-sts?"),
        ("squadd", None, "did you mean squad?"),
    ],
)
def test_texts_that_cannot_be_read(
    name: str, rows: tuple[str, ...] | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if rows is not None:
        lines(tmp_path / name.partition("#")[0], *rows)
    assert main(["keywords", "--data", name, "--model", "not-loaded"]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_rows_beyond_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines(tmp_path / "a.txt", "x", "y")
    assert main(["parallel", "--source", "a.txt", "--target", "a.txt", "--rows", "2-3"]) == 1
    assert "a.txt: has 2 texts, rows 2-3 were asked for" in capsys.readouterr().err


# ---------------------------------------------------------------- commands


def test_search(run: Run, tmp_path: Path) -> None:
    corpus = read_texts("samples-mrc-en")
    lines(tmp_path / "q.txt", corpus.texts[5], corpus.texts[9])
    shown = run("search", *EN, "--queries", "q.txt", "--top-k", 3, "--show", 1, "--output", "found.tsv")
    rows = table(tmp_path / "found.tsv")
    assert [row["rank"] for row in rows] == ["1", "2", "3"] * 2
    assert [rows[0]["id"], rows[3]["id"]] == [corpus.ids[5], corpus.ids[9]]  # a text is most like itself
    assert rows[0]["score"] == "1.000000" and "written to found.tsv" in shown
    assert shown.count(corpus.texts[5][:40]) == 2 and corpus.texts[9][:40] not in shown.split("\n")[0]


def test_the_similarity_is_the_models_unless_it_is_given(
    tmp_path: Path, tiny_model_dir: Path, run: Run
) -> None:
    from tiny_models import tiny_model

    tiny_model(tiny_model_dir, similarity="dot").save_pretrained(tmp_path / "dot")
    scores = {}
    for name, words in {"own": [], "cosine": ["--similarity", "cosine"]}.items():
        run("search", *EN, "--query", "bees", "--model", "dot", *words, "--output", "x.tsv")
        scores[name] = float(table(tmp_path / "x.tsv")[0]["score"])
    assert scores["own"] > 1 >= scores["cosine"]


def test_paraphrases_and_their_record(run: Run, tmp_path: Path) -> None:
    shown = run("paraphrases", "--data", "samples-sts-en", "--show", 2, "--output", "p.json")
    record = json.loads((tmp_path / "p.json").read_text(encoding="utf8"))
    metrics = record["rows"]["paraphrases"]
    dataset = data.load("samples-sts-en")
    gold = {frozenset(e.texts) for e in dataset.examples if float(e.label) >= 0.8}  # type: ignore[arg-type]
    assert metrics["known_paraphrases"] == len(gold) and metrics["recall"] == 1  # all pairs are kept
    found = [frozenset((row["text1"], row["text2"])) for row in record["found"]]
    precision = [(k + 1) / (i + 1) for k, i in enumerate(i for i, pair in enumerate(found) if pair in gold)]
    assert metrics["average_precision"] == pytest.approx(sum(precision) / len(gold))
    assert record["command_line"].startswith("python -m sbert.applications paraphrases --model")
    assert set(record["data"]) == {"samples/sts/en-test.tsv"} and record["environment"]["torch"]
    assert record["flags"]["top_k"] == 100 and record["precision"] == "fp32" and record["device"]
    assert shown.count("\n           ") == 2 and f"pairs {len(found):,}" in shown


def test_a_text_that_stands_there_twice_is_no_paraphrase(run: Run, tmp_path: Path) -> None:
    lines(tmp_path / "a.txt", "a cat", "a dog", "a cat", "a house")
    shown = run("paraphrases", "--data", "a.txt", "--output", "p.tsv", "--show", 0)
    assert "repeated texts left out: 1" in shown and not shown.startswith(" ")
    assert {(row["id1"], row["id2"]) for row in table(tmp_path / "p.tsv")} == {
        ("1", "2"),
        ("1", "4"),
        ("2", "4"),
    }
    highest = max(float(row["score"]) for row in table(tmp_path / "p.tsv"))
    run("paraphrases", "--data", "a.txt", "--min-score", highest - 1e-6, "--output", "q.tsv")
    assert len(table(tmp_path / "q.tsv")) == 1


def test_parallel_texts_are_found_again(run: Run, tmp_path: Path) -> None:
    """Both sides the same: every text is its own translation, wherever the shuffle put it."""
    some = read_texts("samples-sts-en", limit=30).texts
    lines(tmp_path / "s.txt", *some, "one row more")
    lines(tmp_path / "t.txt", *some, some[0])  # repeats a target: left out
    shown = run("parallel", "--source", "s.txt", "--target", "t.txt", "--aligned", "--output", "p.json")
    record = json.loads((tmp_path / "p.json").read_text(encoding="utf8"))
    assert record["rows"]["parallel"] | {"best_threshold": 0} == {
        **{"sources": 30, "targets": 30, "pairs": 30, "best_threshold": 0},
        **dict.fromkeys(("precision", "recall", "f1", "best_f1"), 1.0),
    }
    assert all(row["source"] == row["target"] for row in record["found"])
    assert [row["target_id"] for row in record["found"]] == [row["source_id"] for row in record["found"]]
    assert "an earlier row has one of their texts: 1" in shown
    assert run("parallel", "--source", "s.txt", "--target", "t.txt").count("f1") == 0


def test_the_targets_are_shuffled_by_the_seed() -> None:
    source, target = read_texts("samples-sts-en", limit=20), read_texts("samples-sts-ko", limit=20)
    _, one, gold, _ = commands._shuffled(source, target, 0)
    _, other, _, _ = commands._shuffled(source, target, 1)
    assert sorted(one.texts) == sorted(target.texts) and target.texts != one.texts != other.texts
    assert all(one.texts[j] == target.texts[i] and one.ids[j] == target.ids[i] for i, j in gold)
    assert len(gold) == 20


def test_aligned_files_of_two_lengths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines(tmp_path / "s.txt", "a", "b")
    lines(tmp_path / "t.txt", "c")
    assert main(["parallel", "--source", "s.txt", "--target", "t.txt", "--aligned"]) == 1
    assert "s.txt has 2 texts, t.txt 1; need as many" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, clusters",
    [
        (["--clusters", "4"], 4),
        (["--method", "agglomerative", "--clusters", "6"], 6),
        (["--method", "agglomerative", "--threshold", "100"], 1),
    ],
)
def test_clusters(words: list[str], clusters: int, run: Run, tmp_path: Path) -> None:
    shown = run("cluster", *EN, *words, "--show", 2, "--output", "c.tsv")
    rows = table(tmp_path / "c.tsv")
    sizes = [[row["cluster"] for row in rows].count(str(n + 1)) for n in range(clusters)]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) == len(rows) == 45 and min(sizes) > 0
    assert f"clusters {clusters}" in shown and "v_measure" in shown
    assert shown.count("cluster ") == min(2, clusters) and {row["label"] for row in rows} >= {
        "Tea",
        "Honey bee",
    }


def test_communities(run: Run, tmp_path: Path) -> None:
    lines(tmp_path / "a.txt", "a cat", "a dog", "a cat", "a cat")
    words = ["--data", "a.txt", "--method", "communities", "--threshold", "0.99999"]
    assert "cluster 1, 3 texts\n    a cat\n" in run("cluster", *words, "--min-size", 3)
    shown = run("cluster", *words, "--output", "c.tsv")  # ten, unless told
    assert "clusters 0, texts_in_communities 0" in shown and (tmp_path / "c.tsv").read_text() == ""


def test_more_clusters_than_texts(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_model_dir: Path
) -> None:
    lines(tmp_path / "a.txt", "a cat", "a dog")
    assert "clusters 2" in run("cluster", "--data", "a.txt")  # fewer texts than the ten unless told
    words = ["cluster", "--data", "a.txt", "--clusters", "3", "--model", str(tiny_model_dir)]
    assert main(words) == 1 and "3 clusters of 2 texts: allowed are 1 to 2" in capsys.readouterr().err


def test_the_texts_of_a_cluster_are_shown_from_its_middle() -> None:
    import numpy as np

    vectors = np.array(
        [[0.6, 0.8], [1.0, 0], [0.8, 0.6], [0, -1]]
    )  # the mean of the first three lies at (.8, .47)
    assert groups._members(vectors, np.array([1, 1, 1, 0])) == [[2, 0, 1], [3]]


def test_map(run: Run, tmp_path: Path) -> None:
    shown = run("map", *EN, "--projector", "p", "--output", "m.tsv", "--limit", 9)
    rows = table(tmp_path / "m.tsv")
    assert len(rows) == 9 and [row["id"] for row in rows] == read_texts("samples-mrc-en").ids[:9]
    assert abs(sum(float(row["x"]) for row in rows)) < 1e-4 and "variance_shown 0." in shown
    assert len((tmp_path / "p" / "tensors.tsv").read_text().splitlines()) == 9
    assert (tmp_path / "p" / "metadata.tsv").read_text(encoding="utf8").splitlines()[0] == "text\tlabel"


def test_map_without_matplotlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["map", "--png", "x.png", "--model", "not-loaded"]) == 1
    assert capsys.readouterr().err.strip().endswith("pip install matplotlib")


def test_map_draws(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    run("map", *EN, "--limit", 12, "--png", "m.png", "--heat-map", "new/h.png")
    for name in ("m.png", "new/h.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(groups, "MOST_IN_HEAT_MAP", 11)
    assert main(["map", *EN, "--heat-map", "h.png", "--limit", "12", "--model", "not-loaded"]) == 1


def test_keywords(run: Run, tmp_path: Path) -> None:
    shown = run("keywords", "--text", "Honey bees dance.", "of the", "--top-k", 2, "--output", "k.tsv")
    rows = table(tmp_path / "k.tsv")
    assert len(rows) == 2 and {row["id"] for row in rows} == {"1"}
    assert {row["keyword"] for row in rows} < {"Honey", "bees", "dance", "Honey bees", "bees dance"}
    assert float(rows[0]["score"]) >= float(rows[1]["score"]) and "(no phrase)" in shown
    longest = run("keywords", "--text", "Honey bees dance.", "--top-k", 9, "--longest", 3)
    assert "Honey bees dance" in longest.split("\n")[1]


def test_recommendation(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_model_dir: Path
) -> None:
    items = read_texts("samples-mrc-en")
    run("recommend", *EN, "--wish", items.texts[7], "--top-k", 2, "--output", "r.tsv")
    assert table(tmp_path / "r.tsv")[0]["id"] == items.ids[7]
    shown = run(
        "recommend", *EN, "--liked", "Tea", items.ids[0], "--top-k", 99, "--show", 1, "--output", "r.tsv"
    )
    found = {row["id"] for row in table(tmp_path / "r.tsv")}
    liked = {i for i, title in zip(items.ids, items.titles, strict=True) if title == "Tea"} | {items.ids[0]}
    assert found == set(items.ids) - liked and len(liked) == 4 and shown.count("\n") == 3
    words = ["recommend", *EN, "--liked", "Teaa", "--model", str(tiny_model_dir)]
    assert main(words) == 1 and "no item of that id or title; did you mean Tea?" in capsys.readouterr().err


def test_an_output_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_model_dir: Path
) -> None:
    lines(tmp_path / "file", "x")
    words = ["keywords", "--text", "bees", "--model", str(tiny_model_dir), "--output", "file/x.tsv"]
    assert main(words) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "file/x.tsv: cannot be written" in error


def test_every_command_has_its_flags_and_its_function() -> None:
    (action,) = [a for a in flags.build_parser()._actions if a.dest == "command"]
    assert set(action.choices) == set(commands.COMMANDS)  # type: ignore[arg-type]
