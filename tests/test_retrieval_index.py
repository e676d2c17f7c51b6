"""The index on disk: a round trip, another model's vectors, damaged files, a full disk."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sbert.errors import RunError
from sbert.retrieval import index as index_module
from sbert.retrieval.index import fingerprint_of, load_index, save_index
from sbert.retrieval.search import exact_search

PRINT = "ab" * 32
FILES = {"embeddings.npy", "ids.json", "index.json"}


def vectors(n: int = 6, width: int = 4, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(dtype)


def names(n: int = 6) -> list[str]:
    return [f"글 {i}" for i in range(n)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of six passages."""
    save_index(tmp_path / "index", vectors(), names(), PRINT, similarity="dot", facts={"model": "minilm"})
    return tmp_path / "index"


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("n", [0, 1, 6])
def test_a_round_trip(tmp_path: Path, dtype: str, n: int) -> None:
    save_index(tmp_path / "x" / "index", vectors(n, dtype=dtype), names(n), PRINT, facts={"a": [1, None]})
    found = load_index(tmp_path / "x" / "index", PRINT)
    assert found.embeddings.tolist() == vectors(n, dtype=dtype).tolist()
    assert found.embeddings.dtype == dtype and found.width == 4
    assert found.ids == names(n)
    assert (found.fingerprint, found.similarity, found.facts) == (PRINT, "cosine", {"a": [1, None]})
    assert len(found.search(vectors(2, seed=1), 3).ids[1]) == min(3, n)


