"""Two towers: questions by one encoder, passages by the other, as the peer has it, and through training."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_models import WIDTH
from tiny_towers import PROMPTS, shift, write_towers
from train_process import contents

from sbert.encode import pad
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.towers import TwoTowers, load_bi_encoder

GOLDEN = Path(__file__).parent / "golden" / "towers"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/expected.json"))
TEXTS = ["A man is playing.", "아이가 물을 마신다", "the child eats", ""]


def vectors(model: TwoTowers | modelWithPooling) -> tuple[np.ndarray, np.ndarray]:
    return model.encode_query(TEXTS), model.encode_document(TEXTS)


@pytest.fixture(scope="module")
def written(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_towers(tiny_model_dir, tmp_path_factory.mktemp("towers") / "model")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy of ``written``, to be damaged."""
    shutil.copytree(written, tmp_path / "model")
    return tmp_path / "model"


# ---------------------------------------------------------------- sentence-transformers


def test_there_is_a_golden_case_and_it_is_small() -> None:
    assert "two_towers" in CASES
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 100_000


@pytest.mark.parametrize("case", CASES)
def test_encodes_as_the_peer_does(case: str) -> None:
    """expected.json has what a SentenceTransformer made of the directory (tests/golden/towers/make_towers.py)."""
    expected = json.loads((GOLDEN / case / "expected.json").read_text(encoding="utf8"))
    towers = load_bi_encoder(GOLDEN / case / "model")
    query, document = np.array(expected["query"]), np.array(expected["document"])
    assert np.abs(query - document).max() > 0.1  # a tower taken for the other would show
    np.testing.assert_allclose(towers.encode_query(expected["texts"]), query, rtol=0, atol=1e-6)
    np.testing.assert_allclose(towers.encode_document(expected["texts"]), document, rtol=0, atol=1e-6)
    assert towers.description.similarity == expected["similarity"] == "dot"


@pytest.mark.parametrize("case", CASES)
def test_writes_what_the_peer_has_read(case: str, tmp_path: Path) -> None:
    TwoTowers.from_pretrained(GOLDEN / case / "model").save_pretrained(tmp_path / "again")
    old, new = GOLDEN / case / "model", tmp_path / "again"
    assert contents(new).keys() == contents(old).keys()
    for name in ("modules.json", "router_config.json", "query/modules.json", "document/modules.json"):
        assert (new / name).read_text(encoding="utf8") == (old / name).read_text(encoding="utf8"), name


def test_the_routes_are_the_modules_of_the_towers_where_they_are(written: Path) -> None:
    router = json.loads((written / "router_config.json").read_text(encoding="utf8"))
    parts = ["", "/1_Pooling", "/2_Dense", "/3_Normalize"]
    assert router["structure"] == {tower: [tower + part for part in parts] for tower in ("query", "document")}
    assert router["types"]["document/2_Dense"] == "sentence_transformers.models.Dense"
    assert all((written / path).is_dir() for path in router["types"])
    root = json.loads((written / "config_sentence_transformers.json").read_text(encoding="utf8"))
    assert root["prompts"] == PROMPTS and root["default_prompt_name"] == "query"


# ---------------------------------------------------------------- vectors


def test_questions_by_one_tower_passages_by_the_other(written: Path) -> None:
    towers = load_bi_encoder(written)
    assert isinstance(towers, TwoTowers)
    query, document = (modelWithPooling.from_pretrained(written / name) for name in ("query", "document"))
    np.testing.assert_array_equal(towers.encode_query(TEXTS), query.encode_query(TEXTS))
    np.testing.assert_array_equal(towers.encode_document(TEXTS), document.encode_document(TEXTS))
    assert np.abs(query.encode_query(TEXTS) - document.encode_query(TEXTS)).max() > 0.01
    np.testing.assert_array_equal(
        towers.encode_query("the child", prompt=""), query.encode("the child", prompt="")
    )
    assert np.abs(towers.encode_query("the child") - towers.encode_query("the child", prompt="")).max() > 0.01
    assert towers.encode_document("the child", truncate_dim=5).shape == (5,)


def test_encode_does_not_guess_a_tower(written: Path) -> None:
    with pytest.raises(RunError, match=r"encode_query\(\) for questions, encode_document\(\) for passages$"):
        TwoTowers.from_pretrained(written).encode(["A man is playing."], precision="fp32")


