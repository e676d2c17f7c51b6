"""What the fuzzer found stays mended, and the fuzzer itself finds what is there: python -m experiments.fuzz in short."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest

from data.examples import DataError
from data.readers import READERS, RETRIEVAL_READERS
from data.readers.own import read_own
from data.readers.text import Raw
from experiments.fuzz.__main__ import fuzz, one
from experiments.fuzz.mutate import mutated
from experiments.fuzz.seeds import EXAMPLES, OWN, RETRIEVAL
from sbert.directory import read_description
from sbert.errors import RunError
from sbert.jsonfile import read_json
from sbert.retrieval.dense import DensePool, load_pool, save_pool
from sbert.retrieval.index import load_index, save_index
from sbert.static_vectors import read_vectors

PASSAGES = [("a", "one"), ("b", "two")]


def raws(contents: list[bytes]) -> list[Raw]:
    return [Raw(f"{'stsb/' if i else ''}f{i}", f"f{i}", content, "") for i, content in enumerate(contents)]


def test_every_seed_is_whole() -> None:
    """Otherwise damage says nothing."""
    assert EXAMPLES.keys() == READERS.keys() and RETRIEVAL.keys() == RETRIEVAL_READERS.keys()
    for name, read in READERS.items():
        assert read(raws(EXAMPLES[name]), "test")[0], name
    for name, search in RETRIEVAL_READERS.items():
        splits = ("train", "dev", "test")  # the one article of squad-by-title falls into one of them
        assert any(search(raws(RETRIEVAL[name]), split).questions for split in splits), name
    for suffix, seeds in OWN.items():
        assert all(read_own(raws([seed])[0], suffix)[1] for seed in seeds)


def test_a_short_fuzz_finds_nothing(tmp_path: Path) -> None:
    found = fuzz(800, 7, [], tmp_path)
    assert found["faults"] == 0, found["kinds"]
    assert found["taken"] > 50 and found["refused"] > 300


@pytest.mark.parametrize(
    ("raised", "end"),
    [
        (RunError("x: wrong"), "refused"),
        (RunError("two\nlines"), "fault"),
        (RunError(""), "fault"),
        (RunError("\ud800"), "fault"),
        (SystemExit(2), "refused"),
        (SystemExit(1), "fault"),
        (KeyError("x"), "fault"),
        (MemoryError(), "fault"),
    ],
)
def test_a_fault_is_told_from_a_refusal(raised: BaseException, end: str) -> None:
    def target(draw: random.Random) -> None:
        raise raised

    assert one(target, random.Random(0))[0] == end


def test_a_result_is_taken_and_a_hang_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.fuzz.__main__.SECONDS", 1)
    assert one(lambda draw: draw.random(), random.Random(0)) == ("taken", "")
    assert one(lambda draw: time.sleep(5), random.Random(0)) == ("fault", "more than 1 s")


def test_damage_is_the_same_for_the_same_seed_and_other_for_another() -> None:
    seed = EXAMPLES["snli"][0]
    assert [mutated(random.Random(i), seed, [seed]) for i in range(50)] == [
        mutated(random.Random(i), seed, [seed]) for i in range(50)
    ]
    assert len({mutated(random.Random(i), seed, [seed]) for i in range(200)}) > 150


# ---------------------------------------------------------------- found, and mended


def test_json_nested_too_deeply(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(RunError, match=r"a\.json: not a JSON file: nested too deeply"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("path", ["x" * 1000, "a\0b", "\ud800"])
def test_a_module_path_that_is_none(tmp_path: Path, path: str) -> None:
    module = {"type": "sentence_transformers.models.Transformer", "path": path}
    (tmp_path / "modules.json").write_text(json.dumps([module]))
    with pytest.raises(RunError, match=r"modules\.json: path '.*' leaves the directory") as error:
        read_description(tmp_path)
    str(error.value).encode()


def test_a_first_line_of_5000_digits(tmp_path: Path) -> None:
    (tmp_path / "v.vec").write_text(f"2 {'9' * 5000}\ncat 1 2\n")
    with pytest.raises(RunError, match=r"v\.vec:1: "):
        read_vectors(tmp_path / "v.vec")


@pytest.mark.parametrize(
    "windows",
    [None, {}, {"starts": [0], "lengths": [3, 3]}, {"starts": [0, 9], "lengths": [3, 3]}, {"starts": [0, "0"], "lengths": [3, 3]},
     {"starts": [-1, 0], "lengths": [3, 3]}],
)  # fmt: skip
def test_windows_that_are_no_parts_of_their_passages(tmp_path: Path, windows: object) -> None:
    pool = DensePool(np.eye(2, 4, dtype=np.float32), ["one", "two"], np.arange(2), "cosine")
    save_pool(tmp_path / "index", pool, PASSAGES, "f", {})
    assert load_pool(tmp_path / "index", PASSAGES, "f", {}, "cosine").windows == ["one", "two"]
    path = tmp_path / "index/index.json"
    about = json.loads(path.read_text())
    about["facts"]["windows"] = windows
    del about["index_sha256"]  # a stranger's index has what it likes
    path.write_text(json.dumps(about))
    with pytest.raises(RunError, match="index: damaged: its windows are not parts of its passages"):
        load_pool(tmp_path / "index", PASSAGES, "f", {}, "cosine")


@pytest.mark.parametrize(
    "header", [b"{'descr': '<f4', 'fortran_order': False, 'shape\": (2,", b"{'des[[[[[[[[[["]
)
def test_a_header_that_is_no_python(tmp_path: Path, header: bytes) -> None:
    save_index(tmp_path / "index", np.eye(2, 4, dtype=np.float32), ["a", "b"], "f")
    about = json.loads((tmp_path / "index/index.json").read_text())
    del about["sha256"], about["index_sha256"]  # as an earlier version wrote it
    (tmp_path / "index/index.json").write_text(json.dumps(about))
    (tmp_path / "index/embeddings.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.ljust(118))
    with pytest.raises(RunError, match=r"embeddings\.npy: short or damaged"):
        load_index(tmp_path / "index", None)


def test_a_header_with_line_ends_is_told_in_one_line() -> None:
    with pytest.raises(
        DataError, match=r"f0:2: no column Sentence1, .* in the header a, b, \\r\\nc, d"
    ) as error:
        READERS["wikisec"](raws([b'a,"b, \r\nc",d\n']), "test")
    assert len(str(error.value).splitlines()) == 1