def test_what_is_on_disk(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    assert {path.name for path in folder.parent.iterdir()} == {"index"}
    found = load_index(folder, None)
    assert isinstance(found.embeddings, np.memmap) and not found.embeddings.flags.writeable
    assert found.facts == {"model": "minilm"}


def test_search_follows_the_index(folder: Path) -> None:
    queries = vectors(3, seed=1)
    for similarity in ("dot", "cosine"):
        save_index(
            folder,
            vectors() * np.arange(1, 7)[:, None].astype("float32"),
            names(),
            PRINT,
            similarity=similarity,
        )
        found = load_index(folder, PRINT)
        expected = exact_search(queries, found.embeddings, 6, similarity)
        for chunks in ({}, {"passage_chunk": 2}, {"query_chunk": 1}):
            again = found.search(queries, 6, **chunks)
            assert again.ids == expected.ids
            assert [row.tolist() for row in again.scores] == [row.tolist() for row in expected.scores]
        assert found.norms is found.norms


def test_rows_that_are_not_contiguous(tmp_path: Path) -> None:
    whole = vectors(6, 8)
    save_index(tmp_path / "index", whole[::2, ::2], names(3), PRINT)
    assert load_index(tmp_path / "index", PRINT).embeddings.tolist() == whole[::2, ::2].tolist()


def test_an_index_is_replaced(folder: Path) -> None:
    save_index(folder, vectors(2, 3), names(2), "cd" * 32)
    assert load_index(folder, "cd" * 32).embeddings.shape == (2, 3)
    assert {path.name for path in folder.parent.iterdir()} == {"index"}


def test_other_things_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds other things \(no index\.json in it\)"):
        save_index(tmp_path / "home", vectors(), names(), PRINT)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "mine"


# ---------------------------------------------------------------- refused


def test_another_model(folder: Path) -> None:
    with pytest.raises(RunError, match="made with another model") as caught:
        load_index(folder, "cd" * 32)
    assert str(folder) in str(caught.value) and PRINT[:12] in str(caught.value)
    load_index(folder, PRINT)


@pytest.mark.parametrize("file", sorted(FILES))
def test_a_file_is_missing(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(RunError, match=f"{file}: no such file"):
        load_index(folder, PRINT)


@pytest.mark.parametrize("file", sorted(FILES))
@pytest.mark.parametrize("left", [0, 1, 40, -1])
def test_a_file_is_short(folder: Path, file: str, left: int) -> None:
    content = (folder / file).read_bytes()
    cut = len(content) - 5 if left == -1 else left
    (folder / file).write_bytes(content[:cut])
    with pytest.raises(RunError, match=file) as caught:
        load_index(folder, PRINT)
    assert "\n" not in str(caught.value)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such file"):
        load_index(tmp_path / "none", PRINT)


@pytest.mark.parametrize(
    "key, value",
    [
        *(("format", 2), ("format", None), ("fingerprint", 5), ("similarity", "euclidean"), ("rows", True)),
        *(("rows", -1), ("width", 0), ("width", "4"), ("dtype", "float64"), ("facts", [])),
    ],
)
def test_index_json_of_another_kind(folder: Path, key: str, value: Any) -> None:
    about = json.loads((folder / "index.json").read_text(encoding="utf8"))
    (folder / "index.json").write_text(json.dumps(about | {key: value}), encoding="utf8")
    with pytest.raises(RunError, match=f"index.json: {key} "):
        load_index(folder, PRINT)


def test_facts_that_were_changed_later(tmp_path: Path) -> None:
    """Places of windows are facts: one that is off by a letter would show another text."""
    folder = tmp_path / "windows"
    save_index(folder, vectors(), list("abcdef"), PRINT, facts={"windows": [[0, 10], [5, 10]], "share": 0.1})
    assert load_index(folder, PRINT).facts["windows"] == [[0, 10], [5, 10]]
    about = json.loads((folder / "index.json").read_text(encoding="utf8"))
    about["facts"]["windows"][1][0] = 6
    (folder / "index.json").write_text(json.dumps(about), encoding="utf8")
    with pytest.raises(RunError, match=r"index\.json: damaged: it was changed after save_index wrote it"):
        load_index(folder, PRINT)


def without_hashes(folder: Path) -> None:
    """As an earlier version wrote it: what does not fit must be told from shapes and types alone."""
    about = json.loads((folder / "index.json").read_text(encoding="utf8"))
    del about["sha256"], about["index_sha256"]
    (folder / "index.json").write_text(json.dumps(about), encoding="utf8")


@pytest.mark.parametrize(
    "array", [vectors(5), vectors(6, 3), vectors(dtype="float16"), vectors().astype(">f4")]
)
def test_embeddings_that_do_not_fit(folder: Path, array: np.ndarray) -> None:
    without_hashes(folder)
    np.save(folder / "embeddings.npy", array)
    if array.dtype.name == "float32" and array.shape == (6, 4):  # the same numbers in another byte order
        assert load_index(folder, PRINT).embeddings.tolist() == vectors().tolist()
        return
    with pytest.raises(RunError, match=r"embeddings\.npy: holds .* index\.json says \(6, 4\) of float32"):
        load_index(folder, PRINT)


def test_embeddings_that_are_something_else(folder: Path) -> None:
    without_hashes(folder)
    np.save(folder / "embeddings.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(RunError, match=r"embeddings\.npy: short or damaged"):
        load_index(folder, PRINT)
    np.savez(folder / "other.npz", vectors())
    shutil.copy(folder / "other.npz", folder / "embeddings.npy")
    with pytest.raises(RunError, match=r"embeddings\.npy: short or damaged"):
        load_index(folder, PRINT)


@pytest.mark.parametrize("ids", [names(5), names(7), [*names(5), 6], {"a": 1}])
def test_ids_that_do_not_fit(folder: Path, ids: Any) -> None:
    without_hashes(folder)
    (folder / "ids.json").write_text(json.dumps(ids), encoding="utf8")
    with pytest.raises(RunError, match=r"ids\.json: holds"):
        load_index(folder, PRINT)


@pytest.mark.parametrize(
    "array, ids, options, message",
    [
        (vectors()[0], ["a"] * 4, {}, r"embeddings \(4,\) of float32"),
        (vectors(dtype="float64"), names(), {}, "of float64: expected .* float16 or float32"),
        (vectors(), names(5), {}, "5 ids of 6 embeddings"),
        (vectors(), [*names(5), 6], {}, "id 6: expected a string"),
        (vectors(), names(), {"similarity": "l2"}, "'l2': allowed are cosine, dot"),
        (vectors() * np.float32(np.nan), names(), {}, "vector 0 is not finite"),
    ],
)
def test_what_saving_refuses(
    tmp_path: Path, array: np.ndarray, ids: list, options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        save_index(tmp_path / "index", array, ids, PRINT, **options)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- a full disk


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["embeddings", "ids", "index.json"])
def test_nothing_is_left_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException, before: bool
) -> None:
    target = tmp_path / "index"
    if before:
        save_index(target, vectors(), names(), PRINT)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    save, to_json = np.save, index_module.to_json

    def failing_save(path: Path, array: np.ndarray) -> None:
        save(path, array[:1])
        if where == "embeddings":
            raise error

    def failing_json(value: Any) -> str:
        if (where == "ids") == isinstance(value, list) and where != "embeddings":
            raise error
        return to_json(value)

    with monkeypatch.context() as patch:
        patch.setattr(index_module.np, "save", failing_save)
        patch.setattr(index_module, "to_json", failing_json)
        expected = RunError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected, match="No space left" if expected is RunError else None):
            save_index(target, vectors(9, seed=3), names(9), PRINT)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == kept
    assert {path.name for path in tmp_path.iterdir()} == ({"index"} if before else set())
    if before:
        assert load_index(target, PRINT).ids == names()
    save_index(target, vectors(9, seed=3), names(9), PRINT)
    assert load_index(target, PRINT).ids == names(9)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    save_index(small_disk / "index", vectors(100, 100), names(100), PRINT)
    with pytest.raises(RunError, match=f"{small_disk}/index: cannot be saved"):
        save_index(small_disk / "index", vectors(3000, 100), names(3000), PRINT)
    assert [path.name for path in small_disk.iterdir()] == ["index"]
    assert load_index(small_disk / "index", PRINT).ids == names(100)


def test_a_replacement_cut_short_is_put_back(folder: Path) -> None:
    os.rename(folder, folder.parent / ".index.old")
    assert load_index(folder, PRINT).ids == names()


# ---------------------------------------------------------------- fingerprints


def test_the_fingerprint_is_of_what_makes_the_vectors(saved: Path, tmp_path: Path) -> None:
    """saved: a copy of a directory with a Dense and a Normalize."""
    first = fingerprint_of(saved)
    assert len(first) == 64 and int(first, 16) >= 0
    shutil.copytree(saved, tmp_path / "copy")
    for file in ("README.md", "sbert.json"):  # where it came from is not what it is
        (tmp_path / "copy" / file).write_text("{}")
    assert fingerprint_of(str(tmp_path / "copy")) == first
    assert fingerprint_of(saved, max_length=None) == first
    others = {fingerprint_of(saved, max_length=7), fingerprint_of(saved, max_length=8)}
    others |= {fingerprint_of(saved, num_layers=1), fingerprint_of(saved, num_layers=7), first}
    assert len(others) == 5


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("1_Pooling/config.json", '"pooling_mode_mean_tokens": true', '"pooling_mode_max_tokens": true'),
        ("sentence_bert_config.json", '"max_seq_length": 64', '"max_seq_length": 63'),
        ("config.json", '"num_hidden_layers": 2', '"num_hidden_layers": 1'),
        ("config_sentence_transformers.json", '"prompts": {}', '"prompts": {"query": "q: "}'),
        ("tokenizer.json", '"[UNK]"', '"[UNKNOWN]"'),
        ("2_Dense/config.json", "activation.Tanh", "activation.ReLU"),
    ],
)
def test_another_text_in_a_file_is_another_model(saved: Path, file: str, old: str, new: str) -> None:
    first = fingerprint_of(saved)
    text = (saved / file).read_text(encoding="utf8")
    assert old in text
    (saved / file).write_text(text.replace(old, new), encoding="utf8")
    assert fingerprint_of(saved) != first


@pytest.mark.parametrize("file", ["model.safetensors", "2_Dense/model.safetensors"])
def test_other_weights_are_another_model(saved: Path, file: str) -> None:
    first = fingerprint_of(saved)
    content = bytearray((saved / file).read_bytes())
    content[-1] ^= 1
    (saved / file).write_bytes(content)
    assert fingerprint_of(saved) != first


def test_a_layer_less_is_another_model(saved: Path) -> None:
    first = fingerprint_of(saved)
    modules = json.loads((saved / "modules.json").read_text(encoding="utf8"))
    (saved / "modules.json").write_text(json.dumps(modules[:-1]), encoding="utf8")
    assert fingerprint_of(saved) != first


def test_no_weights(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(RunError, match="no weights"):
        fingerprint_of(saved)