def test_similarity_is_one_setting_for_both(folder: Path) -> None:
    towers = TwoTowers.from_pretrained(folder)
    q, d = [[3.0, 4.0]], [[6.0, 8.0], [4.0, -3.0]]
    assert towers.similarity(q, d).tolist() == [pytest.approx([1.0, 0.0], abs=1e-6)]
    towers.description.similarity = "dot"
    assert towers.similarity(q, d).tolist() == [[50.0, 0.0]]
    assert (
        towers.query.similarity(q, d).tolist() == towers.document.similarity(q, d).tolist() == [[50.0, 0.0]]
    )
    towers.save_pretrained(folder)
    for place in (folder, folder / "query", folder / "document"):
        values = json.loads((place / "config_sentence_transformers.json").read_text(encoding="utf8"))
        assert values["similarity_fn_name"] == "dot"
    assert TwoTowers.from_pretrained(folder).description.similarity == "dot"


# ---------------------------------------------------------------- the start, training, state


def test_two_copies_of_one_start_are_equal_and_apart(tiny_model_dir: Path) -> None:
    towers = TwoTowers.from_start(tiny_model_dir, max_length=9, normalize=True)
    query, document = vectors(towers)
    np.testing.assert_array_equal(query, document)
    np.testing.assert_allclose(np.linalg.norm(query, axis=1), 1, atol=1e-6)
    assert (towers.width, towers.max_length, towers.device.type) == (WIDTH, 9, "cpu")
    shift(towers.query)
    np.testing.assert_array_equal(towers.encode_document(TEXTS), document)
    assert np.abs(towers.encode_query(TEXTS) - query).max() > 0.01


def test_a_loss_reaches_the_tower_it_went_through(written: Path) -> None:
    towers = TwoTowers.from_pretrained(written)
    towers.query(**pad([[2, 9, 3], [2, 3]], 0))["sentence_embedding"].sum().backward()
    assert all(parameter.grad is None for parameter in towers.document.parameters())
    assert any(parameter.grad is not None for parameter in towers.query.parameters())
    towers.zero_grad()
    towers.document(**pad([[2, 9, 3], [2, 3]], 0))["sentence_embedding"].sum().backward()
    assert all(parameter.grad is None for parameter in towers.query.parameters())
    assert any(parameter.grad is not None for parameter in towers.document.parameters())


def test_state_dict_round_trip(written: Path, tiny_model_dir: Path) -> None:
    towers = TwoTowers.from_pretrained(written)
    state = towers.state_dict()
    assert {name.split(".")[0] for name in state} == {"query", "document"}
    assert len(state) == 2 * len(towers.query.state_dict())
    other = TwoTowers.from_pretrained(written)
    shift(other.query, 1)
    shift(other.document, 2)
    other.load_state_dict(state)
    for ours, theirs in zip(vectors(towers), vectors(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_train_and_eval_reach_both_and_encoding_restores_them(written: Path) -> None:
    towers = TwoTowers.from_pretrained(written)
    assert not any(module.training for module in towers.modules())
    before = vectors(towers)
    towers.train()
    assert all(module.training for module in towers.modules())
    for ours, theirs in zip(before, vectors(towers), strict=True):
        np.testing.assert_array_equal(ours, theirs)  # dropout is off while encoding
    assert all(module.training for module in towers.modules())


def test_a_copy_is_still_one_model(written: Path) -> None:
    towers = copy.deepcopy(TwoTowers.from_pretrained(written))
    towers.description.similarity = "dot"
    towers.facts["trained_on"] = ["klue-sts-train"]
    assert towers.query.description.similarity == "dot"
    assert towers.query.facts["trained_on"] == ["klue-sts-train"]


def test_max_length_is_of_both(written: Path) -> None:
    towers = TwoTowers.from_pretrained(written)
    assert (towers.max_length, towers.query.max_length) == (20, 20)
    towers.max_length = 7
    assert (towers.query.max_length, towers.document.max_length) == (7, 7)
    towers = TwoTowers.from_pretrained(written, max_length=11)
    assert (towers.query.max_length, towers.document.max_length) == (11, 11)
    with pytest.raises(RunError, match="has 64 positions"):
        towers.max_length = 65
