"""Corpora encoded in shards: the same bytes however often it was stopped, and no shard of other texts or half a file."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from train_process import contents

from data import corpus
from data.corpus import stream_corpus
from data.examples import DataError
from experiments import encode as command
from sbert.errors import RunError
from sbert.lock import FolderLock
from sbert.shards import encode_corpus, read_shards

ROWS = [(f"d{i}", f"text {i}") for i in range(10)]
FACTS = {"fingerprint": "f", "prompt": "document"}


def toy(texts: list[str]) -> np.ndarray:
    """(n, 2): the number in the text, and how many texts came with it."""
    return np.array([[int(text.split()[1]), len(texts)] for text in texts], dtype=np.float32)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    written = encode_corpus(toy, ROWS, tmp_path / "whole", FACTS, shard_rows=4)
    assert (written.rows, written.shards, written.made) == (10, 3, 3)
    return tmp_path / "whole"


def test_what_is_in_the_shards(whole: Path) -> None:
    ids, vectors = zip(*read_shards(whole), strict=True)
    assert [name for part in ids for name in part] == [name for name, _ in ROWS]
    assert np.concatenate(vectors).tolist() == [[i, 4 if i < 8 else 2] for i in range(10)]
    assert json.loads((whole / "complete.json").read_text())["rows"] == 10


@pytest.mark.parametrize("lost", ["shard-000001", "shard-000002", "complete.json"])
def test_what_is_missing_is_made_again_with_the_same_bytes(whole: Path, lost: str) -> None:
    before = contents(whole)
    shutil.rmtree(whole / lost) if "shard" in lost else (whole / lost).unlink()
    written = encode_corpus(toy, ROWS, whole, FACTS, shard_rows=4)
    assert written.made == ("shard" in lost) and contents(whole) == before


@pytest.mark.parametrize("name", ["embeddings.npy", "ids.json", "shard.json"])
@pytest.mark.parametrize("damage", ["cut", "bit", "gone"])
def test_a_damaged_shard_is_noticed_and_made_again(whole: Path, name: str, damage: str) -> None:
    before = contents(whole)
    path = whole / "shard-000001" / name
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[-3] ^= 1
        path.write_bytes(content)
    with pytest.raises(
        RunError, match=r"shard-000001/(embeddings\.npy|ids\.json|shard\.json): (damaged|missing)"
    ):
        list(read_shards(whole))
    assert encode_corpus(toy, ROWS, whole, FACTS, shard_rows=4).made == 1
    assert contents(whole) == before


@pytest.mark.parametrize(
    ("rows", "changed", "words"),
    [
        ([*ROWS[:5], ("d5", "text 50"), *ROWS[6:]], {}, "shard-000001: made of other texts than rows 5 to 8"),
        ([*ROWS[:5], ("other", "text 5"), *ROWS[6:]], {}, "shard-000001: made of other texts than rows 5 to 8"),
        (ROWS[:8], {}, "shard-000002: is of a longer corpus than this one of 8 texts"),
        (ROWS, {"shard_rows": 5}, "begun with shard_rows 4, asked for is 5"),
        (ROWS, {"dtype": "float16"}, "begun with dtype float32, asked for is float16"),
        (ROWS, {"facts": {**FACTS, "prompt": "query"}}, "begun with facts {'prompt': 'document'}, asked for is {'prompt': 'query'}"),
        ([], {}, "no texts to encode"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_refused(
    whole: Path, rows: list[tuple[str, str]], changed: dict[str, object], words: str
) -> None:
    before = contents(whole)
    options = {"facts": FACTS, "shard_rows": 4, **changed}
    with pytest.raises(RunError) as error:
        encode_corpus(toy, rows, whole, **options)  # type: ignore[arg-type]
    assert words in str(error.value) and contents(whole) == before


def test_a_shard_of_the_same_texts_from_another_place_is_refused(tmp_path: Path) -> None:
    rows = ROWS[:4] * 2
    encode_corpus(toy, rows, tmp_path / "v", FACTS, shard_rows=4)
    shutil.rmtree(tmp_path / "v/shard-000001")
    shutil.copytree(tmp_path / "v/shard-000000", tmp_path / "v/shard-000001")
    with pytest.raises(RunError, match="shard-000001: made of other texts than rows 5 to 8"):
        encode_corpus(toy, rows, tmp_path / "v", FACTS, shard_rows=4)


def test_one_shard_at_a_time_in_memory(tmp_path: Path) -> None:
    read = 0

    def rows() -> Iterator[tuple[str, str]]:
        nonlocal read
        for read in range(1, 201):
            yield f"d{read}", f"text {read}"

    ahead = []

    def encode(texts: list[str]) -> np.ndarray:
        ahead.append(read - int(texts[0].split()[1]) + 1)
        return toy(texts)

    assert encode_corpus(encode, rows(), tmp_path / "v", FACTS, shard_rows=10).shards == 20
    assert max(ahead) == 10


@pytest.mark.parametrize(
    ("value", "dtype"), [(np.nan, "float32"), (np.inf, "float32"), (70_000.0, "float16")]
)
def test_vectors_that_are_not_finite(tmp_path: Path, value: float, dtype: str) -> None:
    def encode(texts: list[str]) -> np.ndarray:
        out = toy(texts)
        out[1, 0] = value if texts[1] == "text 5" else 0
        return out

    with pytest.raises(RunError, match=rf"row 6 \(id d5\): its vector is not finite in {dtype}"):
        encode_corpus(encode, ROWS, tmp_path / "v", FACTS, shard_rows=4, dtype=dtype)
    assert not (tmp_path / "v/shard-000001").exists() and not (tmp_path / "v/complete.json").exists()


def test_a_folder_of_other_things_and_one_that_is_held(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v/mine").write_text("kept")
    with pytest.raises(RunError, match="holds other things"):
        encode_corpus(toy, ROWS, tmp_path / "v", FACTS)
    assert contents(tmp_path / "v").keys() == {"mine"}
    (tmp_path / "w").mkdir()
    lock = FolderLock(tmp_path / "w")
    with pytest.raises(RunError, match="another process is writing there"):
        encode_corpus(toy, ROWS, tmp_path / "w", FACTS)
    lock.close()
    with pytest.raises(RunError, match=r"complete\.json: no such file"):
        list(read_shards(tmp_path / "w"))


# ---------------------------------------------------------------- reading a corpus


def test_a_corpus_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_bytes("\ufeffone\r\n\n  two \u2028 three\n고양이".encode())
    assert list(stream_corpus(tmp_path / "c.txt")) == [
        ("1", "one"), ("2", ""), ("3", "two \u2028 three"), ("4", "고양이")
    ]  # fmt: skip
    lines = [
        '{"text": "a"}',
        '{"text": "b", "id": "x", "title": "t"}',
        '{"text": "", "id": 7, "title": null}',
    ]
    with gzip.open(tmp_path / "c.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    assert list(stream_corpus(tmp_path / "c.jsonl.gz")) == [("1", "a"), ("x", "t b"), ("7", "")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"text": "a"}\n{"text": 1}', "c.jsonl:2: text: sentence 1 is not a text"),
        (b'{"text": "a"}\n{"txt": "b"}', "c.jsonl:2: no field text"),
        (b"[1]", "c.jsonl:1: [1] is not a JSON object"),
        (b'{"text": "a"', "c.jsonl:1: not JSON"),
        (b'{"text": "a", "id": ' + b"1" * 5000 + b"}", "c.jsonl:1: not JSON"),
        (b"[" * 100_000, "c.jsonl:1: not JSON"),
        (b'{"text": "a", "id": "a b"}', "c.jsonl:1: id: id 'a b' is not a word without blanks"),
        (b'{"text": "\\ud800"}', "c.jsonl:1: text: sentence '\\ud800' does not encode as UTF-8"),
        (b"\xff", "c.jsonl:1: not UTF-8 (byte 0xff)"),
        (b'{"text": "' + b"a" * 200 + b'"}', "c.jsonl:1: a line of more than 100 bytes"),
    ],
)
def test_a_damaged_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    if "100 bytes" in words:
        monkeypatch.setattr(corpus, "LONGEST", 100)
    (tmp_path / "c.jsonl").write_bytes(content)
    with pytest.raises(DataError) as error:
        list(stream_corpus(tmp_path / "c.jsonl"))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_gzip_that_was_cut_and_files_that_are_none(tmp_path: Path) -> None:
    packed = gzip.compress(b"one\n" * 1000)
    (tmp_path / "c.txt.gz").write_bytes(packed[:-9])
    with pytest.raises(DataError, match="not a whole gzip file"):
        list(stream_corpus(tmp_path / "c.txt.gz"))
    with pytest.raises(DataError, match=r"gone\.txt: cannot be read \(No such file"):
        list(stream_corpus(tmp_path / "gone.txt"))
    with pytest.raises(DataError, match=r"c\.csv: a corpus is a file of \.txt or \.jsonl"):
        list(stream_corpus(tmp_path / "c.csv"))


# ---------------------------------------------------------------- the command


def test_the_command_gives_what_encode_document_gives(tiny_model_dir: Path, tmp_path: Path) -> None:
    from sbert.model import modelWithPooling

    texts = [f"a man number {i} rides" for i in range(7)]
    (tmp_path / "c.txt").write_text("\n".join(texts))
    words = [
        "--corpus",
        str(tmp_path / "c.txt"),
        "--model",
        str(tiny_model_dir),
        "--output",
        str(tmp_path / "v"),
    ]
    assert command.main([*words, "--shard-rows", "3"]) == 0
    vectors = np.concatenate([part for _, part in read_shards(tmp_path / "v")])
    wanted = modelWithPooling.from_pretrained(tiny_model_dir).encode_document(texts)
    assert np.abs(vectors - wanted).max() < 1e-6
    before = contents(tmp_path / "v")
    assert command.main([*words, "--shard-rows", "3", "--normalize"]) == 1
    assert contents(tmp_path / "v") == before


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--corpus", "c.csv"], 2, "--corpus c.csv: a corpus is a file of"),
        (["--shard-rows", "0"], 2, "--shard-rows 0: must be at least 1"),
        (["--device", "tpu"], 2, "--device tpu: allowed are auto, cpu, cuda"),
        (["--corpus", "gone.txt"], 1, "gone.txt: cannot be read"),
        (["--model", "./gone"], 1, "model ./gone: no such directory"),
    ],
)
def test_the_command_refuses_in_one_line(
    tiny_model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.txt").write_text("one")
    base = ["--corpus", "c.txt", "--model", str(tiny_model_dir), "--output", "v"]
    assert command.main([*base, *flags]) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line
