"""Directories of cross-encoders that others edited, that are damaged, or whose saving fails: one line, nothing lost."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import save_tiny, tiny_cross
from train_process import contents

import sbert.cross_directory
import sbert.cross_encoder
from sbert.cross_directory import read_cross
from sbert.cross_encoder import SIGMOID, CrossEncoder
from sbert.errors import RunError

TANH = "torch.nn.modules.activation.Tanh"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved cross-encoders: classificationHead on BERT and on ELECTRA, and BERT's own head."""
    folder = tmp_path_factory.mktemp("whole")
    for name, family, head in (
        ("bert", "bert", "classification"),
        ("electra", "electra", "classification"),
        ("native", "bert", "native"),
    ):
        tiny_cross(save_tiny(folder / f"{name}-encoder", family), head).save_pretrained(folder / name)
    return {path.name: path for path in folder.iterdir() if not path.name.endswith("-encoder")}


@pytest.fixture
def copy(whole: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """``copy(name)``: one of ``whole``, to be damaged."""
    return lambda name: Path(shutil.copytree(whole[name], tmp_path / name))


def edit(path: Path, **values: Any) -> None:
    """Sets keys of a JSON file, drops those that are ``...``; a file that is not there starts empty."""
    found = json.loads(path.read_text("utf8")) if path.exists() else {}
    kept = {key: value for key, value in {**found, **values}.items() if value is not ...}
    path.write_text(json.dumps(kept), "utf8")


# ---------------------------------------------------------------- the activation, from three places

CONFIG = "config_sentence_transformers.json"


@pytest.mark.parametrize("name", ["bert", "native"])
@pytest.mark.parametrize("spelling", [TANH, "torch.nn.Tanh"])
def test_where_the_activation_is_found(copy: Callable[[str], Path], name: str, spelling: str) -> None:
    """config_sentence_transformers.json, then config.json, then its key of older versions, then the default."""
    directory = copy(name)

    def found() -> str | None:
        activation = read_cross(directory).activation
        return activation and activation.rsplit(".", 1)[-1]

    config, old = directory / "config.json", "sbert_ce_default_activation_function"
    edit(config, sentence_transformers=...)
    assert found() is None and CrossEncoder.from_pretrained(directory).activation == SIGMOID
    edit(config, **{old: spelling})
    assert found() == "Tanh" and CrossEncoder.from_pretrained(directory).activation == TANH
    edit(config, **{old: "torch.nn.ReLU"}, sentence_transformers={"activation_fn": spelling})
    assert found() == "Tanh"
    edit(config, sentence_transformers={"activation_fn": "torch.nn.GELU"})
    edit(directory / CONFIG, model_type="CrossEncoder", activation_fn=spelling)
    assert found() == "Tanh"
    edit(directory / CONFIG, activation_fn=None)
    assert found() == "GELU"
    edit(config, sentence_transformers="4.0")
    assert found() == "ReLU"


@pytest.mark.parametrize(
    "file, values",
    [
        ("config.json", {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Softmax"}}),
        ("config.json", {"sentence_transformers": ..., "sbert_ce_default_activation_function": "os.system"}),
        (CONFIG, {"activation_fn": "mine.Sigmoidal"}),
    ],
)
def test_an_unknown_activation(copy: Callable[[str], Path], file: str, values: dict[str, Any]) -> None:
    directory = copy("bert")
    edit(directory / file, **values)
    refused(directory, directory / file, "activation '.*'; allowed: torch.nn.modules.linear.Identity, ")


# ---------------------------------------------------------------- damage


def refused(directory: Path, file: Path, reason: str, **options: Any) -> None:
    """Loading ends in one line that names the file."""
    with pytest.raises(RunError, match=reason) as caught:
        CrossEncoder.from_pretrained(directory, **options)
    message = str(caught.value)
    assert message.startswith(str(file)) and "\n" not in message


@pytest.mark.parametrize(
    "key, value",
    [
        ("head", "linear"),
        ("head", None),
        ("head", ["native"]),
        ("num_labels", 0),
        ("num_labels", "1"),
        ("num_labels", True),
        ("num_labels", None),
        ("max_length", "64"),
        ("max_length", 0),
        ("max_length", True),
        ("max_length", 2.5),
        ("trained_on", "stsb"),
        ("trained_on", [1]),
    ],
)
def test_bad_values_in_sbert_json(copy: Callable[[str], Path], key: str, value: Any) -> None:
    directory = copy("bert")
    edit(directory / "sbert.json", **{key: value})
    refused(directory, directory / "sbert.json", rf"/sbert.json: {key} .*; allowed: ")


def test_sbert_json_decides_on_the_length(copy: Callable[[str], Path]) -> None:
    """Its number, whatever the tokenizer's file says; without one, the tokenizer's."""
    directory = copy("bert")
    edit(directory / "tokenizer_config.json", model_max_length=30)
    for in_file, given, expected in (
        (20, None, 20),
        (40, None, 40),
        (20, 50, 50),
        (None, None, 30),
        (..., None, 30),
    ):
        edit(directory / "sbert.json", max_length=in_file)
        assert CrossEncoder.from_pretrained(directory, max_length=given).max_length == expected


def test_sbert_json_that_is_no_object(copy: Callable[[str], Path]) -> None:
    directory = copy("bert")
    for text, reason in (("{", "not a JSON file"), ("[]", "holds a list, expected a dict")):
        (directory / "sbert.json").write_text(text)
        refused(directory, directory / "sbert.json", reason)


@pytest.mark.parametrize("value", ["three", -1, 0, [1]])
def test_a_bad_number_of_labels_in_config_json(copy: Callable[[str], Path], value: Any) -> None:
    directory = copy("native")
    (directory / "sbert.json").unlink()
    edit(directory / "config.json", num_labels=value)
    refused(directory, directory / "config.json", "num_labels .*; allowed: 1 or more")


def test_no_config(copy: Callable[[str], Path]) -> None:
    directory = copy("bert")
    (directory / "config.json").unlink()
    refused(directory, directory / "config.json", "no such file")


def test_a_missing_head(copy: Callable[[str], Path]) -> None:
    """Never scores with random numbers, and never trains on from them in silence."""
    directory = copy("bert")
    (directory / "head" / "model.safetensors").unlink()
    for labels in (None, 3):
        refused(directory, directory / "head" / "model.safetensors", "no such file", num_labels=labels)
    assert CrossEncoder.from_pretrained(directory, head="native").fresh == ["classifier"]


@pytest.mark.parametrize("size", [0, 4, 200, -8])
@pytest.mark.parametrize("name, file", [("bert", "head/model.safetensors"), ("electra", "model.safetensors")])
def test_a_truncated_head(copy: Callable[[str], Path], name: str, file: str, size: int) -> None:
    directory = copy(name)
    data = (directory / file).read_bytes()
    (directory / file).write_bytes(data[:size])
    refused(directory, directory / (file if name == "bert" else ""), "cannot be (read|loaded)")


@pytest.mark.parametrize("change", ["lacks dense.bias", "lacks out_proj.weight", "wider"])
@pytest.mark.parametrize("name", ["bert", "electra"])
def test_the_head_of_another_network(copy: Callable[[str], Path], name: str, change: str) -> None:
    from safetensors.torch import load_file, save_file

    directory = copy(name)
    path = directory / ("head" if name == "bert" else "") / "model.safetensors"
    prefix = "" if name == "bert" else "classifier."
    tensors = load_file(path)
    if change == "wider":
        tensors[f"{prefix}dense.weight"] = torch.zeros(48, 48)
    else:
        del tensors[prefix + change.removeprefix("lacks ")]
    save_file(tensors, path, {"format": "pt"})
    refused(directory, path if name == "bert" else directory, "not a classificationHead of this encoder: no ")


def test_a_chain_of_modules(copy: Callable[[str], Path]) -> None:
    directory = copy("native")
    edit(directory / CONFIG, model_type="CrossEncoder")
    kinds = [f"sentence_transformers.base.modules.{kind}" for kind in ("Transformer", "Dense")]
    (directory / "modules.json").write_text(json.dumps([{"type": kinds[0], "path": ""}]))
    assert CrossEncoder.from_pretrained(directory).fresh == []
    (directory / "modules.json").write_text(json.dumps([{"type": kind, "path": ""} for kind in kinds]))
    refused(
        directory,
        directory / "modules.json",
        "modules Transformer, Dense; a cross-encoder is one Transformer",
    )


def test_a_prompt(copy: Callable[[str], Path]) -> None:
    directory = copy("native")
    (directory / "modules.json").write_text(json.dumps([{"type": "Transformer", "path": ""}]))
    prompts = {"query": "Judge: ", "empty": ""}
    edit(directory / CONFIG, model_type="CrossEncoder", prompts=prompts, default_prompt_name="empty")
    assert CrossEncoder.from_pretrained(directory).fresh == []
    edit(directory / CONFIG, default_prompt_name="query")
    refused(
        directory, directory / CONFIG, "default_prompt_name 'query': cross-encoder prompts are not supported"
    )


# ---------------------------------------------------------------- saving that fails


@pytest.mark.parametrize("name", ["bert", "electra", "native"])
@pytest.mark.parametrize("writer", ["weights", "tokenizer", "description"])
def test_nothing_is_written_when_saving_fails(
    whole: dict[str, Path],
    copy: Callable[[str], Path],
    name: str,
    writer: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    directory = copy(name)
    before = contents(directory.parent)
    model = CrossEncoder.from_pretrained(whole[name])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    if writer == "description":
        monkeypatch.setattr(sbert.cross_encoder, "write_cross", full)
    elif writer == "tokenizer":
        monkeypatch.setattr(type(model.tokenizer), "save_pretrained", full)
    elif name == "native":
        monkeypatch.setattr(model.model, "save_pretrained", full)
    else:
        monkeypatch.setattr(sbert.cross_directory, "save_file", full)
    for target in (directory, directory.parent / "new"):
        with pytest.raises(RunError, match="cannot be saved: No space left on device") as caught:
            model.save_pretrained(target)
        assert str(caught.value).startswith(f"{target}: ")
    assert contents(directory.parent) == before
    monkeypatch.undo()
    model.save_pretrained(directory)  # and when there is room again, it is replaced
    assert contents(directory)["model.safetensors"] != before[f"{name}/model.safetensors"]
