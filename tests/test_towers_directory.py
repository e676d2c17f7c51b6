"""The directory of two towers: saved, loaded, replaced, refused; and its fingerprint."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_models import WIDTH, save_tiny, tiny_cross, tiny_model
from tiny_towers import PROMPTS, shift, write_towers
from train_process import contents

import sbert.directory
from heads.embedding import Dense
from sbert.encoder import load_encoder
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.retrieval.index import fingerprint_of
from sbert.towers import TwoTowers, load_bi_encoder, towers_fingerprint


@pytest.fixture(scope="module")
def written(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_towers(tiny_model_dir, tmp_path_factory.mktemp("towers") / "model")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of ``written``, to be damaged."""
    shutil.copytree(written, tmp_path / "model")
    return tmp_path / "model"


# ---------------------------------------------------------------- directories


def test_saved_and_loaded_is_the_same(written: Path, tmp_path: Path) -> None:
    towers = TwoTowers.from_pretrained(written)
    assert towers.facts == {"source": "tiny", "num_layers": None, "trained_on": ["squad-train"]}
    assert towers.tokenizer is not None and towers.tokenizer.get_vocab()
    assert json.loads((written / "sbert.json").read_text(encoding="utf8")) == {
        "format": 1,
        "arch": "bi",
        "towers": "separate",
        **towers.facts,
    }
    towers.save_pretrained(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(written)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_facts_set_after_loading_are_written_for_every_tower(folder: Path) -> None:
    towers = TwoTowers.from_pretrained(folder)
    towers.facts["trained_on"] = [*towers.facts["trained_on"], "korquad-train"]  # as a training stage does
    towers.save_pretrained(folder)
    for place in (folder, folder / "query", folder / "document"):
        values = json.loads((place / "sbert.json").read_text(encoding="utf8"))
        assert values["trained_on"] == ["squad-train", "korquad-train"], place
    towers.facts = {"source": "other"}
    assert towers.query.facts is towers.document.facts is towers.facts


def test_towers_trained_on_different_sets_remember_both(tiny_model_dir: Path) -> None:
    query, document = (modelWithPooling.from_pretrained(tiny_model_dir) for _ in range(2))
    query.facts["trained_on"], document.facts["trained_on"] = ["squad-train", "stsb-train"], ["squad-train"]
    assert TwoTowers(query, document).facts["trained_on"] == ["squad-train", "stsb-train"]


def test_load_bi_encoder_takes_what_is_there(written: Path, tiny_model_dir: Path) -> None:
    assert type(load_bi_encoder(written, max_length=8)) is TwoTowers
    one = load_bi_encoder(tiny_model_dir, max_length=8)
    assert type(one) is modelWithPooling and one.max_length == 8
    assert type(load_bi_encoder(written / "query")) is modelWithPooling


def test_one_encoder_is_not_read_from_two(written: Path) -> None:
    with pytest.raises(RunError, match="two towers") as caught:
        modelWithPooling.from_pretrained(written)
    assert str(caught.value).startswith(str(written)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["query", "document"])
@pytest.mark.parametrize("load", [TwoTowers.from_pretrained, load_bi_encoder])
def test_a_missing_tower(folder: Path, missing: str, load: Any) -> None:
    shutil.rmtree(folder / missing)
    with pytest.raises(RunError) as caught:
        load(folder)
    assert str(caught.value) == (
        f"{folder}: no {missing}/ in it; two towers are query/ and document/, each a model directory"
    )


def test_one_encoder_is_not_two(tiny_model_dir: Path) -> None:
    with pytest.raises(RunError, match=r"no query/ in it; two towers are"):
        TwoTowers.from_pretrained(tiny_model_dir)


def test_a_cross_encoder_is_not_two_towers(tiny_model_dir: Path, folder: Path, tmp_path: Path) -> None:
    tiny_cross(tiny_model_dir).save_pretrained(tmp_path / "cross")
    for load in (TwoTowers.from_pretrained, load_bi_encoder):
        with pytest.raises(RunError, match=r"/cross: holds a cross-encoder"):
            load(tmp_path / "cross")
    shutil.rmtree(folder / "query")
    shutil.copytree(tmp_path / "cross", folder / "query")
    with pytest.raises(RunError, match=r"model/query: holds a cross-encoder"):
        load_bi_encoder(folder)


def replace(folder: Path, tiny_model_dir: Path, **options: Any) -> None:
    """Puts another encoder where the query tower was."""
    shutil.rmtree(folder / "query")
    wanted = {"prompts": PROMPTS, "default_prompt": "query", "max_length": 20, **options}
    tiny_model(tiny_model_dir, wanted.pop("pooling", "mean"), **wanted).save_pretrained(folder / "query")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the query tower has 32 dimensions, the document tower 12: their vectors cannot be compared"),
        ({"pooling": "cls"}, "the query tower's pooling is ('cls',), the document tower's ('mean',)"),
        ({"similarity": "dot"}, "the query tower's similarity is 'dot', the document tower's 'cosine'"),
        ({"max_length": 10}, "the query tower's max_length is 10, the document tower's 20"),
        ({"default_prompt": None}, "the query tower's default_prompt is None, the document tower's 'query'"),
    ],
)
def test_towers_that_do_not_go_together(
    folder: Path, tiny_model_dir: Path, options: dict[str, Any], message: str
) -> None:
    if options:
        options = {"layers": [Dense(WIDTH, 12)], **options}
    replace(folder, tiny_model_dir, **options)
    with pytest.raises(RunError) as caught:
        load_bi_encoder(folder)
    assert str(caught.value) == f"{folder}: {message}"


