"""Every encoder family we name: load, encode, cut, train, save and load again, on tiny random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, POSITIONS, WIDTH, save_tiny
from transformers import AutoModel

from sbert.encode import pad
from sbert.encoder import load_encoder, load_tokenizer
from sbert.errors import RunError
from sbert.model import modelWithPooling
from sbert.objectives import modelForRegressionTraining

TEXTS = [
    "A man is playing the guitar.",
    "고양이가 창가에 앉아 있다.",
    "두 사람이 talk about the weather in the park, 그리고 비가 온다.",
    "",
    "🙂",
]


@pytest.fixture(scope="module", params=FAMILIES)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("encoders") / request.param, request.param)


@pytest.fixture
def model(directory: Path) -> modelWithPooling:
    return modelWithPooling.from_pretrained(directory)


def same(left: np.ndarray, right: np.ndarray, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(left, right, rtol=0, atol=tolerance)


def test_loads_and_encodes(model: modelWithPooling, directory: Path) -> None:
    vectors = model.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), WIDTH) and vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors.round(3), axis=0)) == len(TEXTS)  # all different
    assert model.max_length == POSITIONS
    assert model.model.config.model_type == directory.name  # type: ignore[union-attr]


def test_is_the_encoder_of_the_library_and_a_mean(model: modelWithPooling, directory: Path) -> None:
    """One text at a time through the plain Hugging Face model: mean over its tokens."""
    plain = AutoModel.from_pretrained(directory).eval()
    assert model.tokenizer is not None
    for text, vector in zip(TEXTS, model.encode(TEXTS), strict=True):
        ids = torch.tensor([model.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            hidden = plain(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        same(vector, hidden[0].mean(0).numpy(), 1e-5)


def test_the_longest_text_fits_the_position_table(model: modelWithPooling) -> None:
    encoded = model.encode(["the man " * 200, "the man"])
    assert np.isfinite(encoded).all()


def test_padding_changes_nothing(model: modelWithPooling) -> None:
    """Alone, in a batch with longer texts, with more padding, and in another order."""
    together = model.encode(TEXTS)
    same(np.stack([model.encode(text) for text in TEXTS]), together, 2e-5)
    same(model.encode(TEXTS[::-1])[::-1], together, 2e-5)
    assert model.tokenizer is not None
    rows = [model.tokenizer(text)["input_ids"] for text in TEXTS]
    features = pad(rows, model.tokenizer.pad_token_id)
    extra = 7
    wider = {
        "input_ids": torch.nn.functional.pad(
            features["input_ids"], (0, extra), value=model.tokenizer.pad_token_id
        ),
        "attention_mask": torch.nn.functional.pad(features["attention_mask"], (0, extra)),
    }
    with torch.no_grad():
        narrow, wide = (model(**f)["sentence_embedding"].numpy() for f in (features, wider))
    same(wide, narrow, 2e-5)
    same(narrow, together, 2e-5)


def test_saves_and_loads(model: modelWithPooling, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "saved")
    same(modelWithPooling.from_pretrained(tmp_path / "saved").encode(TEXTS), model.encode(TEXTS))


def test_keeps_the_first_layers(model: modelWithPooling, directory: Path, tmp_path: Path) -> None:
    cut = modelWithPooling.from_pretrained(directory, num_layers=1)
    assert cut.model.config.num_hidden_layers == 1  # type: ignore[union-attr]
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in model.parameters())
    short = cut.encode(TEXTS)
    assert np.abs(short - model.encode(TEXTS)).max() > 1e-2
    cut.save_pretrained(tmp_path / "cut")
    again = modelWithPooling.from_pretrained(tmp_path / "cut")
    assert again.model.config.num_hidden_layers == 1  # type: ignore[union-attr]
    same(again.encode(TEXTS), short)
    same(modelWithPooling.from_pretrained(directory, num_layers=2).encode(TEXTS), model.encode(TEXTS))


def test_kept_layers_are_the_lower_ones(directory: Path) -> None:
    """What the cut encoder gives is the whole one's hidden state after its first layer."""
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    whole, cut = load_encoder(directory).eval(), load_encoder(directory, 1).eval()
    with torch.no_grad():
        after_first = whole(**inputs, output_hidden_states=True).hidden_states[1]
        found = cut(**inputs).last_hidden_state
        if hasattr(cut, "final_norm"):  # ModernBERT normalises what its last layer gives
            after_first = cut.final_norm(after_first)
    torch.testing.assert_close(found, after_first, atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_layers", [0, 3])
def test_number_of_layers_out_of_range(directory: Path, num_layers: int) -> None:
    with pytest.raises(
        RunError, match=rf"^--num-layers {num_layers}: this encoder has 2, allowed are 1 to 2$"
    ):
        modelWithPooling.from_pretrained(directory, num_layers=num_layers)


def test_one_training_step_reaches_every_layer(model: modelWithPooling) -> None:
    assert model.tokenizer is not None
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    vectors = model.encode(TEXTS[:4])
    objective = modelForRegressionTraining(model)
    columns = [
        pad([model.tokenizer(text)["input_ids"] for text in texts], model.tokenizer.pad_token_id)
        for texts in (TEXTS[:2], TEXTS[2:4])
    ]
    objective.train()
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.1)
    loss = objective(columns, torch.tensor([0.0, 1.0]))["loss"]
    loss.backward()
    optimizer.step()
    assert 0 < loss.item() < 4 + 1e-6  # a cosine in -1..1 against a score in 0..1
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    for part in ("embed", ".0.", ".1."):
        assert any(part in name for name in changed), (part, sorted(changed))
    model.eval()
    assert np.abs(model.encode(TEXTS[:4]) - vectors).max() > 1e-5


