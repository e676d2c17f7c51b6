"""BM25 and its analyzers: by hand, against the formula in plain Python, and published values on real data."""

import logging
import math
import os
import subprocess
import sys
import types
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_models import tiny_tokenizer

from data.retrieval import load_retrieval
from sbert.errors import RunError
from sbert.evaluation.retrieval import relevant_positions, retrieval_metrics
from sbert.retrieval.sparse import ANALYZERS, BM25, bigrams, make_analyzer, words

ROOT = Path(__file__).resolve().parent.parent
REAL = os.environ.get("SBERT_DATA")


def formula(texts: list[list[str]], query: list[str], k1: float = 0.9, b: float = 0.4) -> list[float]:
    """Lucene's BM25, term by term."""
    mean = sum(map(len, texts)) / len(texts)
    scores = []
    for text in texts:
        counts, score = Counter(text), 0.0
        for term in query:
            df = sum(term in other for other in texts)
            idf = math.log(1 + (len(texts) - df + 0.5) / (df + 0.5))
            tf = counts[term]
            score += idf * tf / (tf + k1 * (1 - b + b * len(text) / mean)) if tf else 0.0
        scores.append(score)
    return scores


# ---------------------------------------------------------------- analyzers


def test_words_by_hand() -> None:
    assert words("The U.S. cost: $3,000 (in 1999)—über_all") == [
        *("the", "u", "s", "cost", "3", "000", "in", "1999", "über_all")
    ]
    assert words("고양이가 앉았다.") == ["고양이가", "앉았다"]
    assert words(" ?! ") == []


def test_bigrams_stay_inside_words() -> None:
    assert bigrams("ABC d 고양이 ef") == ["ab", "bc", "d", "고양", "양이", "ef"]
    assert bigrams("") == []


def test_decomposed_text_is_the_same_text() -> None:
    text = "고양이 café"
    apart = unicodedata.normalize("NFD", text)
    assert apart != text
    for name in ("words", "bigrams"):
        analyze = make_analyzer(name)
        assert analyze([apart]) == analyze([text])


def test_the_models_own_pieces() -> None:
    """Whole texts, whatever limit the tokenizer file has baked in; no special tokens; no unknown ones."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=6)
    analyze = make_analyzer("model", tokenizer)
    assert analyze(["a man ☃ a man a man", "", "☃"]) == [["a", "man"] * 3, [], []]
    assert analyze([]) == []
    assert analyze(["man " * 100]) == [["man"] * 100]  # the model takes 64
    split = analyze(["manzz"])[0]
    assert len(split) > 1 and "".join(piece.removeprefix("##") for piece in split) == "manzz"
    found = BM25(["a man", "☃", "two ☃"], analyze).search(["☃", "man"], 3)
    assert found.ids == [[], [0]]


def test_kiwi_keeps_what_carries_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the library: nouns, stems, adverbs, roots, foreign words, numbers; no particles, endings."""
    tags = {
        "A": "NNG",
        "은": "JX",
        "가": "VV",
        "다": "EF",
        "매우": "MAG",
        ".": "SF",
        "B": "SL",
        "7": "SN",
        "깨끗": "XR",
    }
    tags |= {"하": "XSA", "韓": "SH"}

    class Kiwi:
        def tokenize(self, texts: list[str]) -> list[list[types.SimpleNamespace]]:
            return [[types.SimpleNamespace(form=form, tag=tags[form]) for form in t.split()] for t in texts]

    module = types.ModuleType("kiwipiepy")
    module.Kiwi = Kiwi  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kiwipiepy", module)
    found = make_analyzer("kiwi")([" ".join(tags), ""])
    assert found == [["a/N", "가/V", "매우/M", "b/S", "7/S", "깨끗/X", "韓/S"], []]
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    with pytest.raises(RunError, match="pip install kiwipiepy"):
        make_analyzer("kiwi")


def test_analyzers_are_named() -> None:
    with pytest.raises(ValueError, match=f"'letters': allowed are {', '.join(ANALYZERS)}"):
        make_analyzer("letters")
    with pytest.raises(ValueError, match="needs the model's tokenizer"):
        BM25(["a"], "model")


# ---------------------------------------------------------------- BM25


def test_scores_by_hand() -> None:
    """Two passages of 1 and 3 words, mean 2; "b" in one of them: idf = ln(1 + 1.5 / 1.5) = ln 2."""
    bm25 = BM25(["a", "b b c"], "words", k1=1.0, b=0.5)
    assert bm25.scores("b") == pytest.approx([0, math.log(2) * 2 / (2 + 1.0 * (0.5 + 0.5 * 3 / 2))])
    assert bm25.scores("a")[0] == pytest.approx(math.log(2) / (1 + 0.5 + 0.5 * 1 / 2))


@pytest.mark.parametrize("k1, b", [(0.9, 0.4), (1.5, 0.75), (0.0, 0.0), (2.0, 1.0)])
def test_the_formula(k1: float, b: float) -> None:
    rng = np.random.default_rng(3)
    texts = [[f"w{i}" for i in rng.integers(0, 30, n)] for n in (1, 5, 12, 0, 40, 7, 7)]
    bm25 = BM25([" ".join(text) for text in texts], "words", k1, b)
    for n in (1, 2, 6):
        query = [f"w{i}" for i in rng.integers(0, 33, n)]
        assert bm25.scores(" ".join(query)) == pytest.approx(formula(texts, query, k1, b), rel=1e-5)


def test_the_defaults() -> None:
    texts = [["a", "b"], ["a", "a", "a", "c", "d"], ["b"]]
    assert BM25([" ".join(t) for t in texts]).scores("a d") == pytest.approx(
        formula(texts, ["a", "d"]), rel=1e-5
    )


