"""--average-layers N: token vectors are the mean of the last N layers (the paper's "Avg. BERT embeddings")."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import FAMILIES, save_tiny, tiny_model
from train_process import SMALL, TrainRunner

import sbert.model
from sbert.directory import read_description
from sbert.encoder import load_encoder, load_tokenizer
from sbert.errors import RunError, UsageError
from sbert.flag_checks import parse
from sbert.model import modelWithPooling
from sbert.retrieval.index import fingerprint_of

TEXTS = ["A man is eating food.", "A cat.", "고양이가 잔다"]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mean_of_the_last_layers_of_every_family(tmp_path: Path, family: str) -> None:
    """Against the encoder's own hidden states, added up here."""
    folder = save_tiny(tmp_path / family, family, layers=3)
    model = modelWithPooling.from_pretrained(folder, average_layers=2)
    encoder, tokenizer = load_encoder(folder).eval(), load_tokenizer(folder)
    for text in TEXTS:
        features = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            states = encoder(**features, output_hidden_states=True)
            assert len(states.hidden_states) == 4
            expected = (states.hidden_states[2] + states.last_hidden_state) / 2
            found = model(**features)
        torch.testing.assert_close(found["token_embeddings"], expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found["sentence_embedding"][0], expected[0].mean(0), rtol=1e-5, atol=1e-6)
    last = modelWithPooling.from_pretrained(folder).encode(TEXTS)
    assert np.abs(model.encode(TEXTS) - last).max() > 1e-3


def test_one_layer_is_the_last_one_and_the_default(tiny_model_dir: Path) -> None:
    plain = modelWithPooling.from_pretrained(tiny_model_dir)
    one = modelWithPooling.from_pretrained(tiny_model_dir, average_layers=1)
    assert plain.description.average_layers == 1
    np.testing.assert_array_equal(plain.encode(TEXTS), one.encode(TEXTS))


def test_padding_and_pooling_see_the_averaged_vectors(tiny_model_dir: Path) -> None:
    """More padding changes nothing; cls is the averaged first token."""
    model = tiny_model(tiny_model_dir, "cls", average_layers=2)
    ids = torch.tensor([[2, 8, 9, 3, 0, 0]])
    mask = (ids > 0).long()
    with torch.no_grad():
        padded, bare = model(ids, mask), model(ids[:, :4], mask[:, :4])
    torch.testing.assert_close(padded["sentence_embedding"], bare["sentence_embedding"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(bare["sentence_embedding"], bare["token_embeddings"][:, 0])


def test_bf16_is_near(tiny_model_dir: Path) -> None:
    model = modelWithPooling.from_pretrained(tiny_model_dir, average_layers=2)
    full, half = model.encode(TEXTS), model.encode(TEXTS, precision="bf16")
    assert 0 < np.abs(full - half).max() < 0.1


def test_a_saved_model_reloads_the_same_and_warns_once(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    sbert.model._warn_of_average.cache_clear()
    monkeypatch.setattr(sbert.model.log, "warning", lambda text, *values: said.append(text % values))
    model = modelWithPooling.from_pretrained(tiny_model_dir, average_layers=2)
    model.save_pretrained(tmp_path / "m")
    model.save_pretrained(tmp_path / "m")
    assert len(said) == 1 and "mean of the last 2 layers" in said[0] and "sentence-transformers" in said[0]
    assert json.loads((tmp_path / "m" / "sbert.json").read_text())["average_layers"] == 2
    again = modelWithPooling.from_pretrained(tmp_path / "m")
    np.testing.assert_array_equal(again.encode(TEXTS), model.encode(TEXTS))
    last = modelWithPooling.from_pretrained(tmp_path / "m", average_layers=1)
    assert np.abs(last.encode(TEXTS) - model.encode(TEXTS)).max() > 1e-3


def test_an_index_knows_the_difference(tiny_model_dir: Path, tmp_path: Path) -> None:
    for count in (1, 2):
        model = modelWithPooling.from_pretrained(tiny_model_dir, average_layers=count)
        model.save_pretrained(tmp_path / str(count))
    assert fingerprint_of(tmp_path / "1") != fingerprint_of(tmp_path / "2")


def test_more_layers_than_there_are(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^--average-layers 3: this encoder has 2 layers$"):
        modelWithPooling.from_pretrained(tiny_model_dir, average_layers=3)
    modelWithPooling.from_pretrained(tiny_model_dir, average_layers=2).save_pretrained(tmp_path / "m")
    with pytest.raises(RunError, match=r"^--average-layers 2: this encoder has 1 layers$"):
        modelWithPooling.from_pretrained(tmp_path / "m", num_layers=1)


@pytest.mark.parametrize("value", [0, "2", 1.5, True, None])
def test_a_damaged_sbert_json(tiny_model_dir: Path, tmp_path: Path, value: object) -> None:
    modelWithPooling.from_pretrained(tiny_model_dir).save_pretrained(tmp_path / "m")
    path = tmp_path / "m" / "sbert.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "average_layers": value}))
    with pytest.raises(RunError) as caught:
        read_description(tmp_path / "m")
    assert str(caught.value) == (f"{path}: average_layers {value!r}; allowed: an integer of at least 1")


def test_the_flag() -> None:
    assert parse([])[0].average_layers is None
    assert parse(["--average-layers", "4"])[0].average_layers == 4
    with pytest.raises(UsageError, match=r"^--average-layers 0: must be at least 1$"):
        parse(["--average-layers", "0"])
    with pytest.raises(UsageError, match=r"^--average-layers is for --arch bi"):
        parse(["--arch", "cross", "--average-layers", "2"])


def test_a_run_trains_and_scores_the_averaged_model(run_train: TrainRunner, tiny_model_dir: Path) -> None:
    words = ("--model", tiny_model_dir, "--average-layers", 2, *SMALL, "--output-dir", "run")
    assert run_train(*words).code == 0
    run = run_train.folder / "run"
    assert json.loads((run / "model" / "sbert.json").read_text())["average_layers"] == 2
    trained = json.loads((run / "metrics.json").read_text())
    scored = run_train(
        "--eval-only", "--model", "run/model", "--eval-data", "samples-sts-en", "--output-dir", "eval"
    )
    assert scored.code == 0, scored.stderr
    again = json.loads((run_train.folder / "eval" / "metrics.json").read_text())
    key = "samples-sts-en-test/spearman_cosine"
    assert again[key] == pytest.approx(trained[key], abs=1e-9)
    assert trained[key] != trained["before/" + key]
