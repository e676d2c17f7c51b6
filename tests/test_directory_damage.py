"""Damaged model directories, wrong weights, unknown names: each answered with one line that names the place."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from tiny_models import WIDTH, save_tiny

from data.files import sha256_of
from sbert import encoder
from sbert.errors import RunError
from sbert.model import modelWithPooling


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Rewrites a JSON file: ``change`` edits in place, or returns something else to write."""
    value = json.loads(path.read_text(encoding="utf8"))
    other = change(value)
    path.write_text(json.dumps(value if other is None else other), encoding="utf8")


def one_line(directory: Path | str) -> str:
    """The message of the RunError that loading ends with."""
    with pytest.raises(RunError) as caught:
        modelWithPooling.from_pretrained(directory)
    message = str(caught.value)
    assert message and "\n" not in message and "Traceback" not in message
    return message


# ---------------------------------------------------------------- damage


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def truncate(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text, encoding="utf8")


def change(name: str, *keys: Any, to: Any) -> Callable[[Path], object]:
    """Sets ``file[keys[0]][keys[1]]... = to``."""

    def apply(folder: Path) -> None:
        def inner(value: Any) -> None:
            for key in keys[:-1]:
                value = value[key]
            value[keys[-1]] = to

        edit(folder / name, inner)

    return apply


def rename_tensors(folder: Path) -> None:
    state = load_file(folder / "2_Dense/model.safetensors")
    save_file({key + "x": value for key, value in state.items()}, folder / "2_Dense/model.safetensors")


