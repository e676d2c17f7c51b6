"""The directory of a cross-encoder: written, read again, read by the library, read from others, damaged."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, save_tiny, tiny_cross
from train_process import contents
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

import sbert.cross_directory
import sbert.cross_encoder
from sbert.cross_encoder import IDENTITY, SIGMOID, CrossEncoder
from sbert.errors import RunError

PAIRS = [
    ("A man is playing the guitar.", "A man plays."),
    ("고양이가 창가에 앉아 있다.", "두 사람이 talk about the weather"),
    ("a dog", "the weather in the park " * 30),
]
NATIVE = ("bert", "roberta", "xlm-roberta", "deberta-v2", "modernbert", "electra")
TANH = "torch.nn.modules.activation.Tanh"
PROJECTION = ["out_proj.bias", "out_proj.weight"]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One plain encoder directory a family."""
    folder = tmp_path_factory.mktemp("encoders")
    return {family: save_tiny(folder / family, family) for family in FAMILIES}


@pytest.fixture(scope="module")
def whole(encoders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved cross-encoders: classificationHead on BERT and on ELECTRA, and BERT's own head."""
    folder = tmp_path_factory.mktemp("whole")
    for name, family, head in (
        ("bert", "bert", "classification"),
        ("electra", "electra", "classification"),
        ("native", "bert", "native"),
    ):
        tiny_cross(encoders[family], head).save_pretrained(folder / name)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def copy(whole: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """``copy(name)``: one of ``whole``, to be damaged."""
    return lambda name: Path(shutil.copytree(whole[name], tmp_path / name))


def logits(model: CrossEncoder) -> np.ndarray:
    return model.predict(PAIRS, activation=IDENTITY)


def same(left: np.ndarray, right: np.ndarray, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(left, right, rtol=0, atol=tolerance)


def library_logits(directory: Path) -> np.ndarray:
    """What transformers itself says of the directory, a pair at a time: (N, K)."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model, info = AutoModelForSequenceClassification.from_pretrained(directory, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    rows = []
    for a, b in PAIRS:
        features = tokenizer([a], [b], truncation=True, return_tensors="pt")
        with torch.no_grad():
            rows.append(model.eval()(**features).logits[0].numpy())
    return np.stack(rows)


def edit(path: Path, **values: Any) -> None:
    """Sets keys of a JSON file, drops those that are ``...``; a file that is not there starts empty."""
    found = json.loads(path.read_text("utf8")) if path.exists() else {}
    kept = {key: value for key, value in {**found, **values}.items() if value is not ...}
    path.write_text(json.dumps(kept), "utf8")


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize(
    "family, head",
    [*((family, "classification") for family in FAMILIES), *((family, "native") for family in NATIVE)],
)
@pytest.mark.parametrize("num_labels", [1, 3])
def test_saves_and_loads(
    encoders: dict[str, Path], family: str, head: str, num_labels: int, tmp_path: Path
) -> None:
    model = tiny_cross(encoders[family], head, num_labels)
    assert model.fresh == (
        ["classifier"]
        if head == "native"
        else ["dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias"]
    )
    model.save_pretrained(tmp_path / "saved")
    again = CrossEncoder.from_pretrained(tmp_path / "saved")
    assert again.fresh == [] and not again.training and again.num_labels == num_labels
    assert (again.head is None) == (head == "native")
    assert again.activation == model.activation == (SIGMOID if num_labels == 1 else IDENTITY)
    assert logits(again).std() > 1e-3
    np.testing.assert_array_equal(again.predict(PAIRS), model.predict(PAIRS))


@pytest.mark.parametrize("num_labels", [1, 3])
@pytest.mark.parametrize(
    "family, head", [("electra", "classification"), *((family, "native") for family in NATIVE)]
)
def test_the_library_reads_what_we_wrote(
    encoders: dict[str, Path], family: str, head: str, num_labels: int, tmp_path: Path
) -> None:
    model = tiny_cross(encoders[family], head, num_labels)
    model.save_pretrained(tmp_path / "saved")
    same(library_logits(tmp_path / "saved").reshape(logits(model).shape), logits(model))
    assert not (tmp_path / "saved" / "head").exists()


@pytest.mark.parametrize("num_labels", [1, 3])
@pytest.mark.parametrize("family", NATIVE)
def test_we_read_what_the_library_wrote(
    encoders: dict[str, Path], family: str, num_labels: int, tmp_path: Path
) -> None:
    config = AutoConfig.from_pretrained(encoders[family], num_labels=num_labels)
    torch.manual_seed(3)
    theirs = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    theirs.save_pretrained(tmp_path / "theirs")
    AutoTokenizer.from_pretrained(encoders[family]).save_pretrained(tmp_path / "theirs")
    expected = library_logits(tmp_path / "theirs")
    expected = expected[:, 0] if num_labels == 1 else expected
    assert expected.std() > 1e-3
    model = CrossEncoder.from_pretrained(tmp_path / "theirs")
    assert model.head is None and model.fresh == [] and model.num_labels == num_labels
    same(logits(model), expected)
    ours = CrossEncoder.from_pretrained(tmp_path / "theirs", head="classification")
    assert ours.num_labels == num_labels
    if family == "electra":
        assert ours.head is not None and ours.fresh == []
        same(logits(ours), expected)
    else:  # another network: nothing of their head is of use
        assert len(ours.fresh) == 4


def test_a_directory_may_be_replaced_and_changes_place(whole: dict[str, Path], tmp_path: Path) -> None:
    model = CrossEncoder.from_pretrained(whole["bert"])
    for _ in range(2):
        model.save_pretrained(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    np.testing.assert_array_equal(
        CrossEncoder.from_pretrained(tmp_path / "b").predict(PAIRS), model.predict(PAIRS)
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("precious")
    with pytest.raises(RunError, match="holds other things"):
        model.save_pretrained(tmp_path / "other")
    assert str(tmp_path) not in "".join(path.read_text("utf8") for path in (tmp_path / "b").glob("*.json"))


def test_what_a_directory_remembers(whole: dict[str, Path], tmp_path: Path) -> None:
    model = CrossEncoder.from_pretrained(whole["native"], num_labels=3, activation=TANH, max_length=16)
    model.name_labels(["no", "yes", "perhaps"])
    model.facts |= {"trained_on": ["samples-nli-train"], "num_layers": 2, "source": "tiny"}
    model.save_pretrained(tmp_path / "m")
    again = CrossEncoder.from_pretrained(tmp_path / "m")
    assert (again.activation, again.max_length, again.num_labels) == (TANH, 16, 3)
    assert again.facts == {"trained_on": ["samples-nli-train"], "num_layers": 2, "source": "tiny"}
    assert again.model.config.id2label == {0: "no", 1: "yes", 2: "perhaps"}
    assert again.model.config.label2id == {"no": 0, "yes": 1, "perhaps": 2}
    config = json.loads((tmp_path / "m" / "config.json").read_text("utf8"))
    assert config["sentence_transformers"]["activation_fn"] == TANH
    assert json.loads((tmp_path / "m" / "tokenizer_config.json").read_text("utf8"))["model_max_length"] == 16
    assert CrossEncoder.from_pretrained(tmp_path / "m", max_length=20, activation=SIGMOID).max_length == 20


# ---------------------------------------------------------------- cutting, relabelling, fresh heads


@pytest.mark.parametrize(
    "family, head", [("bert", "classification"), ("electra", "native"), ("modernbert", "native")]
)
def test_number_of_layers(encoders: dict[str, Path], family: str, head: str, tmp_path: Path) -> None:
    tiny_cross(encoders[family], head).save_pretrained(tmp_path / "two")
    two = CrossEncoder.from_pretrained(tmp_path / "two", num_layers=2)
    one = CrossEncoder.from_pretrained(tmp_path / "two", num_layers=1)
    assert two.facts["num_layers"] == 2 and one.facts["num_layers"] == 1
    assert one.fresh == [] and one.model.config.num_hidden_layers == 1
    assert np.abs(logits(one) - logits(two)).max() > 1e-3
    one.save_pretrained(tmp_path / "one")
    again = CrossEncoder.from_pretrained(tmp_path / "one")
    assert again.model.config.num_hidden_layers == 1 and again.facts["num_layers"] == 1
    np.testing.assert_array_equal(logits(again), logits(one))
    with pytest.raises(RunError, match=r"^--num-layers 3: this encoder has 2, allowed are 1 to 2$"):
        CrossEncoder.from_pretrained(tmp_path / "two", num_layers=3)


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_another_number_of_labels_keeps_the_dense_layer(
    whole: dict[str, Path], family: str, tmp_path: Path
) -> None:
    before = CrossEncoder.from_pretrained(whole[family], activation=TANH)
    before.save_pretrained(tmp_path / "tanh")
    model = CrossEncoder.from_pretrained(tmp_path / "tanh", num_labels=3)
    assert model.fresh == PROJECTION and model.num_labels == 3
    assert model.activation == IDENTITY  # what one score was squeezed by says nothing of three logits
    assert before.head is not None and model.head is not None
    torch.testing.assert_close(model.head.dense.weight, before.head.dense.weight, rtol=0, atol=0)
    for left, right in zip(model.model.parameters(), before.model.parameters(), strict=True):
        assert torch.equal(left, right)
    assert model.predict(PAIRS).shape == (3, 3)
    assert CrossEncoder.from_pretrained(tmp_path / "tanh", num_labels=1).activation == TANH


@pytest.mark.parametrize("family", ["roberta", "modernbert"])
def test_another_number_of_labels_on_a_native_head(
    encoders: dict[str, Path], family: str, tmp_path: Path
) -> None:
    before = tiny_cross(encoders[family], "native")
    before.save_pretrained(tmp_path / "one")
    model = CrossEncoder.from_pretrained(tmp_path / "one", num_labels=3)
    assert model.fresh == ["classifier"] and model.num_labels == 3
    ours, theirs = model.model.state_dict(), before.model.state_dict()
    changed = {
        name
        for name in theirs
        if ours[name].shape != theirs[name].shape or not ours[name].equal(theirs[name])
    }
    assert {name.rsplit(".", 1)[0] for name in changed} in ({"classifier"}, {"classifier.out_proj"})


def test_fresh_in_every_other_case(encoders: dict[str, Path], whole: dict[str, Path]) -> None:
    def fresh(path: Path, **options: Any) -> int:
        return len(CrossEncoder.from_pretrained(path, **options).fresh)

    for encoder in (encoders["bert"], encoders["electra"]):
        assert fresh(encoder) == 4 and fresh(encoder, head="native") == 1
    assert fresh(whole["bert"]) == 0
    assert fresh(whole["bert"], head="classification", num_labels=1) == 0
    assert fresh(whole["bert"], head="native") == 1  # BERT's own head is another network
    assert fresh(whole["native"]) == 0
    assert fresh(whole["native"], head="classification") == 4
    for head in (None, "classification", "native"):
        assert fresh(whole["electra"], head=head) == 0  # there it is the same network
        assert fresh(whole["electra"], head=head, num_labels=2) == (1 if head == "native" else 2)


def test_a_native_directory_gives_its_encoder(whole: dict[str, Path]) -> None:
    native = CrossEncoder.from_pretrained(whole["native"])
    other = CrossEncoder.from_pretrained(whole["native"], head="classification")
    inner = native.model.base_model.state_dict()
    assert all(torch.equal(value, inner[name]) for name, value in other.model.state_dict().items())


def test_a_bi_encoder_gives_its_encoder(
    whole: dict[str, Path], encoders: dict[str, Path], tmp_path: Path
) -> None:
    from sbert.model import modelWithPooling

    modelWithPooling.from_pretrained(encoders["bert"]).save_pretrained(tmp_path / "bi")
    model = CrossEncoder.from_pretrained(tmp_path / "bi")
    assert len(model.fresh) == 4 and model.num_labels == 1 and model.activation == SIGMOID
    for value, other in zip(
        model.model.parameters(),
        CrossEncoder.from_pretrained(encoders["bert"]).model.parameters(),
        strict=True,
    ):
        assert torch.equal(value, other)


def test_options_are_checked(whole: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"^head 'linear': allowed are classification, native$"):
        CrossEncoder.from_pretrained(whole["bert"], head="linear")
    with pytest.raises(ValueError, match=r"^activation 'tanh': allowed are torch"):
        CrossEncoder.from_pretrained(whole["bert"], activation="tanh")
    with pytest.raises(RunError, match=r"^--max-length 65: this encoder has 64 positions$"):
        CrossEncoder.from_pretrained(whole["bert"], max_length=65)


# ---------------------------------------------------------------- the activation, from three places

CONFIG = "config_sentence_transformers.json"


@pytest.mark.parametrize("name", ["bert", "native"])
@pytest.mark.parametrize("spelling", [TANH, "torch.nn.Tanh"])
def test_where_the_activation_is_found(copy: Callable[[str], Path], name: str, spelling: str) -> None:
    """config_sentence_transformers.json, then config.json, then its key of older versions, then the default."""
    directory = copy(name)

    def found() -> str:
        return CrossEncoder.from_pretrained(directory).activation.rsplit(".", 1)[-1]

    config, old = directory / "config.json", "sbert_ce_default_activation_function"
    edit(config, sentence_transformers=...)
    assert found() == "Sigmoid"
    edit(config, **{old: spelling})
    assert found() == "Tanh"
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
