"""A new vocabulary: rows by hand, English untouched, Hangul whole, saved and loaded by everybody alike, the command."""

from __future__ import annotations

import gzip
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import row, write
from scipy.sparse import csr_matrix
from tiny_models import WIDTH, tiny_config
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordPiece
from transformers import AutoTokenizer, BertModel, BertTokenizer

import data
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.new_vocabulary import backend_of, composing, learn, merged, renew, with_vocabulary
from sbert.vocabulary import INITS, main, texts_of
from sbert.vocabulary_rows import INITS as ROW_INITS
from sbert.vocabulary_rows import new_rows, pieces_of

ENGLISH = ["a cafe.", "A Café, the cat!", "unknown zebra"]
KOREAN = ["고양이가 앉았다.", "고양이는 잔다.", "갊갊 café 고양이"]
JAMO = [unicodedata.normalize("NFD", "고양이가")[i] for i in range(3)]


def uncased(folder: Path) -> Path:
    """A tiny BERT with the tokenizer of all-MiniLM-L6-v2 in small: accents off, so Hangul apart; few letters known."""
    tokens = [
        "[PAD]",
        "[unused0]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "a",
        "cat",
        "cafe",
        "the",
        ".",
        "!",
        "sat",
    ]
    tokens += [mark + letter for letter in sorted(set(JAMO)) for mark in ("", "##")]
    tokenizer = BertTokenizer(vocab={t: i for i, t in enumerate(tokens)}, model_max_length=64)
    torch.manual_seed(0)
    BertModel(tiny_config("bert", tokenizer), add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uncased(tmp_path_factory.mktemp("uncased") / "model")


@pytest.fixture(scope="module")
def renewed(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with Korean words, saved by our own saving."""
    model = modelWithPooling.from_pretrained(start)
    texts = [*KOREAN[:2], "가 앉 았 는 잔 다"]  # so that every letter stands there twice
    learned = learn(texts, backend_of(model, "tiny"), 40, 2)
    tokens = merged(model.tokenizer.get_vocab(), learned, model.tokenizer.all_special_tokens, "extend")
    renew(model, tokens, "pieces")
    folder = tmp_path_factory.mktemp("renewed") / "model"
    model.save_pretrained(folder)
    return folder


# ---------------------------------------------------------------- rows


def test_pieces_by_hand() -> None:
    known = {"ab": 0, "a": 1, "##b": 2, "##bc": 3, "b": 4}
    assert pieces_of("abbc", known, inside=False) == [0, 3]
    assert pieces_of("bb", known, inside=True) == [2, 2]
    assert pieces_of("azb", known, inside=False) == [1, 2]  # z is left out
    assert pieces_of("zz", known, inside=False) == [] == pieces_of("", known, inside=True)


TABLE = np.array([[0.0, 2.0], [4.0, 2.0], [2.0, 5.0]], dtype=np.float32)
PIECES = [[0, 1], [0, 1], [], [2]]


def test_rows_by_hand() -> None:
    """The mean of the pieces, give or take a tenth of the spread, which is (1.63, 1.41)."""
    made = new_rows(TABLE, PIECES, None, "pieces", seed=0)
    assert made.made == {"pieces": 3, "random": 1}
    assert made.rows[0] == pytest.approx([2, 2], abs=0.7) and made.rows[3] == pytest.approx([2, 5], abs=0.7)
    assert not np.array_equal(made.rows[0], made.rows[1])
    translations = csr_matrix([[0.25, 0.75, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1.0]])
    both = new_rows(TABLE, PIECES, translations, "translations", seed=0)
    assert both.made == {"pieces": 1, "translations": 2, "random": 1}
    assert both.rows[0] - made.rows[0] == pytest.approx([1, 0], abs=1e-6)  # (3, 2), the same noise
    assert np.array_equal(both.rows[1:], made.rows[1:])


def test_random_rows_are_spread_as_the_known_ones() -> None:
    made = new_rows(TABLE, [[0]] * 4000, None, "random", seed=3)
    assert made.made == {"random": 4000}
    assert made.rows.mean(0) == pytest.approx(TABLE.mean(0), abs=0.1)
    assert made.rows.std(0) == pytest.approx(TABLE.std(0), abs=0.1)
    assert np.array_equal(made.rows, new_rows(TABLE, [[0]] * 4000, None, "random", seed=3).rows)
    assert not np.array_equal(made.rows, new_rows(TABLE, [[0]] * 4000, None, "random", seed=4).rows)
    with pytest.raises(ValueError, match="allowed are pieces, translations, random"):
        new_rows(TABLE, PIECES, None, "zero", 0)
    with pytest.raises(ValueError, match="needs the translations"):
        new_rows(TABLE, PIECES, None, "translations", 0)


def test_the_command_offers_what_there_is() -> None:
    assert INITS == ROW_INITS


# ---------------------------------------------------------------- tokens


def test_merged_keeps_ids() -> None:
    known = {"[PAD]": 0, "[CLS]": 1, "a": 2}
    assert merged(known, ["a", "가", "b"], ["[PAD]", "[CLS]"], "extend") == ["[PAD]", "[CLS]", "a", "가"]
    assert merged(known, ["a", "가", "b"], ["[PAD]", "[CLS]"], "replace") == [
        "[PAD]",
        "[CLS]",
        "a",
        "가",
        "b",
    ]
    assert merged(known, ["가"], ["[PAD]", "[CLS]"], "replace") == ["[PAD]", "[CLS]", "가"]


def test_english_is_untouched_to_the_bit(start: Path, renewed: Path) -> None:
    """Tokens, rows and embeddings, accents included."""
    before, after = (modelWithPooling.from_pretrained(place) for place in (start, renewed))
    assert [before.tokenizer.tokenize(text) for text in ENGLISH] == [
        after.tokenizer.tokenize(text) for text in ENGLISH
    ]
    assert before.tokenizer.tokenize("Café") == ["cafe"] == after.tokenizer.tokenize("Café")
    assert np.array_equal(before.encode(ENGLISH), after.encode(ENGLISH))


def test_hangul_is_whole_and_read(start: Path, renewed: Path) -> None:
    before, after = (modelWithPooling.from_pretrained(place) for place in (start, renewed))
    assert before.tokenizer.tokenize("고양이가")[0] == "[UNK]"
    assert after.tokenizer.tokenize("고양이가 잔다") == ["고양이", "##가", "잔", "##다"]
    assert after.tokenizer.tokenize(unicodedata.normalize("NFD", "고양이가")) == ["고양이", "##가"]
    rows = after.model.get_input_embeddings().weight
    fresh = rows[len(before.tokenizer) :]
    assert len(torch.unique(fresh, dim=0)) == len(fresh) == len(after.tokenizer) - len(before.tokenizer)


def test_everybody_loads_the_same_tokens(renewed: Path, tmp_path: Path) -> None:
    """Our loader, plain transformers, the library's file alone; saved again and loaded again; a reader that rebuilds."""
    ours = modelWithPooling.from_pretrained(renewed)
    expected = ours.tokenizer(KOREAN + ENGLISH)["input_ids"]
    assert AutoTokenizer.from_pretrained(renewed)(KOREAN + ENGLISH)["input_ids"] == expected
    alone = Tokenizer.from_file(str(renewed / "tokenizer.json"))
    assert [alone.encode(text).ids for text in KOREAN + ENGLISH] == expected
    ours.save_pretrained(tmp_path / "again")
    again = modelWithPooling.from_pretrained(tmp_path / "again")
    assert again.tokenizer(KOREAN + ENGLISH)["input_ids"] == expected
    assert np.array_equal(again.encode(KOREAN), ours.encode(KOREAN))
    for folder in (renewed, tmp_path / "again"):
        assert json.loads((folder / "tokenizer_config.json").read_text())["strip_accents"] is False
    rebuilt = BertTokenizer.from_pretrained(tmp_path / "again")
    assert rebuilt(KOREAN[:2])["input_ids"] == expected[:2]


def test_a_normalizer_that_keeps_hangul_stays(tiny_model_dir: Path) -> None:
    backend = backend_of(modelWithPooling.from_pretrained(tiny_model_dir), "tiny")
    assert composing(backend.normalizer) is not None and composing(None) is None
    assert type(composing(backend.normalizer)) is type(backend.normalizer)


def test_replace(start: Path) -> None:
    """The special tokens keep their ids and their rows; what is learned again keeps its row."""
    model = modelWithPooling.from_pretrained(start)
    old = model.model.get_input_embeddings().weight.detach().clone()
    known = model.tokenizer.get_vocab()
    learned = learn(["the cat the cat 고양이 고양이"], backend_of(model, "tiny"), 40, 2)
    tokens = merged(known, learned, model.tokenizer.all_special_tokens, "replace")
    made = renew(model, tokens, "random")
    new = model.model.get_input_embeddings().weight
    assert tokens[:6] == ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert torch.equal(new[:6], old[:6]) and torch.equal(new[tokens.index("cat")], old[known["cat"]])
    assert made["known"] == sum(token in known for token in tokens) and "cafe" not in tokens
    assert model.tokenizer.tokenize("the 고양이") == ["the", "고양이"]
    assert len(model.tokenizer) == len(tokens) == len(new) == model.model.config.vocab_size
    assert model.encode("the 고양이").shape == (WIDTH,)


def test_only_wordpiece(start: Path) -> None:
    model = modelWithPooling.from_pretrained(start)
    model.tokenizer = with_vocabulary(model.tokenizer, list(model.tokenizer.get_vocab()))
    model.tokenizer.backend_tokenizer.model = BPE()
    with pytest.raises(RunError, match="--model x: its tokenizer is BPE"):
        backend_of(model, "x")
    assert isinstance(backend_of(modelWithPooling.from_pretrained(start), "x").model, WordPiece)


# ---------------------------------------------------------------- texts and the command


def test_texts(tmp_path: Path) -> None:
    plain = write(tmp_path, "a.txt", " 하나 ", "", "둘")
    packed = tmp_path / "b.txt.gz"
    packed.write_bytes(gzip.compress("셋\n".encode()))
    assert texts_of(str(plain), "ko", None)[0] == ["하나", "둘"] and texts_of(str(packed), None, None)[0] == [
        "셋"
    ]
    own = write(tmp_path, "p.tsv", row("source", "target"), row("Go.", "가."))
    assert texts_of(str(own), None, None)[0] == ["Go.", "가."]
    korean = texts_of("samples-sts-ko", "ko", None)[0]
    assert korean == [text for e in data.load("samples-sts-ko-train").examples for text in e.texts]
    found, files = texts_of("samples-mrc-ko", "ko", None)
    other = data.load_retrieval("samples-mrc-ko", "test")
    assert files and not set(found) & {question.text for question in other.questions}


def test_the_command(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [row("source", "target"), *[row("the cat", "고양이"), row("the cat sat", "고양이 앉")] * 3]
    own = write(tmp_path, "p.tsv", *pairs)
    text = write(tmp_path, "t.txt", "고양이 앉", "앉 고양이", "고양이 앉")
    words = ["--model", str(start), "--data", str(text), "--size", "60", "--output", str(tmp_path / "out")]
    assert main(words) == 0
    assert json.loads((tmp_path / "out/vocabulary.json").read_text())["init"] == "random"
    capsys.readouterr()
    assert main([*words, "--parallel", str(own)]) == 0
    facts = json.loads((tmp_path / "out/vocabulary.json").read_text())
    assert facts["init"] == "translations" and facts["environment"]["torch"]
    assert facts["rows"]["translations"] >= 2 and facts["texts"] == 2 and str(text) in facts["data"]
    assert "rows: 19 known, " in capsys.readouterr().out
    model = modelWithPooling.from_pretrained(tmp_path / "out")
    rows, ids = model.model.get_input_embeddings().weight, model.tokenizer.get_vocab()
    similar = torch.cosine_similarity(rows[ids["앉"]][None], rows[:19])
    assert similar.argmax() == ids["sat"]  # the only word that goes with it alone


WRONG = {
    "unknown set": (["--data", "tatoba"], 2, "unknown data set 'tatoba', did you mean tatoeba?"),
    "no parallel text": (["--data", "x.txt", "--init", "translations"], 2, "needs parallel text: --parallel"),
    "parallel for nothing": (
        ["--data", "x.txt", "--init", "random", "--parallel", "tatoeba"],
        2,
        "--parallel is for --init translations",
    ),
    "not parallel": (
        ["--data", "x.txt", "--init", "translations", "--parallel", "stsb"],
        2,
        "stsb is sts data",
    ),
    "size": (["--data", "x.txt", "--size", "0"], 2, "--size and --min-frequency must be at least 1"),
    "language": (
        ["--data", "samples-sts-en", "--language", "ko"],
        2,
        "samples-sts-en is in en, and --language is ko",
    ),
    "no file": (["--data", "gone.txt"], 1, "gone.txt"),
    "nothing new": (["--data", "english.txt"], 1, "english.txt: no new word in 1 texts"),
    "not UTF-8": (["--data", "latin.txt"], 1, "latin.txt: cannot be read: "),
    "a torn gzip": (["--data", "torn.txt.gz"], 1, "torn.txt.gz: cannot be read: "),
    "nothing to learn from": (
        ["--data", "dot.txt", "--mode", "replace"],
        1,
        "dot.txt: no new word",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_in_one_line(
    start: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "english.txt", "the cat")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "torn.txt.gz").write_bytes(gzip.compress(b"the cat sat\n" * 99)[:-12])
    write(tmp_path, "dot.txt", "\x01")
    words, code, said = WRONG[case]
    assert main([*words, "--model", str(start), "--output", "out"]) == code
    error = capsys.readouterr().err
    assert said in error and error.startswith("vocabulary: error: ") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