@pytest.mark.parametrize("value", [2, 0, -1, "9", 9.0, True, None])
def test_max_length_below_three(model: modelWithPooling, value: Any) -> None:
    with pytest.raises(RunError, match=rf"^--max-length {value!r}: must be an integer of at least 3$"):
        model.max_length = value
    assert model.max_length == POSITIONS


@pytest.mark.parametrize("value", [3, POSITIONS])
def test_max_length_at_either_end(model: modelWithPooling, value: int) -> None:
    model.max_length = value
    assert model.max_length == value
    assert np.isfinite(model.encode(TEXTS)).all()


def test_a_generator_of_texts(model: modelWithPooling) -> None:
    same(model.encode(text for text in TEXTS), model.encode(TEXTS))


def test_a_directory_without_its_tokenizer_files(directory: Path, tmp_path: Path) -> None:
    """The library makes a tokenizer of the special tokens alone, for which all texts are unknown words."""
    shutil.copytree(directory, tmp_path / "m")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "m" / name).unlink()
    with pytest.raises(RunError) as caught:
        modelWithPooling.from_pretrained(tmp_path / "m")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'm'}: the tokenizer ") and "\n" not in message
    if directory.name != "modernbert":  # for which the library has no tokenizer of its own
        assert "has no vocabulary, only special tokens (looked for tokenizer.json, " in message


def test_a_tokenizer_larger_than_the_embedding_table(directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path / "m")
    tokenizer = load_tokenizer(directory)
    rows = len(tokenizer)
    tokenizer.add_tokens(["newword"])
    tokenizer.save_pretrained(tmp_path / "m")
    with pytest.raises(RunError) as caught:
        modelWithPooling.from_pretrained(tmp_path / "m")
    assert str(caught.value) == (
        f"{tmp_path / 'm'}: the tokenizer is not the encoder's: its token 'newword' has id {rows}, "
        f"the embedding table has {rows} rows (ids 0 to {rows - 1})"
    )


def test_max_length_beyond_the_position_table(directory: Path) -> None:
    with pytest.raises(
        RunError, match=rf"^--max-length {POSITIONS + 1}: this encoder has {POSITIONS} positions$"
    ):
        modelWithPooling.from_pretrained(directory, max_length=POSITIONS + 1)