def test_a_word_asked_twice_counts_twice() -> None:
    bm25 = BM25(["a b", "c"])
    assert bm25.scores("a a") == pytest.approx(2 * bm25.scores("a"))


def test_search_orders_by_score() -> None:
    texts = ["x y z", "x", "x x x", "q", "x y"]
    bm25 = BM25(texts)
    found = bm25.search(["x", "y q"], 3)
    for ids, scores, query in zip(found.ids, found.scores, ["x", "y q"], strict=True):
        whole = bm25.scores(query)
        assert ids == np.argsort(-whole, kind="stable")[:3].tolist()
        assert scores.tolist() == whole[ids].tolist()
    assert found.scores[0].dtype == np.float32


@pytest.mark.parametrize("k", [1, 2, 7, 29, 30, 100])
def test_equal_scores_put_the_earlier_passage_first(k: int) -> None:
    """One passage is better than 29 equal ones, of which the list may hold a part."""
    texts = ["a b"] * 30
    texts[20] = "a a"
    found = BM25([*texts, "c"]).search(["a"], k)
    assert found.ids == [[20, *range(20), *range(21, 30)][:k]]


def test_what_shares_no_word_is_not_found() -> None:
    bm25 = BM25(["a b", "c", "", "a"])
    found = bm25.search(["zz", "", "?", "c", "a zz"], 10)
    assert found.ids == [[], [], [], [1], [3, 0]]
    assert [len(scores) for scores in found.scores] == [0, 0, 0, 1, 2]
    assert bm25.scores("zz").tolist() == [0, 0, 0, 0]
    assert bm25.search([], 5).ids == []


def test_the_rest_can_follow_in_order() -> None:
    bm25 = BM25(["a b", "c", "", "a"])
    found = bm25.search(["zz", "a", "c"], 3, only_matching=False)
    assert found.ids == [[0, 1, 2], [3, 0, 1], [1, 0, 2]]
    assert found.scores[0].tolist() == [0, 0, 0] and found.scores[1][2] == 0 < found.scores[1][1]
    assert bm25.search(["a"], 9, only_matching=False).ids == [[3, 0, 1, 2]]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("texts", [[], [""], ["", "?"]])
def test_a_corpus_without_words(texts: list[str]) -> None:
    bm25 = BM25(texts)
    assert bm25.search(["a", ""], 3).ids == [[], []]
    assert bm25.search(["a"], 3, only_matching=False).ids == [list(range(len(texts)))]


def test_turned_passages_turn_the_result() -> None:
    rng = np.random.default_rng(5)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 40, 9)) for _ in range(25)]
    order = rng.permutation(25)
    query = "w1 w2 w3 w4 w5"
    whole = BM25(texts).scores(query)
    assert BM25([texts[i] for i in order]).scores(query) == pytest.approx(whole[order])


@pytest.mark.parametrize("k1, b", [(-0.1, 0.4), (0.9, -0.1), (0.9, 1.1)])
def test_refused_parameters(k1: float, b: float) -> None:
    with pytest.raises(ValueError, match="allowed are k1 >= 0 and 0 <= b <= 1"):
        BM25(["a"], "words", k1, b)


def test_k_must_be_positive() -> None:
    with pytest.raises(ValueError, match="k is 0"):
        BM25(["a"]).search(["a"], 0)


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """bm25s sets its own logger to DEBUG, which would reach the log of whoever uses this."""
    logging.getLogger("bm25s").setLevel(logging.DEBUG)
    BM25(["a"]).search(["a", ""], 1)
    assert not caplog.records


def test_bm25s_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(RunError, match="pip install bm25s"):
        BM25(["a"])


def test_searching_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from sbert.retrieval import BM25, exact_search, load_index\n"
        "assert BM25(['a b', 'c']).search(['b'], 1).ids == [[0]]\n"
        "assert exact_search(np.eye(2), np.eye(2), 1).ids == [[0], [1]]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_names_are_loaded_on_first_use() -> None:
    import sbert.retrieval

    for name in sbert.retrieval.__all__:
        assert getattr(sbert.retrieval, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sbert.retrieval.nothing  # noqa: B018


# ---------------------------------------------------------------- real data


@pytest.mark.oracle
@pytest.mark.skipif(not REAL, reason="SBERT_DATA is not set: no real data to search")
@pytest.mark.parametrize(
    "file, analyzer, counts, expected",
    [
        ("squad/dev-v1.1.json", "words", (2067, 10570), (0.7546, 0.9382, 0.8216)),
        ("korquad/KorQuAD_v1.0_dev.json", "bigrams", (961, 5774), (0.8973, 0.9926, 0.9357)),
        ("korquad/KorQuAD_v1.0_dev.json", "words", (961, 5774), (0.7648, 0.9120, 0.8183)),
    ],
)
def test_published_values(file: str, analyzer: str, counts: tuple, expected: tuple) -> None:
    """R@1, R@10 and MRR@10. Passages without a shared word follow in the order of the file, as they do for whoever
    sorts all scores: two of the Korean questions owe their R@10 to that."""
    assert REAL
    real = load_retrieval(str(Path(REAL) / file))
    assert (len(real.passages), len(real.questions)) == counts
    bm25 = BM25([passage.text for passage in real.passages], analyzer)
    found = bm25.search([question.text for question in real.questions], 10, only_matching=False)
    relevant = relevant_positions(
        [q.id for q in real.questions], [p.id for p in real.passages], real.relevant
    )
    metrics = retrieval_metrics(found.ids, relevant, ks=(1, 10))
    assert [metrics[name] for name in ("recall@1", "recall@10", "mrr@10")] == pytest.approx(
        expected, abs=1e-4
    )