def test_towers_that_tokenize_differently(tiny_model_dir: Path, tmp_path: Path) -> None:
    roberta = modelWithPooling.from_pretrained(save_tiny(tmp_path / "roberta", "roberta"))
    with pytest.raises(ValueError, match="tokenizer has another vocabulary"):
        TwoTowers(roberta, modelWithPooling.from_pretrained(tiny_model_dir))


def test_one_encoder_given_twice(tiny_model_dir: Path) -> None:
    model = modelWithPooling(load_encoder(tiny_model_dir))
    with pytest.raises(ValueError, match="share weights"):
        TwoTowers(model, model)


@pytest.mark.parametrize("failing_call", [2, 9])  # of 6 in query/, then 6 in document/
def test_a_full_disk_leaves_the_old_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    before, calls = contents(folder.parent), 0
    genuine = sbert.directory._write_json

    def write_json(path: Path, value: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == failing_call:
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(path, value)

    towers = TwoTowers.from_pretrained(folder)
    shift(towers.document)
    monkeypatch.setattr(sbert.directory, "_write_json", write_json)
    with pytest.raises(RunError, match="cannot be saved: No space left on device"):
        towers.save_pretrained(folder)
    assert contents(folder.parent) == before
    monkeypatch.undo()
    towers.save_pretrained(folder)
    after = contents(folder)
    changed = {name for name in after if after[name] != before[f"model/{name}"]}
    assert changed == {"document/model.safetensors", "document/2_Dense/model.safetensors"}


def test_a_directory_of_other_things_is_not_replaced(written: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other things"):
        TwoTowers.from_pretrained(written).save_pretrained(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


# ---------------------------------------------------------------- fingerprints


def test_the_fingerprint_is_of_both_towers(folder: Path, tmp_path: Path) -> None:
    before, index = towers_fingerprint(folder), fingerprint_of(folder / "document")
    both = f"{fingerprint_of(folder / 'query')} {index}"
    assert before == hashlib.sha256(both.encode()).hexdigest()
    shutil.copytree(folder, tmp_path / "moved")
    assert towers_fingerprint(tmp_path / "moved") == before
    assert towers_fingerprint(folder, max_length=8) != before

    towers = TwoTowers.from_pretrained(folder)
    towers.facts["trained_on"] = []
    towers.save_pretrained(folder)
    assert towers_fingerprint(folder) == before
    shift(towers.query)
    towers.save_pretrained(folder)
    trained = towers_fingerprint(folder)
    assert trained != before and fingerprint_of(folder / "document") == index  # the index is still good
    shift(towers.document)
    towers.save_pretrained(folder)
    assert towers_fingerprint(folder) not in (before, trained)
    assert fingerprint_of(folder / "document") != index


def test_exchanged_towers_have_another_fingerprint(folder: Path) -> None:
    before = towers_fingerprint(folder)
    (folder / "query").rename(folder / "other")
    (folder / "document").rename(folder / "query")
    (folder / "other").rename(folder / "document")
    assert towers_fingerprint(folder) != before


def test_no_fingerprint_without_a_tower(folder: Path) -> None:
    shutil.rmtree(folder / "query")
    with pytest.raises(RunError, match=r"query: no weights"):
        towers_fingerprint(folder)
