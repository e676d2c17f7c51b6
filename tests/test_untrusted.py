"""Files from strangers: nothing in them is run, nothing is written outside its place, and nothing fills the memory."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_server import tar_gz, zipped
from safetensors.torch import load_file
from tiny_models import save_tiny

from data import download
from data.download import fetch, read_member
from data.examples import DataError
from data.files import sha256_of
from sbert.checkpoint import load_checkpoint
from sbert.cross_encoder import CrossEncoder
from sbert.encoder import load_encoder, load_tokenizer
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.retrieval.index import load_index, save_index

ROOT = Path(__file__).resolve().parents[1]


class Bad:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Is there when something was run. That the pickle works is seen first."""
    pickle.loads(pickle.dumps(Bad(tmp_path / "proof")))
    assert (tmp_path / "proof").is_dir()
    return tmp_path / "ran"


@pytest.mark.parametrize("kind", ["encoder", "dense", "cross"])
def test_weights_are_never_unpickled(
    tiny_model_dir: Path, saved: Path, tmp_path: Path, marker: Path, kind: str
) -> None:
    if kind == "encoder":
        folder, place = shutil.copytree(tiny_model_dir, tmp_path / "encoder"), ""
    elif kind == "dense":
        folder, place = saved, "2_Dense"
    else:
        folder, place = save_tiny(tmp_path / "electra", "electra"), ""
    (folder / place / "model.safetensors").unlink()
    torch.save({"weight": Bad(marker)}, folder / place / "pytorch_model.bin")
    with pytest.raises(RunError):
        (CrossEncoder if kind == "cross" else modelWithPooling).from_pretrained(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"in_features": 10**7, "out_features": 10**7}, r"model.safetensors: the weights do not fit config\.json: linear\.weight is \(12, 32\), expected \(10000000, 10000000\)"),
        ({"out_features": 10**30}, r"linear\.weight is \(12, 32\), expected"),
        ({"out_features": 0}, "config.json: out_features 0; allowed: an integer of at least 1"),
        ({"in_features": "16"}, "in_features '16'; allowed"),
        ({"in_features": None}, "in_features None; allowed"),
        ({"bias": 1}, "bias 1; allowed: true or false"),
        ({"bias": False}, r"linear\.bias is \(12,\), expected nothing"),
        ({"activation_function": "os.system"}, "activation_function 'os.system'; allowed: torch.nn"),
        ({"activation_function": ["x"]}, r"activation_function \['x'\]; allowed"),
    ],
)  # fmt: skip
def test_a_dense_layer_is_what_its_weights_are(saved: Path, changes: dict[str, object], said: str) -> None:
    """The first would be 400 TB: nothing is made before the weights agree."""
    path = saved / "2_Dense/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(RunError, match=said) as error:
        modelWithPooling.from_pretrained(saved)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda w: w.to(torch.complex64), "is of torch.complex64"),
        (lambda w: w.long(), "is of torch.int64"),
        (lambda w: w.to("meta"), "is no plain tensor"),
        (lambda w: w.to_sparse(), "is no plain tensor"),
        (lambda w: torch.zeros(1).expand(w.shape), "is fewer numbers than its shape says"),
        (lambda w: w[:, :1], r"is \(12, 1\), expected \(12, 32\)"),
        (lambda w: w * torch.nan, "the weights hold numbers that are not finite"),
        (lambda w: [w], "is no plain tensor"),
    ],
)
def test_dense_weights_are_plain_numbers(
    saved: Path, spoil: Callable[[torch.Tensor], object], said: str
) -> None:
    """In the older file, which can hold all of these."""
    safe = saved / "2_Dense/model.safetensors"
    state = load_file(safe)
    torch.save({**state, "linear.weight": spoil(state["linear.weight"])}, saved / "2_Dense/pytorch_model.bin")
    safe.unlink()
    with pytest.raises(RunError, match=f"pytorch_model.bin: .*{said}"):
        modelWithPooling.from_pretrained(saved)
    torch.save([state], saved / "2_Dense/pytorch_model.bin")
    with pytest.raises(RunError, match=r"linear\.weight is missing"):
        modelWithPooling.from_pretrained(saved)


