"""Values of the wrong kind in a model directory's JSON files: each answered with one line, none with a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sbert.errors import RunError
from sbert.model import modelWithPooling

CONFIG = "config_sentence_transformers.json"
LENGTH, POOLING, OWN = "sentence_bert_config.json", "1_Pooling/config.json", "sbert.json"
MEASURES = "null, cosine, dot, euclidean, manhattan"
MODES = "cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken"
COUNT = "null or an integer of at least 1"


def loaded_with(folder: Path, name: str, **values: Any) -> modelWithPooling:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf8")), **values}), encoding="utf8")
    return modelWithPooling.from_pretrained(folder)


WRONG: list[tuple[str, str, list[Any], str]] = [
    (CONFIG, "prompts", [["a"], "query", 3, {"query": 1}, {"query": None}, {"query": ["a"]}], "an object of strings"),
    (CONFIG, "default_prompt_name", ["query", 3, ["query"], {}, ""], "null"),
    (CONFIG, "similarity_fn_name", ["jaccard", 3, ["cosine"], {"cosine": 1}, ""], MEASURES),
    (CONFIG, "truncate_dim", ["8", 0, -1, 1.5, True, [8]], COUNT),
    (CONFIG, "truncate_dim", [13], "1 to 12, the model's dimensions"),
    (LENGTH, "max_seq_length", ["64", 0, -1, 2, 64.0, True, [64], {}], "null or an integer of at least 3"),
    (POOLING, "pooling_mode", [3, None, True, {"mean": 1}, [], ["mean", 3], [["mean"]]], f"one or more of {MODES}"),
    (POOLING, "pooling_mode", ["median", ""], MODES),
    (OWN, "trained_on", ["stsb-train", 3, None, {"stsb-train": 1}, [1], [["stsb-train"]]], "a list of names of data sets"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "key", "value", "allowed"),
    [(name, key, value, allowed) for name, key, values, allowed in WRONG for value in values],
)
def test_the_file_the_key_the_value_and_what_is_allowed(
    saved: Path, name: str, key: str, value: Any, allowed: str
) -> None:
    with pytest.raises(RunError) as caught:
        loaded_with(saved, name, **{key: value})
    assert str(caught.value) == f"{saved / name}: {key} {value!r}; allowed: {allowed}"


def test_a_default_prompt_that_there_is_not(saved: Path) -> None:
    with pytest.raises(RunError) as caught:
        loaded_with(saved, CONFIG, prompts={"query": "a", "document": "b"}, default_prompt_name="passage")
    assert str(caught.value) == (
        f"{saved / CONFIG}: default_prompt_name 'passage'; allowed: null, document, query"
    )


NULLS = {"prompts": None, "default_prompt_name": None, "similarity_fn_name": None, "truncate_dim": None}


def test_null_means_nothing_said(saved: Path) -> None:
    expected = modelWithPooling.from_pretrained(saved).description
    found = loaded_with(saved, CONFIG, **NULLS).description
    assert (found.prompts, found.default_prompt, found.similarity) == ({}, None, "cosine")
    assert found.truncate_dim is expected.truncate_dim is None
    assert loaded_with(saved, LENGTH, max_seq_length=None).description.max_length is None


def test_good_values_are_taken(saved: Path) -> None:
    loaded_with(saved, LENGTH, max_seq_length=3)
    loaded_with(saved, POOLING, pooling_mode="max")
    loaded_with(saved, OWN, trained_on=["stsb-train"])
    model = loaded_with(
        saved,
        CONFIG,
        prompts={"q": "the "},
        default_prompt_name="q",
        similarity_fn_name="dot",
        truncate_dim=12,
    )
    said = model.description
    assert (said.max_length, said.pooling, model.facts["trained_on"]) == (3, ("max",), ["stsb-train"])
    assert (said.prompts, said.default_prompt, said.similarity) == ({"q": "the "}, "q", "dot")
    assert said.truncate_dim == model.width == 12


def test_tokenizer_config_without_a_vocabulary(tiny_model_dir: Path, tmp_path: Path) -> None:
    """What is left when the one large file was not copied."""
    folder = tmp_path / "m"
    shutil.copytree(tiny_model_dir, folder)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(RunError) as caught:
        modelWithPooling.from_pretrained(folder)
    assert str(caught.value) == (
        f"{folder}: the tokenizer has no vocabulary, only special tokens (looked for tokenizer.json, vocab.txt)"
    )
