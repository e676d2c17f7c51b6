"""The directory of a cross-encoder: written, read again, read by the library, read from others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, save_tiny, tiny_cross
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

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


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize(
    "family, head, num_labels",
    [
        *((family, "classification", 1) for family in FAMILIES),
        *((family, "native", 1) for family in NATIVE),
        *((family, head, 3) for family in ("bert", "electra") for head in ("classification", "native")),
    ],
)
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
    same(again.predict(PAIRS), model.predict(PAIRS))


@pytest.mark.parametrize(
    "family, head, num_labels",
    [
        ("electra", "classification", 1),
        ("electra", "classification", 3),
        ("roberta", "native", 3),
        *((family, "native", 1) for family in NATIVE),
    ],
)
def test_the_library_reads_what_we_wrote(
    encoders: dict[str, Path], family: str, head: str, num_labels: int, tmp_path: Path
) -> None:
    model = tiny_cross(encoders[family], head, num_labels)
    model.save_pretrained(tmp_path / "saved")
    same(library_logits(tmp_path / "saved").reshape(logits(model).shape), logits(model))
    assert not (tmp_path / "saved" / "head").exists()


@pytest.mark.parametrize(
    "family, num_labels",
    [
        *((family, 1) for family in NATIVE),
        ("electra", 3),
        ("bert", 2),  # the number that config.json leaves out
    ],
)
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
    same(CrossEncoder.from_pretrained(tmp_path / "b").predict(PAIRS), model.predict(PAIRS))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("precious")
    with pytest.raises(RunError, match="holds other things"):
        model.save_pretrained(tmp_path / "other")
    assert str(tmp_path) not in "".join(path.read_text("utf8") for path in (tmp_path / "b").glob("*.json"))


def test_what_a_directory_remembers(whole: dict[str, Path], tmp_path: Path) -> None:
    model = CrossEncoder.from_pretrained(whole["native"], num_labels=3, activation=TANH, max_length=16)
    model.set_labels(["no", "yes", "perhaps"])
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
    same(logits(again), logits(one))
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


@pytest.mark.parametrize("name", ["electra", "native"])
def test_a_standard_directory_needs_no_sbert_json(whole: dict[str, Path], name: str, tmp_path: Path) -> None:
    """config.json says what the weights are, where other readers look for it."""
    shutil.copytree(whole[name], tmp_path / "m", ignore=shutil.ignore_patterns("sbert.json"))
    model = CrossEncoder.from_pretrained(tmp_path / "m")
    assert model.head is None and model.fresh == [] and model.num_labels == 1
    same(logits(model), logits(CrossEncoder.from_pretrained(whole[name])))


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


def test_an_encoder_in_a_folder_of_its_own(encoders: dict[str, Path], tmp_path: Path) -> None:
    """Older bi-encoder directories have nothing but modules.json in the root."""
    shutil.copytree(encoders["bert"], tmp_path / "bi" / "0_Transformer")
    (tmp_path / "bi" / "1_Pooling").mkdir()
    (tmp_path / "bi" / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    chain = [{"type": "Transformer", "path": "0_Transformer"}, {"type": "Pooling", "path": "1_Pooling"}]
    (tmp_path / "bi" / "modules.json").write_text(json.dumps(chain))
    model = CrossEncoder.from_pretrained(tmp_path / "bi")
    assert len(model.fresh) == 4
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
