"""When batches are unpadded, what is said where they cannot be, and training that way."""

from __future__ import annotations

import copy
import itertools
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.attention.varlen
from loop_parts import SETTINGS, Encoder, source
from packing_parts import PAIRS, TEXTS, close
from tiny_models import save_tiny, tiny_cross, tiny_model
from torch import Tensor
from train_process import SMALL, TrainRunner, contents

from sbert import packing, unpadded
from sbert.attention import FAMILIES
from sbert.dense_objectives import DenseRanking
from sbert.encode import encode, pad
from sbert.evaluation import evaluate
from sbert.flags import Flags
from sbert.loop import Settings, fit
from sbert.objectives import modelForRegressionTraining
from sbert.packing import is_packed, pack_encoder
from sbert.plan import load_sets, scoring_options
from sbert.precision import with_half_encoder
from sbert.predict import predict
from sbert.towers import TwoTowers
from sbert.unpadded import attention_dropout, obstacle, pack_for_training, packs, trains_packed

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("modes")
    return {name: save_tiny(folder / name, name) for name in (*FAMILIES, "mpnet", "deberta-v2")}


@pytest.fixture
def warned(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.LogCaptureFixture]:
    """What the project's logger has said in this test, as if it had never said it before."""
    monkeypatch.setattr(logging.getLogger("sbert"), "propagate", True)
    caplog.set_level("INFO", logger="sbert")
    unpadded._say_once.cache_clear()
    yield caplog
    unpadded._say_once.cache_clear()


# ---------------------------------------------------------------- when


