"""python -m experiments.retrieve: flags, tables, files, a person's own text."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_models import tiny_cross, tiny_model

import data
from experiments import retrieve, retrieve_report, retrieve_session
from sbert.evaluation.retrieval import relevant_positions, retrieval_metrics
from sbert.retrieval.sparse import BM25
from sbert.retrieval.trec import read_run, to_ranking
from sbert.towers import TwoTowers

ROOT = Path(__file__).resolve().parents[1]
EN = ("--data", "samples-mrc-en")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Path:
    """A folder with a bi-encoder, another one, two towers and a cross-encoder."""
    folder = tmp_path_factory.mktemp("retrieve")
    bi = tiny_model(tiny_model_dir, max_length=48)
    bi.facts = {"source": "tiny", "trained_on": ["samples-mrc-en-test", "mine"]}
    bi.save_pretrained(folder / "bi")
    tiny_model(tiny_model_dir, "cls", max_length=48).save_pretrained(folder / "other")
    TwoTowers(tiny_model(tiny_model_dir), tiny_model(tiny_model_dir)).save_pretrained(folder / "towers")
    tiny_cross(tiny_model_dir).save_pretrained(folder / "cross")
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def run(*words: Any) -> int:
    return retrieve.main([str(word) for word in words])


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf8"))


@pytest.mark.parametrize(
    "words, message",
    [
        ("--retreiver bm25", "unknown flag --retreiver; did you mean --retriever?"),
        ("--retriever bm25 dens", "--retriever 'dens': allowed are bm25, dense, hybrid, rrf, or a file"),
        ("--retriever bm25 dens", "did you mean dense?"),
        ("--retriever bm25 a/bm25.run", "two rows of the same name"),
        ("--data korqaud", "unknown data set 'korqaud', did you mean korquad?"),
        ("--data scifact-dev", "scifact has no split 'dev'"),
        ("--data korquad-dev --split test", "names the split 'dev', but 'test' was asked for"),
        ("--split half", "--split 'half': allowed are train, dev, test, all"),
        ("--search hsnw", "--search 'hsnw': allowed are exact, flat, hnsw, ivfpq; did you mean hnsw?"),
        ("--analyzer word", "did you mean words?"),
        ("--weight 1.5", "--weight '1.5': allowed are auto and 0 to 1"),
        ("--rerank x --blend nan", "--blend 'nan': allowed are auto and 0 to 1"),
        ("--k 0", "--k 0: must be at least 1"),
        ("--device gpu", "--device gpu: allowed are auto, cpu, cuda, cuda:N"),
        ("--record Big", "--record 'Big': lower-case"),
        ("--retriever bm25 --index x", "--index is for --retriever dense or hybrid or rrf"),
        ("--retriever dense --weight 0.5", "--weight is for --retriever hybrid"),
        ("--retriever dense --analyzer words", "--analyzer is for --retriever bm25, hybrid or rrf"),
        ("--depth 5", "--depth is for --rerank"),
        ("--blend auto", "--blend is for --rerank"),
        ("--long truncate --stride 5", "--stride is of windows"),
        ("--corpus x.jsonl", "--corpus x.jsonl is searched with --query"),
        ("--corpus x.jsonl --query a --data squad", "is not searched with --data or --split"),
        ("--query a --sample 5", "--sample is for the questions of a set"),
        ("--query a --retriever x.run", "--query needs retrievers"),
        ("--query  ", "--query: an empty question"),
        ("--show 3", "--show is for --query"),
    ],
)
def test_flags_are_checked_first(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*(words.split(" ") if words.endswith(" ") else words.split())) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_help_and_mistakes_do_without_torch() -> None:
    code = (
        "import sys; from experiments import retrieve\n"
        "assert retrieve.main(['--data', 'nothing']) == 2\n"
        "retrieve.build_parser().format_help(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0
    with pytest.raises(SystemExit) as stopped:
        run("--k", "many")
    assert stopped.value.code == 2


def test_bm25_and_its_run_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*EN, "--retriever", "bm25", "--k", 20, "--output", "one") == 0
    shown = capsys.readouterr().out
    dataset = data.load_retrieval("samples-mrc-en")
    relevant = relevant_positions(
        [q.id for q in dataset.questions], [p.id for p in dataset.passages], dataset.relevant
    )
    plain = BM25(dataset.texts, "words").search([q.text for q in dataset.questions], 20)
    expected = retrieval_metrics(plain.ids, relevant)
    kept = results(tmp_path / "one")
    assert set(expected) - set(kept["rows"]["bm25"]) == {
        "recall@100",
        "accuracy@100",
        "map@100",
    }  # of 20 passages
    expected = {name: value for name, value in expected.items() if not name.endswith("@100")}
    assert {name: kept["rows"]["bm25"][name] for name in expected} == pytest.approx(expected)
    assert (
        f"{100 * expected['mrr@10']:.2f}" in shown
        and "samples-mrc-en-test: 36 questions, 45 passages" in shown
    )
    assert "R@20" in shown and "R@100" not in shown  # the lists are too short to tell
    assert kept["analyzer"] == "words" and kept["data"] == dataset.files
    assert set(kept["rows"]["bm25"]["ms"]) == {"question", "search"}
    ranking = to_ranking(
        read_run("one/bm25.run"), [q.id for q in dataset.questions], [p.id for p in dataset.passages]
    )
    assert ranking.ids == plain.ids
    (tmp_path / "other.run").write_bytes((tmp_path / "one/bm25.run").read_bytes())
    assert run(*EN, "--retriever", "other.run", "bm25", "--k", 20, "--output", "two") == 0
    rows = results(tmp_path / "two")["rows"]
    assert rows["other"] == {**rows["bm25"], "ms": {}}
    assert "other.run" in results(tmp_path / "two")["data"]
    table = (tmp_path / "two/table.md").read_text(encoding="utf8")
    assert "| other |" in table and "python -m experiments.retrieve --data samples-mrc-en" in table


def test_every_stage(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(retrieve_report, "RESULTS", tmp_path / "kept")
    stages = ("--retriever", "bm25", "dense", "hybrid", "rrf", "--rerank", models / "cross", "--depth", 3)
    files = ("--output", tmp_path / "all", "--record", "tiny", "--threads", 1)
    assert run(*EN, "--sample", 10, *stages, "--blend", "auto", "--model", models / "bi", *files) == 0
    shown, kept = capsys.readouterr().out, results(tmp_path / "all")
    names = [
        f"{one}{more}" for one in ("bm25", "dense", "hybrid", "rrf") for more in ("", " + rerank", " + blend")
    ]
    assert list(kept["rows"]) == names
    assert {path.name for path in (tmp_path / "all").iterdir()} == {
        "results.json",
        "table.md",
        *(f"{name.replace(' ', '')}.run" for name in names),
    }
    for name in names:
        ms = kept["rows"][name]["ms"]
        assert ("rerank" in ms) == ("+" in name) and ("fusion" in ms) == name.startswith(("hybrid", "rrf"))
    weight = kept["weights"]["hybrid"]
    assert weight["dev_mrr@10"][str(weight["weight"])] == max(weight["dev_mrr@10"].values())
    assert set(kept["weights"]) == {"hybrid", *(f"{x} + blend" for x in ("bm25", "dense", "hybrid", "rrf"))}
    for note in (
        "of dense in hybrid: ",
        "chosen on 18 questions of samples-mrc-en-dev",
        " questions truncated",
        "re-ranked: the first 3 passages",
        "samples-mrc-en-test was trained on",
    ):
        assert note in shown and any(note in kept_note for kept_note in kept["notes"]), note
    assert "10 questions (a sample, seed 0, of --sample 10)" in shown
    text = (tmp_path / "kept/retrieval/tiny.json").read_text(encoding="utf8")
    record = json.loads(text)
    assert str(models) not in text and str(tmp_path) not in text and "--output" not in record["argv"]
    assert record["command"].startswith("python -m experiments.retrieve --data samples-mrc-en --sample 10")
    assert record["rows"] == kept["rows"] and record["environment"] == kept["environment"]
    assert record["flags"]["model"] == "bi" and record["rerank"]["source"] and record["device"] == "cpu"
    retrieve.parse(record["argv"])  # it can be typed again


def test_reranked_rows_are_those_questions(tmp_path: Path, models: Path) -> None:
    """A re-ranking reorders the first passages of the row above it and leaves the rest."""
    words = (*EN, "--retriever", "bm25", "--rerank", models / "cross", "--depth", 4, "--k", 9)
    assert run(*words, "--sample", 7, "--output", "x") == 0
    assert run(*words, "--sample", 7, "--output", "y", "--blend", 0) == 0
    first, second, same = (read_run(path) for path in ("x/bm25.run", "x/bm25+rerank.run", "y/bm25+blend.run"))
    assert list(first) == list(second) and len(first) == 7
    for question, row in first.items():
        ids, new, kept = ([p for p, _ in found[question]] for found in (first, second, same))
        assert sorted(ids[:4]) == sorted(new[:4]) and ids[4:] == new[4:] and len(row) <= 9
        assert kept[0] == ids[0]  # weight 0 of the re-ranker
    assert any([p for p, _ in first[q]] != [p for p, _ in second[q]] for q in first)


def test_index_is_used_again_and_refused(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def words(model: str, *more: Any, name: str = "samples-mrc-en") -> int:
        options = ("--retriever", "dense", "--index", tmp_path / "index", "--output", tmp_path / "out")
        return run("--data", name, "--model", models / model, *options, *more)

    for model in ("bi", "towers"):
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)
        assert words(model) == 0
        before = results(tmp_path / "out")
        monkeypatch.setattr(retrieve_session, "encode_pool", lambda *_, **__: pytest.fail("encoded again"))
        assert words(model) == 0
        rows = results(tmp_path / "out")["rows"]["dense"]
        assert {**rows, "ms": 0} == {**before["rows"]["dense"], "ms": 0}
        assert results(tmp_path / "out")["windows"] == before["windows"] > 45
        assert words(model, "--stride", 9) == 1
        assert "encoded with" in capsys.readouterr().err
        assert words("other") == 1
        assert "made with another model" in capsys.readouterr().err
        assert words(model, name="samples-mrc") == 1
        assert "an index of other passages than these 93" in capsys.readouterr().err
        for path in (tmp_path / "index").iterdir():
            path.unlink()


@pytest.mark.parametrize("search", ["flat", "hnsw"])
def test_approximate_search(
    tmp_path: Path, models: Path, search: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    words = (
        *EN,
        "--retriever",
        "dense",
        "--model",
        models / "bi",
        "--k",
        10,
        "--index",
        "index",
        "--output",
        "out",
    )
    for _ in range(2):  # made, then read
        assert run(*words, "--search", search) == 0
        facts = results(tmp_path / "out")["approximate"]
        assert facts["kind"] == search and facts["recall@10"] > 0.95
        assert f"--search {search} against exact search, 36 questions: recall@10" in capsys.readouterr().out
    assert (tmp_path / f"index/faiss-{search}-cosine.index").exists()


def test_slices_similarity_and_length(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        *EN,
        "--retriever",
        "dense",
        "--model",
        models / "bi",
        "--truncate-dim",
        8,
        "--similarity",
        "dot",
    )
    assert run(*words, "--max-length", 40, "--long", "truncate", "--output", "out") == 0
    assert "dot, 8 dimensions, cut-off passages of at most 40 tokens" in capsys.readouterr().out
    assert results(tmp_path / "out")["windows"] == 45
    monkeypatch.setattr("experiments.retrieve_session.encode_pool", None)  # known before anything is encoded
    assert run(*words[:-4], "--truncate-dim", 99) == 1
    assert "--truncate-dim 99: the embeddings have 32 dimensions" in capsys.readouterr().err


def test_own_text(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"text": "Kelp forests shelter otters.", "title": "Kelp"},
        {"text": "Otters eat urchins.", "id": "ot"},
        {"text": "경복궁은 1395년에 지은 궁궐이다."},
    ]
    Path("my.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf8")
    words = ("--corpus", "my.jsonl", "--query", "what do otters eat?", "언제 지은 궁궐인가?")
    assert run(*words, "--retriever", "bm25", "--show", 1) == 0
    shown = capsys.readouterr().out
    first, second = shown.split("언제 지은")
    assert "what do otters eat?\n\n  bm25\n    1" in first and "  ot\n       Otters eat urchins." in first
    assert "Kelp" not in shown and "경복궁은 1395년에" in second and "bm25 over bigrams" in second
    stages = ("--retriever", "bm25", "hybrid", "--model", models / "bi", "--rerank", models / "cross")
    assert run(*words, *stages) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name}\n" in shown for name in ("bm25", "bm25 + rerank", "hybrid", "hybrid + rerank"))
    assert "  1  Kelp\n" in shown and "weight of hybrid 0.5: --query has no known answers" in shown
    korean = data.load_retrieval("samples-mrc-ko")
    first = korean.passages[0]
    assert run("--data", "samples-mrc-ko", "--query", first.text[:30], "--retriever", "bm25") == 0
    found = capsys.readouterr().out.splitlines()[3].split()
    assert found[0] == "1" and found[2] == first.id
    assert run(*words[:2], "--query", "zzz", "--retriever", "bm25") == 0
    assert "nothing found" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"title": "x"}\n', "my.jsonl:1: no field text"),
        ('{"text": "a"}\n{"text": " "}\n', "my.jsonl:2: text: empty sentence"),
        ('{"text": "a", "id": "2"}\n{"text": "b"}\n', "my.jsonl:2: id '2' stands in an earlier line"),
        ('{"text": "a", "id": "a b"}\n', "my.jsonl:1: id: id 'a b' is not a word without blanks"),
        ("", "my.jsonl: no passages"),
        ("[]\n", "my.jsonl:1: [] is not a JSON object"),
    ],
)
def test_own_text_that_is_malformed(content: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.jsonl").write_text(content, encoding="utf8")
    assert run("--corpus", "my.jsonl", "--query", "a", "--retriever", "bm25") == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_failures_while_running(tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (("--retriever", "no.run"), "no.run: cannot be read"),
        (("--retriever", "bm25", "--rerank", models / "bi"), "bi: not a trained cross-encoder"),
        (("--retriever", "dense", "--model", models / "none"), "none"),
        (
            ("--retriever", "dense", "--model", models / "bi", "--stride", 99),
            "--stride 99: allowed are 1 to 46",
        ),
    ):
        assert run(*EN, *words) == 1
        error = capsys.readouterr().err
        assert message in error and error.strip().splitlines()[-1].startswith("retrieve: error: ")
    Path("x.run").write_text("nobody Q0 p 1 1.0 x\n")
    assert run(*EN, "--retriever", "x.run") == 1
    assert "none of the 36 questions of samples-mrc-en-test" in capsys.readouterr().err


def test_where_there_is_no_dev_split(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An own folder of BEIR layout without qrels/dev.tsv; then with it; then dev itself."""
    (tmp_path / "sea/qrels").mkdir(parents=True)
    texts = ("kelp grows in the sea", "otters eat urchins", "a man is playing")
    rows = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(texts)]
    Path("sea/corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("sea/queries.jsonl").write_text(
        '{"_id": "q1", "text": "who eats urchins"}\n{"_id": "q2", "text": "what grows"}\n'
    )
    header = "query-id\tcorpus-id\tscore\n"
    Path("sea/qrels/test.tsv").write_text(header + "q1\td1\t1\n")
    words = ("--data", "sea", "--retriever", "hybrid", "--model", models / "bi")
    assert run(*words) == 0
    assert "weight of hybrid 0.5: sea has no dev split to choose it on" in capsys.readouterr().out
    Path("sea/qrels/dev.tsv").write_text(header + "q2\td0\t1\n")
    assert run(*words) == 0
    assert "chosen on 1 questions of sea-dev" in capsys.readouterr().out
    assert run(*words, "--split", "dev") == 0
    assert "sea-dev is itself scored, so nothing is chosen on it" in capsys.readouterr().out
    assert run(*words, "--weight", 0.5) == 0
    assert "weight" not in capsys.readouterr().out


def test_what_is_wrong_is_told_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.retrieve_session.Session.search", lambda *_: pytest.fail("it searched"))
    assert run(*EN, "--retriever", "bm25", "nowhere.run") == 1
    assert "nowhere.run" in capsys.readouterr().err
    (tmp_path / "file").write_text("x", encoding="utf8")
    assert run(*EN, "--retriever", "bm25", "--output", "file") == 1
    assert "--output file: cannot be made a folder" in capsys.readouterr().err


def test_a_run_file_of_a_sample_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*EN, "--retriever", "bm25", "--sample", 3, "--output", "some") == 0
    capsys.readouterr()
    assert run(*EN, "--retriever", "some/bm25.run") == 0
    assert (
        "some/bm25.run: no passage for 33 of the 36 questions, counted as missed" in capsys.readouterr().out
    )
