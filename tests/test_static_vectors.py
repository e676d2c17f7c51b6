"""Word vectors as a model: files read by hand, means worked out by hand, saved and loaded, and what is malformed."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import save_tiny, tiny_tokenizer
from tokenizers import Tokenizer
from tokenizers.models import BPE
from train_process import TrainRunner, said
from transformers import PreTrainedTokenizerFast

from experiments import static_vectors as command
from sbert import static_vectors
from sbert.cross_encoder import CrossEncoder
from sbert.encoder import load_encoder
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.static_vectors import SPECIAL, is_vector_file, read_vectors
from sbert.towers import load_bi_encoder

GLOVE = "the 0 0 1\ncat 1 0 0\nsat 0 1 0\n. 0 0 3\n고양이가 2 2 2\n"


def vectors_file(folder: Path, text: str | bytes = GLOVE, name: str = "vectors.txt") -> Path:
    path = folder / name
    content = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def loaded(folder: Path, text: str | bytes = GLOVE, **options: object) -> modelWithPooling:
    return modelWithPooling.from_pretrained(vectors_file(folder, text), **options)  # type: ignore[arg-type]


# ---------------------------------------------------------------- vectors of texts


def test_means_by_hand(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    texts = ["The cat sat.", "cat", "the unheard-of CAT", "고양이가 sat", "cat cat sat"]
    expected = [
        [1 / 4, 1 / 4, 4 / 4],
        [1, 0, 0],
        [1 / 2, 0, 1 / 2],  # unheard, - and of are left out, not counted as zeros
        [1, 3 / 2, 1],
        [2 / 3, 1 / 3, 0],
    ]
    np.testing.assert_allclose(model.encode(texts), expected, rtol=1e-6)
    assert model.width == 3 and model.description.pooling == ("mean",)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "last", "mean_sqrt"])
def test_texts_without_a_known_word_are_zeros(tmp_path: Path, pooling: str) -> None:
    model = loaded(tmp_path, pooling_type=pooling)
    found = model.encode(["", "  ", "nothing known", "[UNK] [PAD]"])
    np.testing.assert_array_equal(found, np.zeros((4, 3)))
    assert float(model.similarity(found[0], [[1.0, 0, 0]])) == 0


def test_other_poolings_skip_unknown_words(tmp_path: Path) -> None:
    assert loaded(tmp_path, pooling_type="cls").encode("unknown cat sat").tolist() == [1, 0, 0]
    assert loaded(tmp_path, pooling_type="last").encode("cat sat unknown").tolist() == [0, 1, 0]
    assert loaded(tmp_path, "a -1 -2\n", pooling_type="max").encode("x a y").tolist() == [-1, -2]


def test_a_prompt_of_unknown_words_that_is_not_pooled_takes_nothing_from_the_text(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    model.description.include_prompt = False
    np.testing.assert_array_equal(model.encode(["the cat"], prompt="zzz yyy: "), model.encode(["the cat"]))


def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path: Path) -> None:
    np.testing.assert_array_equal(loaded(tmp_path, "\ufeff" + GLOVE).encode(["the"]), [[0, 0, 1]])


def test_a_text_of_more_words_than_positions(tmp_path: Path) -> None:
    """Nothing counts positions here; half precision chooses no attention for it."""
    model = loaded(tmp_path)
    text = "cat " * 999 + "sat"
    np.testing.assert_allclose(model.encode(text), [0.999, 0.001, 0], atol=1e-5)
    np.testing.assert_allclose(model.encode(text, precision="bf16"), [0.999, 0.001, 0], atol=1e-5)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.vec", "a.vec.gz"])
@pytest.mark.parametrize("header", ["", "5 3\n"])
def test_glove_and_fasttext_files(tmp_path: Path, name: str, header: str) -> None:
    words, matrix = read_vectors(vectors_file(tmp_path, header + GLOVE, name))
    assert words == ["the", "cat", "sat", ".", "고양이가"]
    assert matrix.dtype == np.float32 and matrix.shape == (SPECIAL + 5, 3)
    assert matrix[:SPECIAL].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert matrix[SPECIAL:].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 3], [2, 2, 2]]


def test_odd_words(tmp_path: Path) -> None:
    """Spaces in words (glove.840B), numbers, line separators, trailing blanks and CRLF."""
    text = "a 1 2\n. . . 3 4\nat name@domain.com 5 6\n0.5 7 8\nx\u2028y 9 10 \nz\x85 11 12\r\n"
    words, matrix = read_vectors(vectors_file(tmp_path, text))
    assert words == ["a", ". . .", "at name@domain.com", "0.5", "x\u2028y", "z\x85"]
    assert matrix[SPECIAL:].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]]


def test_the_first_of_two_lines_and_the_lower_case_form(tmp_path: Path) -> None:
    text = "cat 1\ncat 2\nUS 3\nus 4\nUS 5\nus 6\nLondon 7\nLONDON 8\n"
    words, matrix = read_vectors(vectors_file(tmp_path, text))
    assert dict(zip(words, matrix[SPECIAL:, 0].tolist(), strict=True)) == {"cat": 1, "us": 4, "london": 7}
    assert modelWithPooling.from_pretrained(tmp_path / "vectors.txt").encode("LONDON us").tolist() == [5.5]


def test_the_matrix_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_vectors, "ROWS", 4)
    text = "".join(f"w{i} {i} {-i}\n" for i in range(100))
    words, matrix = read_vectors(vectors_file(tmp_path, text))
    assert words == [f"w{i}" for i in range(100)]
    assert matrix[SPECIAL:].tolist() == [[i, -i] for i in range(100)]


MALFORMED = [
    ("a 1 2\nb 1\n", ":2: 2 fields, 'b 1'; need a word and 2 numbers"),
    ("a 1 2\n1 2\n", ":2: 2 fields, '1 2'; need a word and 2 numbers"),
    ("a 1 2\n\nb 1 2\n", ":2: 1 fields, ''; need a word and 2 numbers"),
    ("a 1 2\n 1 2\n", ":2: 3 fields, ' 1 2'; need a word and 2 numbers"),
    ("alone\n", ":1: 'alone' is no word and its vector"),
    ("a 1 2\nb 1 x2\n", ":2: 'x2' is not a number"),
    ("a 1 2\nb nan 2\n", ":2: 'nan' is not a finite number of single precision"),
    ("a 1 2\nb 1 -inf\n", ":2: '-inf' is not a finite number of single precision"),
    ("a 1 2\nb 1 1e39\n", ":2: '1e39' is not a finite number of single precision"),
    (b"a 1 2\n\xff 1 2\n", ":2: not UTF-8 (byte 0xff)"),
    ("2 3\na 1 2\nb 1 2\n", ":2: 3 fields, 'a 1 2'; need a word and 3 numbers"),
    ("1 999999999\nthe 1 2\n", ":2: 3 fields, 'the 1 2'; need a word and 999999999 numbers"),
    ("3 2\na 1 2\nb 1 2\n", ": its first line says 3 words, 2 follow"),
    ("2 0\na\n", ":2: 'a' is no word and its vector"),
    ("5 3\n", ": no word vectors in it"),
    ("", ": no word vectors in it"),
]


@pytest.mark.parametrize(("text", "said"), MALFORMED, ids=[said for _, said in MALFORMED])
def test_malformed_files_are_named_with_the_line(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = vectors_file(tmp_path, text)
    with pytest.raises(RunError) as caught:
        modelWithPooling.from_pretrained(path)
    assert str(caught.value) == f"{path}{said}"


def test_python_s_own_way_of_writing_numbers_is_none(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"vectors.txt:2: '1_0' is not a number"):
        loaded(tmp_path, "the 0 0\ncat 1_0 0\n")


def test_a_cut_gzip_file(tmp_path: Path) -> None:
    path = vectors_file(tmp_path, GLOVE * 50, "cut.txt.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RunError, match=r"cut.txt.gz: not a whole gzip file"):
        read_vectors(path)
    path.write_bytes(b"plain text")
    with pytest.raises(RunError, match=r"cut.txt.gz: not a whole gzip file"):
        read_vectors(path)


def test_what_counts_as_a_file_of_vectors(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    assert not is_vector_file(tmp_path / "folder.txt") and is_vector_file("glove.txt.gz")
    assert not is_vector_file("minilm") and not is_vector_file("bert-base-uncased")
    with pytest.raises(RunError, match=r"^model gone.txt: no such file of word vectors$"):
        modelWithPooling.from_pretrained("gone.txt")


# ---------------------------------------------------------------- as a model


def test_saved_and_loaded_again(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    texts = ["The cat sat.", "unknown", "고양이가 CAT", ""]
    model.save_pretrained(tmp_path / "m")
    (tmp_path / "vectors.txt").unlink()
    again = load_bi_encoder(tmp_path / "m")
    np.testing.assert_array_equal(again.encode(texts), model.encode(texts))
    assert again.facts["source"] == "vectors.txt" and again.max_length == model.max_length
    assert json.loads((tmp_path / "m" / "config.json").read_text())["model_type"] == "sbert-word-vectors"


def test_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^--num-layers 1: word vectors have no layers$"):
        loaded(tmp_path, num_layers=1)
    with pytest.raises(RunError, match=r"^--average-layers 2: this encoder has 0 layers$"):
        loaded(tmp_path, average_layers=2)
    with pytest.raises(RunError, match=r"vectors.txt: word vectors make a bi-encoder, not a cross-encoder"):
        CrossEncoder.from_pretrained(tmp_path / "vectors.txt")


def test_training_moves_the_words_that_were_seen_and_no_others(tmp_path: Path) -> None:
    model = loaded(tmp_path).train()
    features = model.tokenizer(["cat unknown"], return_tensors="pt")  # type: ignore[misc]
    model(**features)["sentence_embedding"].sum().backward()
    moved = model.model.words.weight.grad.abs().sum(1) > 0  # type: ignore[union-attr]
    assert moved.tolist() == [False, False, False, True, False, False, False]


def test_scored_by_train_py(run_train: TrainRunner, tmp_path: Path) -> None:
    text = "".join(
        f"{word} {math.sin(i)} {math.cos(3 * i)} {math.sin(7 * i)}\n"
        for i, word in enumerate(("a", "the", "man", "woman", "is", "eating", "playing", "cat", "food", "on"))
    )
    vectors_file(run_train.folder, text)
    words = ("--eval-only", "--model", "vectors.txt", "--eval-data", "samples-sts-en", "--output-dir", "run")
    assert run_train(*words).code == 0
    found = json.loads((run_train.folder / "run" / "metrics.json").read_text())
    assert 0 < abs(found["samples-sts-en-test/spearman_cosine"]) < 1
    refused = run_train("--eval-only", "--model", "gone.txt", "--eval-data", "samples-sts-en")
    assert said(refused, 1) == "model gone.txt: no such file of word vectors"


# ---------------------------------------------------------------- python -m experiments.static_vectors


def test_the_embeddings_of_an_encoder(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", str(tiny_model_dir), "--output-dir", str(tmp_path / "run")]
    assert command.main(words) == 0
    vocabulary = tiny_tokenizer().get_vocab()
    wanted = [w for w in vocabulary if not w.startswith(("##", "["))]
    wanted.sort(key=vocabulary.__getitem__)
    found, matrix = read_vectors(tmp_path / "run" / "vectors.txt")
    assert found == wanted and len(found) > 300
    table = load_encoder(tiny_model_dir).get_input_embeddings().weight.detach()
    rows = table[torch.tensor([vocabulary[word] for word in found])].numpy()
    np.testing.assert_allclose(matrix[SPECIAL:], rows, rtol=1e-5)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics == {"words": len(wanted), "dimensions": 32, "vocabulary": len(vocabulary)}
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["argv"] == words and config["environment"]["torch"] and config["device"] == "cpu"
    assert f"{len(wanted):,} words" in capsys.readouterr().out

    assert command.main(words) == 2  # never over a run
    assert "already holds a run" in capsys.readouterr().err


def test_what_the_command_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(["--model", "minilm"])
    assert stop.value.code == 2 and "--output-dir" in capsys.readouterr().err
    assert command.main(["--model", str(tmp_path / "no/such"), "--output-dir", str(tmp_path / "r")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("static_vectors: error: ") and err.count("\n") == 1
    assert not (tmp_path / "r").exists()
    pieces = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({"a": 0}, [])))
    with pytest.raises(RunError, match="of kind BPE: only WordPiece"):
        command.whole_words(pieces)


def test_unused_tokens_are_left_out(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "roberta", "roberta")  # its first id is [unused0]
    assert command.main(["--model", str(folder), "--output-dir", str(tmp_path / "run")]) == 0
    words, _ = read_vectors(tmp_path / "run" / "vectors.txt")
    assert not any(word.startswith(("[unused", "<", "##")) for word in words)