def test_encoding_on_a_cpu_packs_nothing_of_itself(
    directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(directories["bert"])
    monkeypatch.setattr("sbert.encode.MANY", 0)
    monkeypatch.setattr("sbert.encode.pack_encoder", lambda encoder: pytest.fail("packed"))
    for precision in ("fp32", "bf16"):
        off, auto = (
            encode(model, TEXTS, precision=precision, **more).embeddings for more in ({"unpadded": "off"}, {})
        )
        assert np.array_equal(off, auto)
    assert not model.model._forward_hooks and not is_packed(model.model)


def test_the_model_that_encodes_is_as_it_was(directories: dict[str, Path]) -> None:
    """Hooks and attention are those of a copy, whose weights in fp32 are the model's own."""
    model = tiny_model(directories["bert"])
    before = encode(model, TEXTS).embeddings
    encode(model, TEXTS, unpadded="on")
    assert np.array_equal(encode(model, TEXTS).embeddings, before)
    assert not model.model._forward_hooks and not is_packed(model.model)
    copied = with_half_encoder(model, torch.float32).model.embeddings.word_embeddings.weight
    assert copied.data_ptr() == model.model.embeddings.word_embeddings.weight.data_ptr()


@pytest.mark.parametrize("family", ["mpnet", "deberta-v2"])
def test_an_attention_of_its_own_is_padded_and_says_so(
    family: str, directories: dict[str, Path], warned: pytest.LogCaptureFixture
) -> None:
    model, cross = tiny_model(directories[family]), tiny_cross(directories[family])
    expected = encode(model, TEXTS).embeddings
    for _ in range(2):
        found = encode(model, TEXTS, unpadded="on")
        assert np.array_equal(found.embeddings, expected) and found.padding_share > 0.4
    assert np.array_equal(predict(cross, PAIRS).scores, predict(cross, PAIRS, unpadded="on").scores)
    known = "bert, roberta, xlm-roberta, electra, distilbert, modernbert"
    assert warned.messages == [
        f"{family} encoders cannot run unpadded (those that can: {known}): batches are padded"
    ]


def test_modes(warned: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder().model
    monkeypatch.setattr(unpadded, "_missing_kernel", lambda device: None)
    found = {}
    for mode, device, precision in itertools.product(("auto", "on"), (CPU, CUDA), ("fp32", "bf16")):
        found[mode, device.type, precision] = packs(mode, encoder, device, precision)
        assert not warned.messages or mode == "on"  # that fp32 is padded is what auto means
    assert [key for key, value in found.items() if value] == [
        ("auto", "cuda", "bf16"),
        ("on", "cpu", "fp32"),
        ("on", "cpu", "bf16"),
        ("on", "cuda", "bf16"),
    ]
    assert warned.messages == ["unpadded attention has no kernel for fp32 on cuda: batches are padded"]
    assert not packs("off", encoder, CUDA, "bf16")
    with pytest.raises(ValueError, match="unpadded 'yes': allowed are auto, on, off"):
        packs("yes", encoder, CPU, "fp32")


def test_obstacles(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder().model
    unpadded._missing_kernel.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert obstacle(encoder, CUDA, "fp16") == "unpadded attention needs a card of compute capability 8.0"
    unpadded._missing_kernel.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert obstacle(encoder, CUDA, "fp16") is None
    unpadded._missing_kernel.cache_clear()
    monkeypatch.setattr(torch.nn.attention.varlen, "varlen_attn", lambda query, is_causal=False: query)
    assert "(2.11 is needed)" in str(obstacle(encoder, CUDA, "fp16"))
    unpadded._missing_kernel.cache_clear()
    encoder.config.num_attention_heads = 4  # 16 / 4
    assert "heads 4 wide" in str(obstacle(encoder, CUDA, "fp16"))
    encoder.config.is_decoder = True
    assert obstacle(encoder, CPU, "fp32") == "decoders cannot run unpadded"


def test_autocast_on_a_card_is_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder().model
    assert packing._dtype(encoder, CUDA) == torch.float32
    assert packing._dtype(copy.deepcopy(encoder).bfloat16(), CUDA) == torch.bfloat16
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind == "cuda")
    assert packing._dtype(encoder, CUDA) == torch.get_autocast_dtype("cuda") == torch.float16
    assert packing._dtype(encoder, CPU) == torch.float32


# ---------------------------------------------------------------- training


def gradients(model: Any, features: Any) -> dict[str, Tensor]:
    model.train()
    out = model(**features)
    (out["logits"] if "logits" in out else out["sentence_embedding"]).square().sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["bi", "classification", "native"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_padded_batches(family: str, kind: str, directories: dict[str, Path]) -> None:
    model = (
        tiny_model(directories[family], ("mean", "cls"))
        if kind == "bi"
        else tiny_cross(directories[family], kind)
    )
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    first = model.tokenizer.pad_token_id + 5  # type: ignore[union-attr]
    features = pad([list(range(first, first + n)) for n in (11, 1, 4)], model.tokenizer.pad_token_id)  # type: ignore[union-attr]
    other = copy.deepcopy(model)
    pack_encoder(other.model)
    expected, found = gradients(model, features), gradients(other, features)
    assert expected.keys() == found.keys() and len(expected) > 10
    assert sum(float(gradient.abs().sum()) for gradient in expected.values()) > 10
    for name, gradient in expected.items():
        close(found[name], gradient, atol=1e-5 * max(1.0, float(gradient.abs().max())))


@pytest.mark.parametrize("cache_rows", [0, 3])
def test_training_unpadded_equals_training_padded(cache_rows: int) -> None:
    """Two epochs, dropout 0; no padding is reported."""
    settings = Settings(**{**vars(SETTINGS), "cache_rows": cache_rows, "log_steps": 1})
    weights, shares = [], []
    for mode in ("off", "on"):
        encoder = Encoder(dropout=0.0)
        seen: list[float] = []
        pack_for_training(encoder, mode, "fp32")
        assert is_packed(encoder.model) == (mode == "on")
        fit(
            encoder,
            [source(encoder)],
            settings,
            scalars=lambda numbers, _, seen=seen: seen.append(numbers["train/padding_share"]),
        )  # type: ignore[misc]
        weights.append(torch.cat([p.detach().flatten() for p in encoder.parameters()]))
        shares.append(max(seen))
    assert torch.allclose(*weights, rtol=0, atol=2e-4)
    assert not torch.allclose(weights[0], torch.cat([p.flatten() for p in Encoder().parameters()]), atol=2e-3)
    assert shares[0] > 0 and shares[1] == 0


@pytest.mark.parametrize("kind", [modelForRegressionTraining, DenseRanking])
def test_nothing_is_cut_into_parts_for_the_sake_of_padding(kind: type) -> None:
    """16 texts a column, of 2 and 30 tokens in turn: padded, an encoder takes them in parts of like length."""
    objective = kind(Encoder())
    features = [pad([[5] * 2, [5] * 30] * 8, 0) for _ in range(2)]
    padded = [len(chunks.parts) for _, chunks in objective.plan(features)]
    pack_encoder(objective.model.model)
    assert min(padded) > 1
    assert all(len(chunks.parts) == 1 for _, chunks in objective.plan(features))


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_dropout_is_switched_off_on_a_card_where_asked(
    family: str,
    directories: dict[str, Path],
    warned: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Other dropout stays, and so does the config, which is what is saved."""
    model = tiny_model(directories[family])
    config, rate = model.model.config.to_json_string(), 0.0 if family == "modernbert" else 0.1
    assert attention_dropout(model.model) == rate
    monkeypatch.setattr(unpadded, "_missing_kernel", lambda device: None)
    monkeypatch.setattr(type(model), "device", CUDA)
    pack_for_training(model, "on", "bf16")
    assert attention_dropout(model.model) == 0.0 and is_packed(model.model)
    assert any(m.p > 0 for m in model.modules() if isinstance(m, torch.nn.Dropout)) == (rate > 0)
    assert model.model.config.to_json_string() == config
    said = f"unpadded attention has no dropout: this encoder's, {rate}, is switched off"
    assert warned.messages == ([said] if rate else [])


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "modernbert"])
def test_attention_dropout_stays_on_a_cpu(
    family: str, directories: dict[str, Path], warned: pytest.LogCaptureFixture
) -> None:
    """Of that family's layers, the attention weights alone are dropped here: other draws, other vectors."""
    model = tiny_model(directories[family])
    pack_for_training(model, "auto", "fp32")
    assert is_packed(model.model) and attention_dropout(model.model) == 0.1 and not warned.messages
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout) and module not in own_dropouts(model.model):
            module.p = 0.0
    features = pad([[5, 6, 7], [8, 9]], 0)
    drawn = [model.train()(**features)["sentence_embedding"] for _ in range(2)]
    calm = [model.eval()(**features)["sentence_embedding"] for _ in range(2)]
    assert not torch.equal(*drawn) and torch.equal(*calm)


def own_dropouts(encoder: torch.nn.Module) -> list[torch.nn.Module]:
    """The dropout modules that hold an attention function's rate."""
    callers = [m for m in encoder.modules() if hasattr(m, "is_causal")]
    return [m.dropout for m in callers if isinstance(getattr(m, "dropout", None), torch.nn.Dropout)]


def test_what_is_saved_does_not_tell_how_it_was_trained(directories: dict[str, Path], tmp_path: Path) -> None:
    for mode in ("off", "on"):
        model = tiny_model(directories["bert"])
        pack_for_training(model, mode, "fp32")
        model.save_pretrained(tmp_path / mode)
    assert contents(tmp_path / "off") == contents(tmp_path / "on")


def test_dropout_is_never_left_out_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(dropout=0.1)
    pack_encoder(encoder.model)
    monkeypatch.setattr(packing, "has_kernel", lambda device: True)
    monkeypatch.setattr(packing, "HALF", (torch.float32,))
    with pytest.raises(ValueError, match=r"attention dropout 0\.1: torch's kernel has none"):
        encoder.train()(**pad([[5, 6], [7]], 0))


def test_auto_trains_unpadded_only_without_attention_dropout(
    warned: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpadded, "_missing_kernel", lambda device: None)
    monkeypatch.setattr(Encoder, "device", CUDA)
    for dropout in (0.1, 0.0):
        encoder = Encoder(dropout)
        pack_for_training(encoder, "auto", "bf16")
        assert is_packed(encoder.model) == (dropout == 0)
    assert warned.messages == ["attention dropout is 0.1, unpadded attention has none: batches are padded"]


def test_both_towers(directories: dict[str, Path]) -> None:
    start = tiny_model(directories["bert"])
    towers = TwoTowers(start, copy.deepcopy(start))
    expected = towers.encode_query(TEXTS)
    assert not trains_packed(towers)
    pack_for_training(towers, "on", "fp32")
    assert trains_packed(towers)
    close(towers.encode_query(TEXTS, unpadded="on"), expected)  # a copy of a packed encoder
    close(towers.encode_document(TEXTS), expected)  # the packed encoder itself


# ---------------------------------------------------------------- train.py


def test_train_py(run_train: TrainRunner, tiny_model_dir: Path, tmp_path: Path) -> None:
    """Two updates, in which no padding is computed, attention dropout or not."""
    result = run_train(
        "--model", tiny_model_dir, *SMALL, "--train-limit", 8, "--train-data", "samples-sts-en", "--log-steps", 1,
        "--dev-data", "--eval-data", "--select-on", "last", "--output-dir", "run",
    )  # fmt: skip
    assert result.code == 0, result.stderr
    log = (tmp_path / "run/train.log").read_text(encoding="utf8")
    assert "unpadded" not in log
    updates = [line for line in log.splitlines() if "examples/s, padding" in line]
    assert len(updates) == 2 and all(line.endswith("padding 0.0 %") for line in updates)
    assert json.loads((tmp_path / "run/config.json").read_text())["flags"]["unpadded"] == "auto"


@pytest.mark.parametrize(
    "data_set, arch", [("samples-sts-en", "bi"), ("samples-mrc-en", "bi"), ("samples-sts-en", "cross")]
)
def test_evaluations_are_told(
    data_set: str, arch: str, directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What train.py hands every evaluation reaches every batch, of sentences, of a retrieval set and of pairs."""
    model = tiny_model(directories["bert"]) if arch == "bi" else tiny_cross(directories["bert"])
    modes: list[str] = []
    monkeypatch.setattr("sbert.encode.packs", lambda mode, *rest: modes.append(mode))
    sets = load_sets([data_set], "dev", Flags(), limit=4)
    evaluate(model, sets, **scoring_options(Flags(arch=arch, unpadded="on"), "fp32"))
    assert len(modes) == (2 if data_set == "samples-mrc-en" else 1) and set(modes) == {"on"}


def test_a_mode_that_is_none(run_train: TrainRunner) -> None:
    result = run_train("--unpadded", "yes")
    assert result.code == 2
    assert "--unpadded 'yes': allowed are auto, on, off" in result.stderr