DAMAGES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "no config": (remove("config.json"), ("model: no config.json, so not a model directory",)),
    "no weights": (remove("model.safetensors"), ("model: no weights (looked for model.safetensors",)),
    "truncated weights": (truncate("model.safetensors"), ("model: cannot be loaded as a bert encoder: ",)),
    "empty weights": (write("model.safetensors", ""), ("model: cannot be loaded as a bert encoder: ",)),
    "config not JSON": (write("config.json", "{"), ("config.json", "not a valid JSON file")),
    "unknown encoder": (change("config.json", "model_type", to="bart2"), ("cannot be loaded as a bart2",)),
    "other width": (change("config.json", "hidden_size", to=48), ("the first is ", "of another shape")),
    "no tokenizer": (remove("tokenizer.json"), ("model: the tokenizer cannot be loaded: ",)),
    "tokenizer not JSON": (write("tokenizer.json", "{"), ("model: the tokenizer cannot be loaded: ",)),
    "modules not JSON": (write("modules.json", "[{"), ("modules.json: not a JSON file: ",)),
    "modules an object": (write("modules.json", "{}"), ("modules.json",)),
    "modules of strings": (write("modules.json", '["a"]'), ("modules.json",)),
    "module without type": (write("modules.json", '[{"path": ""}]'), ("modules.json", "type")),
    "module without path": (write("modules.json", '[{"type": "Pooling"}]'), ("modules.json", "path")),
    "unknown module": (
        change("modules.json", 3, "type", to="sentence_transformers.models.WordWeights"),
        ("'sentence_transformers.models.WordWeights' is not supported", "Transformer, Pooling, Dense, Normalize"),
    ),
    "no pooling module": (
        lambda folder: edit(folder / "modules.json", lambda value: value.pop(1) and None),
        ("modules.json: no Pooling module, so not a bi-encoder",),
    ),
    "path upwards": (
        change("modules.json", 1, "path", to="../1_Pooling"),
        ("modules.json: path '../1_Pooling' leaves the directory",),
    ),
    "absolute path": (change("modules.json", 2, "path", to="/etc"), ("path '/etc' leaves the directory",)),
    "no pooling config": (remove("1_Pooling/config.json"), ("1_Pooling/config.json: no such file",)),
    "pooling not JSON": (write("1_Pooling/config.json", "?"), ("1_Pooling/config.json: not a JSON file",)),
    "unknown pooling": (
        write("1_Pooling/config.json", '{"pooling_mode": ["mean", "median"]}'),
        ("pooling_mode 'median'; allowed: cls, max, mean,",),
    ),
    "unknown activation": (
        change("2_Dense/config.json", "activation_function", to="os.system"),
        ("2_Dense/config.json: activation_function 'os.system'; allowed: torch.nn.modules.linear.Identity",),
    ),
    "dense without width": (write("2_Dense/config.json", '{"in_features": 32}'), ("config.json", "out_features")),
    "dense width a word": (change("2_Dense/config.json", "in_features", to="a"), ("2_Dense/config.json",)),
    "no dense config": (remove("2_Dense/config.json"), ("2_Dense/config.json: no such file",)),
    "no dense weights": (remove("2_Dense/model.safetensors"), ("2_Dense: no weights (looked for model.safetensors, pytorch_model.bin)",)),
    "truncated dense weights": (truncate("2_Dense/model.safetensors"), ("2_Dense",)),
    "other dense weights": (rename_tensors, ("2_Dense/model.safetensors: the weights do not fit config.json",)),
    "dense of another width": (
        lambda folder: shutil.rmtree(folder / "1_Pooling") or (folder / "1_Pooling").mkdir()
        or write("1_Pooling/config.json", '{"pooling_mode": ["mean", "max"]}')(folder),
        (f"a Dense layer takes {WIDTH} features, what comes before it has {2 * WIDTH}",),
    ),
    "prompts not JSON": (write("config_sentence_transformers.json", "{"), ("not a JSON file",)),
    "unknown similarity": (
        change("config_sentence_transformers.json", "similarity_fn_name", to="jaccard"),
        ("'jaccard'", "cosine, dot, euclidean, manhattan"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_in_one_line(saved: Path, damage: str) -> None:
    apply, said = DAMAGES[damage]
    apply(saved)
    message = one_line(saved)
    assert str(saved) in message
    for words in said:
        assert words in message


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    bert = save_tiny(tmp_path / "bert", "bert")
    for family in ("distilbert", "electra", "modernbert"):
        other = save_tiny(tmp_path / family, family)
        shutil.copy(other / "model.safetensors", bert / "model.safetensors")
        message = one_line(bert)
        assert "the weights are not those of the bert encoder its config.json describes" in message
        assert "tensors missing or of another shape, the first is " in message


def test_fewer_layers_in_the_weights_than_in_the_config(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "bert", "bert")
    edit(folder / "config.json", lambda value: value.update(num_hidden_layers=3))
    assert "encoder.layer.2." in one_line(folder)


@pytest.mark.parametrize(
    "name",
    ["./nowhere", "../nowhere", ".nowhere", "a/b/c", "~/nowhere", "/nowhere", "nowhere/", "no where", ""],
)
def test_no_such_directory(name: str) -> None:
    assert one_line(name).startswith(
        f"model {name}: no such directory (a hub id looks like owner/name or name;"
    )


def test_a_name_too_long_for_a_path() -> None:
    assert one_line("n" * 300) == f"model {'n' * 300}: cannot be looked up: File name too long"


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"")
    assert "no such directory" in one_line(tmp_path / "model.bin")


def test_a_hub_id_without_a_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def refuse(*args: object, **options: object) -> str:
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    for name in ("owner/name", "bert-base-uncased", "Name_1.0"):
        assert (
            one_line(name) == f"model {name}: no such directory, and cannot be fetched from the hub: no route"
        )


def test_a_hub_id_without_an_owner(monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path) -> None:
    import huggingface_hub

    asked = []

    def download(hub_id: str, **options: object) -> str:
        asked.append(hub_id)
        return str(tiny_model_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert modelWithPooling.from_pretrained("bert-base-uncased").width == WIDTH
    assert asked == ["bert-base-uncased"]


def test_offline_the_hubs_own_refusal_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(
        constants, "HF_HUB_OFFLINE", True
    )  # what the variable sets when the library is imported
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start = "model no-such-model-1: no such directory, and cannot be fetched from the hub: "
    assert one_line("no-such-model-1").startswith(start)


def test_a_directory_named_like_a_hub_id_is_the_one_read(
    monkeypatch: pytest.MonkeyPatch, saved: Path
) -> None:
    monkeypatch.chdir(saved.parent)
    assert modelWithPooling.from_pretrained("model").width == 12


# ---------------------------------------------------------------- the packaged weights


@pytest.fixture
def package(tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of weights that holds the tiny model; its folder."""
    folder = tmp_path / "weights_package"
    shutil.copytree(tiny_model_dir, folder / "model")
    spec = ModuleSpec(encoder.MINILM_PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return folder


def test_packaged_weights_must_be_the_publishers(package: Path) -> None:
    found = sha256_of(package / "model/model.safetensors")
    message = one_line("minilm")
    assert f"sha256 is {found}, the publisher's is {encoder.MINILM_SHA256}" in message


def test_packaged_weights_load_when_they_are(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "MINILM_SHA256", sha256_of(package / "model/model.safetensors"))
    model = modelWithPooling.from_pretrained("minilm")
    assert model.facts["source"] == "minilm" and model.width == WIDTH


def test_packaged_weights_missing_from_the_package(package: Path) -> None:
    (package / "model/model.safetensors").unlink()
    assert "model.safetensors" in one_line("minilm")


def test_without_the_package_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path) -> None:
    import huggingface_hub

    asked = []

    def download(hub_id: str, **options: object) -> str:
        asked.append(hub_id)
        return str(tiny_model_dir)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert modelWithPooling.from_pretrained("minilm").width == WIDTH
    assert asked == [encoder.MINILM_HUB_ID]


def test_weights_of_more_layers_and_weights_that_are_no_numbers(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "bert", "bert")
    config = (folder / "config.json").read_text(encoding="utf8")
    edit(folder / "config.json", lambda value: value.update(num_hidden_layers=1))
    with pytest.raises(
        RunError, match=r"its config\.json describes fewer layers than the weights have: .*layer\.1\."
    ):
        modelWithPooling.from_pretrained(folder)
    (folder / "config.json").write_text(config, encoding="utf8")
    weights = load_file(folder / "model.safetensors")
    name = sorted(weights)[3]
    weights[name].view(-1)[0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RunError, match=r"the weights hold numbers that are not finite, .* the first"):
        modelWithPooling.from_pretrained(folder)