def test_an_electra_head_is_never_unpickled(tmp_path: Path, marker: Path) -> None:
    """It is read apart from the encoder, whose weights are whole here."""
    from sbert.cross_directory import _electra_head

    torch.save({"classifier.dense.weight": Bad(marker)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(RunError, match=r"pytorch_model\.bin: cannot be read"):
        _electra_head(tmp_path)
    assert not marker.exists()


def test_a_checkpoint_is_never_unpickled(tmp_path: Path, marker: Path) -> None:
    """Not even when its sha256 is right."""
    torch.save({"progress": Bad(marker)}, tmp_path / "state.pt")
    (tmp_path / "state.json").write_text(json.dumps({"sha256": sha256_of(tmp_path / "state.pt")}))
    with pytest.raises(RunError, match=r"state\.pt: not a checkpoint"):
        load_checkpoint(tmp_path, torch.device("cpu"))
    assert not marker.exists()


def test_an_index_of_objects_is_refused(tmp_path: Path, marker: Path) -> None:
    save_index(tmp_path / "index", np.ones((2, 3), dtype=np.float32), ["a", "b"], "f")
    path = tmp_path / "index/embeddings.npy"
    about = json.loads((tmp_path / "index/index.json").read_text())
    np.save(path, np.array([Bad(marker), Bad(marker)], dtype=object), allow_pickle=True)
    about["sha256"]["embeddings.npy"] = sha256_of(path)
    del about["index_sha256"]
    (tmp_path / "index/index.json").write_text(json.dumps(about))
    with pytest.raises(RunError, match=r"embeddings\.npy: short or damaged"):
        load_index(tmp_path / "index", None)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["embeddings.npy", "ids.json"])
def test_one_bit_of_an_index_is_noticed(tmp_path: Path, name: str) -> None:
    save_index(tmp_path / "index", np.ones((2, 3), dtype=np.float32), ["aa", "bb"], "f")
    path = tmp_path / "index" / name
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        RunError, match=rf"{name}: short or damaged: its sha256 is {sha256_of(path)}, index\.json says"
    ):
        load_index(tmp_path / "index", None)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_not_run_and_nobody_is_asked(
    tiny_model_dir: Path, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Mine: pass\n")
    values = json.loads((folder / file).read_text())
    classes = {
        "AutoConfig": "mine.Mine",
        "AutoModel": "mine.Mine",
        "AutoTokenizer": ["mine.Mine", "mine.Mine"],
    }
    values |= {"auto_map": classes, "model_type": "mine", "tokenizer_class": "Mine"}
    (folder / file).write_text(json.dumps(values))

    def asked(*a: object) -> str:
        pytest.fail("a question was asked")

    monkeypatch.setattr("builtins.input", asked)
    try:
        load_tokenizer(folder)
        load_encoder(folder)
    except RunError as error:
        assert "\n" not in str(error)
    else:
        assert file == "tokenizer_config.json"  # the tokenizer file needs no class of its own
    assert not (tmp_path / "ran").exists()


def test_no_loader_is_without_its_guard() -> None:
    """The source itself: torch.load says weights_only, np.load says allow_pickle=False, nobody trusts remote code."""
    found = 0
    for path in [
        *ROOT.glob("sbert/**/*.py"),
        *ROOT.glob("data/**/*.py"),
        *ROOT.glob("experiments/**/*.py"),
        ROOT / "train.py",
    ]:
        text = path.read_text(encoding="utf8")
        for call in re.findall(r"torch\.load\((?:[^()]|\([^()]*\))*\)", text):
            assert "weights_only=True" in call, f"{path}: {call}"
            found += 1
        for call in re.findall(r"np\.load\((?:[^()]|\([^()]*\))*\)", text):
            assert "allow_pickle=False" in call, f"{path}: {call}"
            found += 1
        for call in re.findall(r"(?:Auto\w+|auto_class)\.from_pretrained\((?:[^()]|\([^()]*\))*\)", text):
            assert "trust_remote_code=False" in call, f"{path}: {call}"
            found += 1
        assert not re.search(
            r"\b(pickle|marshal|shelve|dill)\.loads?\(|(?<![.\w])eval\(|extractall\(|yaml\.load\(", text
        ), path
    assert found >= 6


# ---------------------------------------------------------------- archives and sizes


@pytest.mark.parametrize("name", ["../member.txt", "/member.txt", "a/../../member.txt"])
@pytest.mark.parametrize("pack", [zipped, tar_gz])
def test_a_path_that_leaves_the_archive_is_refused(tmp_path: Path, name: str, pack) -> None:
    (tmp_path / "in").mkdir()
    archive = tmp_path / "in/a.bin"
    archive.write_bytes(pack({name: b"bad"}))
    with pytest.raises(DataError):
        read_member(archive, "member.txt")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.bin"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS")
def test_a_bomb_ends_in_one_line_and_in_bounded_memory(tmp_path: Path) -> None:
    """512 MiB of zeros in half a MiB of zip, read with a bound of 16 MiB, in 400 MiB of address space."""
    import zipfile

    with (
        zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("a.txt", "w") as member,
    ):
        block = bytes(1 << 24)
        for _ in range(32):
            member.write(block)
    assert (tmp_path / "bomb.zip").stat().st_size < 1 << 20
    code = f"""
import resource, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from data import download
download.LARGEST_MEMBER = 16 << 20
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
try:
    download.read_member(Path({str(tmp_path / "bomb.zip")!r}), "a.txt")
except download.DataError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("bomb.zip/a.txt: more than 16,777,216 bytes"), done.stderr


@pytest.mark.parametrize(
    "url", ["http://x.org/a", "ftp://x.org/a", "file:///etc/passwd", "HTTP://x.org/a", "//x.org/a", "a"]
)
def test_only_https_where_no_hash_is_known(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_transfer", lambda *a: pytest.fail("something was fetched"))
    with pytest.raises(DataError, match="only https is downloaded"):
        fetch(url, tmp_path / "a")
    if not url.lower().startswith("http:"):
        with pytest.raises(DataError, match="only https is downloaded"):
            fetch(url, tmp_path / "a", sha256="0" * 64)
    assert not list(tmp_path.iterdir())
