"""Model directories: what is written, what survives a round trip, and what a damaged one is answered with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import POSITIONS, WIDTH, tiny_model
from train_process import contents

from heads.embedding import Dense, Normalize
from sbert.directory import POOLING_NAMES, Description
from sbert.encoder import load_encoder
from sbert.model import modelWithPooling

TEXTS = ["A man is playing the guitar.", "고양이가 창가에 앉아 있다.", "the park"]
RELU = "torch.nn.modules.activation.ReLU"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf8"))


# ---------------------------------------------------------------- what is written


def test_every_file_is_there(saved: Path) -> None:
    assert read(saved / "modules.json") == [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        {"idx": 3, "name": "3", "path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    pooling = read(saved / "1_Pooling/config.json")
    assert pooling.pop("word_embedding_dimension") == WIDTH
    assert pooling.pop("include_prompt") is True
    assert pooling == {old: old == "pooling_mode_mean_tokens" for _, old in POOLING_NAMES.values()}
    assert read(saved / "2_Dense/config.json") == {
        "in_features": WIDTH,
        "out_features": 12,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    assert sorted(load_file(saved / "2_Dense/model.safetensors")) == ["linear.bias", "linear.weight"]
    assert (saved / "3_Normalize").is_dir()
    assert read(saved / "sentence_bert_config.json") == {"max_seq_length": POSITIONS, "do_lower_case": False}
    assert read(saved / "tokenizer_config.json")["model_max_length"] == POSITIONS
    about = read(saved / "config_sentence_transformers.json")
    assert (about["prompts"], about["default_prompt_name"], about["similarity_fn_name"]) == (
        {},
        None,
        "cosine",
    )
    assert set(about["__version__"]) == {"sentence_transformers", "transformers", "pytorch"}
    own = read(saved / "sbert.json")
    assert (own["format"], own["arch"], own["pooling"], own["layers"]) == (
        1,
        "bi",
        ["mean"],
        ["Dense", "Normalize"],
    )
    assert (own["max_length"], own["similarity"]) == (POSITIONS, "cosine")
    assert read(saved / "config.json")["model_type"] == "bert"
    assert {"model.safetensors", "tokenizer.json"} <= {path.name for path in saved.iterdir()}


def test_a_shorter_limit_stands_everywhere_it_is_read(tiny_model_dir: Path, tmp_path: Path) -> None:
    modelWithPooling.from_pretrained(tiny_model_dir, max_length=9).save_pretrained(tmp_path / "m")
    assert read(tmp_path / "m/sentence_bert_config.json")["max_seq_length"] == 9
    assert read(tmp_path / "m/tokenizer_config.json")["model_max_length"] == 9
    again = modelWithPooling.from_pretrained(tmp_path / "m")
    assert again.max_length == 9
    assert again.encode("the " * 30).tolist() == again.encode("the " * 7).tolist()
    (tmp_path / "m/sentence_bert_config.json").unlink()  # newer directories have the tokenizer's only
    assert modelWithPooling.from_pretrained(tmp_path / "m").max_length == 9


def test_nothing_else_is_left_beside_it(whole: Path) -> None:
    assert [path.name for path in whole.parent.iterdir()] == ["model"]


def test_saving_twice_gives_the_same_bytes(saved: Path) -> None:
    before = contents(saved)
    modelWithPooling.from_pretrained(saved).save_pretrained(saved.parent / "again")
    modelWithPooling.from_pretrained(saved.parent / "again").save_pretrained(saved)
    after = contents(saved)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} <= {"sbert.json"}


# ---------------------------------------------------------------- round trips


def survives(model: modelWithPooling, folder: Path) -> modelWithPooling:
    model.save_pretrained(folder)
    again = modelWithPooling.from_pretrained(folder)
    np.testing.assert_allclose(again.encode(TEXTS), model.encode(TEXTS), rtol=0, atol=1e-6)
    assert again.width == model.width == model.encode(TEXTS).shape[1]
    return again


@pytest.mark.parametrize("pooling", POOLING_NAMES)
def test_each_pooling(tiny_model_dir: Path, tmp_path: Path, pooling: str) -> None:
    model = survives(tiny_model(tiny_model_dir, pooling), tmp_path / "m")
    assert model.description.pooling == (pooling,)


@pytest.mark.parametrize(
    "pooling", [("cls", "mean"), ("mean", "cls"), ("max", "mean", "last"), ("last", "max", "cls")]
)
def test_concatenated_pooling_keeps_its_order(tiny_model_dir: Path, tmp_path: Path, pooling: tuple) -> None:
    model = survives(tiny_model(tiny_model_dir, pooling), tmp_path / "m")
    assert model.description.pooling == pooling and model.width == len(pooling) * WIDTH
    parts = [tiny_model(tiny_model_dir, mode).encode(TEXTS) for mode in pooling]
    np.testing.assert_allclose(model.encode(TEXTS), np.concatenate(parts, axis=1), rtol=0, atol=1e-6)
    canonical = list(pooling) == [mode for mode in POOLING_NAMES if mode in pooling]
    assert ("pooling_mode" in read(tmp_path / "m/1_Pooling/config.json")) is not canonical


@pytest.mark.parametrize("bias", [True, False])
def test_dense_and_normalize(tiny_model_dir: Path, tmp_path: Path, bias: bool) -> None:
    torch.manual_seed(1)
    layers = [Dense(WIDTH, 20, bias, RELU), Dense(20, 7, bias), Normalize()]
    model = survives(tiny_model(tiny_model_dir, layers=layers), tmp_path / "m")
    np.testing.assert_allclose(np.linalg.norm(model.encode(TEXTS), axis=1), 1, atol=1e-6)
    assert model.width == 7
    first = model.layers[0]
    assert isinstance(first, Dense) and first.activation_name == RELU
    assert (first.linear.bias is not None) is bias


def test_normalize_can_be_added_and_dropped(saved: Path, tiny_model_dir: Path) -> None:
    dropped = modelWithPooling.from_pretrained(saved, normalize=False)
    assert [type(layer) for layer in dropped.layers] == [Dense]
    added = modelWithPooling.from_pretrained(tiny_model_dir, normalize=True).encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(added, axis=1), 1, atol=1e-6)


def test_dense_in_the_older_weight_file(saved: Path) -> None:
    expected = modelWithPooling.from_pretrained(saved).encode(TEXTS)
    weights = saved / "2_Dense/model.safetensors"
    torch.save(load_file(weights), saved / "2_Dense/pytorch_model.bin")
    weights.unlink()
    np.testing.assert_array_equal(modelWithPooling.from_pretrained(saved).encode(TEXTS), expected)


def test_dense_weights_of_another_precision(saved: Path) -> None:
    weights = saved / "2_Dense/model.safetensors"
    exact = load_file(weights)
    save_file({name: value.half() for name, value in exact.items()}, weights)
    layer = modelWithPooling.from_pretrained(saved).layers[0]
    assert isinstance(layer, Dense) and {p.dtype for p in layer.parameters()} == {torch.float32}
    torch.testing.assert_close(dict(layer.state_dict()), exact, rtol=1e-3, atol=1e-4)
    assert all(p.requires_grad for p in layer.parameters())


@pytest.mark.parametrize("include", [True, False])
def test_prompts(tiny_model_dir: Path, tmp_path: Path, include: bool) -> None:
    prompts = {"query": "the man: ", "document": "", "질문": "고양이: "}
    model = survives(
        tiny_model(tiny_model_dir, prompts=prompts, default_prompt="질문", include_prompt=include),
        tmp_path / "m",
    )
    assert (model.description.prompts, model.description.default_prompt) == (prompts, "질문")
    assert model.description.include_prompt is include
    np.testing.assert_array_equal(model.encode(TEXTS), model.encode(TEXTS, prompt_name="질문"))
    np.testing.assert_array_equal(model.encode_document(TEXTS), model.encode(TEXTS, prompt=""))
    np.testing.assert_array_equal(model.encode_query(TEXTS), model.encode(TEXTS, prompt="the man: "))
    if include:
        plain = tiny_model(tiny_model_dir).encode(["the man: " + text for text in TEXTS])
        np.testing.assert_allclose(model.encode_query(TEXTS), plain, atol=1e-6)
    assert np.abs(model.encode_query(TEXTS) - model.encode_document(TEXTS)).max() > 1e-3
    with pytest.raises(ValueError, match="prompt_name 'passage': this model has"):
        model.encode(TEXTS, prompt_name="passage")


@pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarity(tiny_model_dir: Path, tmp_path: Path, similarity: str) -> None:
    model = survives(tiny_model(tiny_model_dir, similarity=similarity), tmp_path / "m")
    u, v = np.array([[1.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 2.0]])
    expected = {"cosine": [1, 0], "dot": [3, 0], "euclidean": [-2, -(5**0.5)], "manhattan": [-2, -3]}
    np.testing.assert_allclose(model.similarity(u, v)[0], expected[similarity], atol=1e-5)


def test_similarity_of_tensors(tiny_model_dir: Path) -> None:
    """With a gradient, in half precision, of another kind than the other side, one vector or many."""
    model = tiny_model(tiny_model_dir)
    u, v = torch.tensor([[1.0, 0.0]], requires_grad=True), np.array([[3.0, 0.0], [0.0, 2.0]])
    for left in (u, u[0], u.bfloat16(), u.double(), u.tolist(), [[1, 0]]):
        for right in (v, torch.tensor(v), v.tolist()):
            found = model.similarity(left, right)
            assert found.dtype == torch.float32 and not found.requires_grad
            assert found.tolist() == [[1.0, 0.0]]


@pytest.mark.gpu
def test_similarity_of_tensors_on_the_gpu(tiny_model_dir: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    u = torch.tensor([[1.0, 0.0]], device="cuda", requires_grad=True)
    assert tiny_model(tiny_model_dir).similarity(u, u).tolist() == [[1.0]]


def test_the_callers_description_is_copied(tiny_model_dir: Path) -> None:
    given = Description(layers=[Normalize()], prompts={"query": "a"}, max_length=9)
    first = modelWithPooling(load_encoder(tiny_model_dir), "max", description=given)
    second = modelWithPooling(load_encoder(tiny_model_dir), ["cls", "mean"], description=given)
    first.max_length = 5
    first.description.prompts["document"] = "b"
    first.description.layers.append(Normalize())
    assert (given.pooling, given.prompts, given.max_length) == (("mean",), {"query": "a"}, 9)
    assert len(given.layers) == len(second.layers) == len(second.description.layers) == 1
    assert (first.description.pooling, second.description.pooling) == (("max",), ("cls", "mean"))
    assert second.max_length == 9


def test_what_a_model_was_trained_on_survives(tiny_model_dir: Path, tmp_path: Path) -> None:
    """The marks of sets that share rows with the training data depend on it."""
    model = modelWithPooling.from_pretrained(tiny_model_dir)
    model.facts["trained_on"] = ["stsb-train"]
    again = survives(model, tmp_path / "m")
    assert again.facts.get("trained_on") == ["stsb-train"]
