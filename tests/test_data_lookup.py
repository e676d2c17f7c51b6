"""The order of looking up files, the embedded samples, light imports and atomic writes."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

import data
from data.files import atomic_path, sha256_of, write_bytes_atomically, write_text_atomically

HEADER = "score\tsentence1\tsentence2\n"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data dir; an empty cache, which is returned."""
    monkeypatch.delenv("SBERT_DATA", raising=False)
    monkeypatch.delenv("SBERT_ANY_HASH", raising=False)
    cache = tmp_path / "cache"
    monkeypatch.setenv("SBERT_CACHE", str(cache))
    return cache


def scored(folder: Path, text: str, packed: bool = False) -> None:
    """korsts dev with one row."""
    path = folder / "korsts/sts-dev.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = (HEADER + f"5\t{text}\tb\n").encode()
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def first_text(**kwargs: object) -> str:
    return data.load("korsts-dev", download=False, **kwargs).examples[0].texts[0]  # type: ignore[arg-type]


def test_lookup_order(offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBERT_ANY_HASH", "1")
    for name in ("given", "env", "cache", "other"):
        scored(tmp_path / name, name)
    assert first_text() == "cache"
    assert first_text(cache_dir=tmp_path / "other") == "other"
    monkeypatch.setenv("SBERT_DATA", str(tmp_path / "env"))
    assert first_text() == "env"
    assert first_text(data_dir=tmp_path / "given") == "given"
    (tmp_path / "env/korsts/sts-dev.tsv").unlink()
    assert first_text() == "cache"


def test_gzipped_copy_is_found(offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBERT_ANY_HASH", "1")
    scored(tmp_path, "packed", packed=True)
    loaded = data.load("korsts-dev", data_dir=tmp_path, download=False)
    assert loaded.examples[0].texts[0] == "packed"
    scored(tmp_path, "packed")
    plain = data.load("korsts-dev", data_dir=tmp_path, download=False)
    assert plain.files == loaded.files  # the hash is that of the unpacked bytes
    assert plain.files["korsts/sts-dev.tsv"] == sha256_of(tmp_path / "korsts/sts-dev.tsv")


def test_another_hash_is_an_error_unless_accepted(
    offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(tmp_path, "edited")
    found = sha256_of(tmp_path / "korsts/sts-dev.tsv")
    with pytest.raises(data.DataError) as caught:
        data.load("korsts-dev", data_dir=tmp_path)
    message = str(caught.value)
    assert f"sts-dev.tsv: sha256 is {found}, expected d835b65b" in message
    assert "SBERT_ANY_HASH=1" in message
    monkeypatch.setenv("SBERT_ANY_HASH", "1")
    assert data.load("korsts-dev", data_dir=tmp_path).files == {"korsts/sts-dev.tsv": found}


def test_not_found_says_what_and_where(offline: Path, tmp_path: Path) -> None:
    with pytest.raises(
        data.DataError, match=r"stsb-test: no stsb/sts-test.csv in .*downloading is off; .*https://"
    ):
        data.load("stsb", data_dir=tmp_path, download=False)
    with pytest.raises(
        data.DataError, match=r"nli-en-dev: no nli-en/dev.jsonl .*assembled by hand: .*SBERT_DATA"
    ):
        data.load("nli-en-dev", data_dir=tmp_path)


def test_data_dir_must_exist(offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(data.DataError, match="not a folder"):
        data.load("stsb", data_dir=tmp_path / "nowhere")
    monkeypatch.setenv("SBERT_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(data.DataError, match="SBERT_DATA"):
        data.load("stsb")


def test_other_row_count_is_reported(
    offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SBERT_ANY_HASH", "1")
    scored(tmp_path, "one row")
    data.load("korsts-dev", data_dir=tmp_path)
    assert "korsts-dev: 1 examples, the publisher's copy has 1500" in caplog.text


@pytest.mark.parametrize("task", ["sts", "nli"])
def test_samples_need_nothing(offline: Path, task: str) -> None:
    for split in ("train", "dev", "test"):
        english, korean = (data.load(f"samples-{task}-{language}", split) for language in ("en", "ko"))
        both = data.load(f"samples-{task}", split)
        assert both.examples == english.examples + korean.examples
        assert (english.language, korean.language, both.language) == ("en", "ko", "en+ko")
        assert len(english) >= 50 and len(korean) >= 50
        labels = {example.label for example in both.examples}
        assert labels == {0, 1, 2} if task == "nli" else min(labels) < 0.1 and max(labels) > 0.9  # type: ignore[type-var]
    assert not offline.exists()


def test_samples_is_samples_sts(offline: Path) -> None:
    assert data.load("samples").key == "samples-sts-test"


@pytest.mark.parametrize("task", ["sts", "nli"])
def test_sample_splits_share_no_sentence(offline: Path, task: str) -> None:
    texts = {
        split: {text for example in data.load(f"samples-{task}", split).examples for text in example.texts}
        for split in ("train", "dev", "test")
    }
    assert (
        not texts["train"] & texts["dev"]
        and not texts["train"] & texts["test"]
        and not texts["dev"] & texts["test"]
    )


def test_sample_nli_yields_triplets(offline: Path) -> None:
    assert len(data.triplets(data.load("samples-nli-train"))) >= 80


def test_importing_data_is_light() -> None:
    heavy = [
        "torch",
        "numpy",
        "transformers",
        "tqdm",
        "csv",
        "zipfile",
        "tarfile",
        "urllib.request",
        "logging",
        "tempfile",
    ]
    code = f"import sys, data, data.registry; print([name for name in {heavy!r} if name in sys.modules])"
    root = Path(data.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_loading_is_torch_free() -> None:
    code = (
        "import sys, data; data.load('samples'); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(data.__file__).parents[1], check=True)


def test_atomic_write_replaces_and_keeps_on_failure(tmp_path: Path) -> None:
    target = tmp_path / "new/folder/x.txt"
    write_text_atomically(target, "하나\n")
    assert target.read_bytes() == "하나\n".encode()
    target.chmod(0o640)
    for failure in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(failure), atomic_path(target) as temporary:
            assert temporary.parent == target.parent
            temporary.write_text("half")
            raise failure
        assert target.read_text(encoding="utf-8") == "하나\n"
    write_bytes_atomically(target, b"two")
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in target.parent.iterdir()] == ["x.txt"]


def test_sha256_of_known_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
