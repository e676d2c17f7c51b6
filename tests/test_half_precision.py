"""The half-precision copy an encoder runs as, and the vocabulary gradient that is kept: same numbers, less work."""

import math
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from loop_parts import SETTINGS, Encoder, source
from torch import nn

import sbert.distributed
import sbert.optim
from heads.embedding import Dense
from sbert.encode import encode
from sbert.loop import fit
from sbert.model import modelWithPooling
from sbert.optim import clip_gradients, table_gradients, zero_gradients
from sbert.precision import PreparedLinear, prepares_layers, with_half_encoder

TEXTS = ["a cat sat", "고양이가 앉았다", "one two three four five six", "x"]


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few the texts, their encoder is copied."""
    monkeypatch.setattr("sbert.encode.MANY", 0)


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> modelWithPooling:
    return modelWithPooling.from_pretrained(tiny_model_dir)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_copy_is_half_and_the_model_is_as_it_was(model: modelWithPooling, dtype: torch.dtype) -> None:
    before = {name: p.clone() for name, p in model.named_parameters()}
    network = with_half_encoder(model, dtype)
    assert {p.dtype for p in network.model.parameters()} == {dtype}
    assert network.tokenizer is model.tokenizer and network is not model
    for name, p in model.named_parameters():
        assert p.dtype == torch.float32 and torch.equal(p, before[name])


def test_layers_after_the_encoder_stay_in_fp32(tiny_model_dir: Path, copied: None) -> None:
    """A Dense layer of the copy is the model's own."""
    with_dense = modelWithPooling.from_pretrained(tiny_model_dir)
    with_dense.layers.append(Dense(with_dense.width, 4))
    network = with_half_encoder(with_dense, torch.bfloat16)
    assert network.layers[-1].linear.weight is with_dense.layers[-1].linear.weight
    assert encode(with_dense, TEXTS, precision="bf16").embeddings.dtype == np.float32


@pytest.mark.parametrize("precision, bound", [("bf16", 0.02), ("fp16", 0.005)])
@pytest.mark.parametrize("many", [0, 10**9])  # copied, and under autocast
def test_half_precision_stays_near_fp32(
    model: modelWithPooling, precision: str, bound: float, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sbert.encode.MANY", many)
    exact, near = (encode(model, TEXTS, precision=p, normalize=True).embeddings for p in ("fp32", precision))
    assert 0 < np.abs(exact - near).max() < bound


@pytest.mark.skipif(not prepares_layers(), reason="this processor has no bf16, or is no x86")
def test_prepared_layers_give_the_same_bits(
    model: modelWithPooling, copied: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = with_half_encoder(model, torch.bfloat16).model
    kinds = {type(m) for m in network.modules()}
    assert PreparedLinear in kinds and nn.Linear not in kinds
    prepared = encode(model, TEXTS, precision="bf16").embeddings
    monkeypatch.setattr("sbert.precision.prepares_layers", lambda: False)
    assert nn.Linear in {type(m) for m in with_half_encoder(model, torch.bfloat16).model.modules()}
    assert np.array_equal(prepared, encode(model, TEXTS, precision="bf16").embeddings)
    assert nn.Linear in {type(m) for m in with_half_encoder(model, torch.float16).model.modules()}
    for bias in (True, False):
        linear = nn.Linear(40, 24, bias=bias, dtype=torch.bfloat16)
        x = torch.randn(2, 7, 40).bfloat16()
        with torch.inference_mode():
            assert torch.equal(PreparedLinear(linear)(x), linear(x))


def test_a_few_texts_are_not_worth_a_copy(model: modelWithPooling, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens of TEXTS are counted: at one token less than the bound there is no copy, at the bound there is."""
    made: list[int] = []

    def noted(*args: object) -> nn.Module:
        made.append(1)
        return with_half_encoder(*args)  # type: ignore[arg-type]

    tokens = sum(len(model.tokenizer(text)["input_ids"]) for text in TEXTS)
    monkeypatch.setattr("sbert.encode.with_half_encoder", noted)
    for many, copies in ((tokens + 1, 0), (tokens, 1)):
        monkeypatch.setattr("sbert.encode.MANY", many)
        encode(model, TEXTS, precision="bf16")
        assert len(made) == copies
    encode(model, TEXTS, precision="fp32")
    assert len(made) == 1


def test_threads_encode_at_once(model: modelWithPooling, copied: None) -> None:
    """Precisions do not leak from one thread's run into another's."""
    alone = {p: encode(model, TEXTS * 5, precision=p).embeddings for p in ("fp32", "bf16")}
    wrong: list[str] = []

    def work(precision: str) -> None:
        for _ in range(5):
            if not np.array_equal(encode(model, TEXTS * 5, precision=precision).embeddings, alone[precision]):
                wrong.append(precision)

    threads = [threading.Thread(target=work, args=(p,)) for p in ("fp32", "bf16") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def trained(
    monkeypatch: pytest.MonkeyPatch, vocabulary: int, kind: str, max_grad_norm: float = 1.0
) -> Encoder:
    monkeypatch.setattr(sbert.optim, "VOCABULARY", vocabulary)
    encoder = Encoder()
    torch.manual_seed(7)
    fit(encoder, [source(encoder, kind=kind)], replace(SETTINGS, max_grad_norm=max_grad_norm))
    return encoder


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_training_with_kept_gradients_equals_training_without(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The tiny vocabulary has 50 rows; dropout is on, two epochs."""
    plain, kept = (trained(monkeypatch, vocabulary, kind) for vocabulary in (51, 50))
    for (name, a), b in zip(plain.named_parameters(), kept.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-6), name
    assert not any(m.sparse for m in kept.modules() if isinstance(m, nn.Embedding))


def test_gradients_add_up_and_are_zeroed_in_place() -> None:
    """Rows 1 and 3 looked up twice over two backward passes: by hand 2 and 1 + 1."""
    model = nn.Sequential(nn.Embedding(5000, 2))
    weight = model[0].weight
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with table_gradients(model, torch.device("cpu")) as kept:
        assert [one.weight for one in kept] == [weight]
        buffer = weight.grad
        for rows in ([1, 1, 3], [3]):
            model(torch.tensor(rows)).sum().backward()
        assert weight.grad is buffer and not buffer.is_sparse
        assert buffer[[1, 3]].tolist() == [[2, 2], [2, 2]] and buffer.sum() == 8
        zero_gradients(optimizer, kept)
        assert weight.grad is buffer and not buffer.any()
        assert kept[0].seen == []
    assert weight.grad is None and not model[0].sparse and not weight._backward_hooks


def test_a_table_of_two_modules_is_kept_once() -> None:
    """As BART and T5 have theirs. Row 1 is looked up by both, by hand 2; the norm of two numbers that are 2: 8 ** .5."""
    model = nn.ModuleList([nn.Embedding(5000, 2), nn.Embedding(5000, 2)])
    model[1].weight = model[0].weight
    with table_gradients(model, torch.device("cpu")) as kept:
        assert len(kept) == 1 and all(m.sparse for m in model)
        sum(m(torch.tensor([1])).sum() for m in model).backward()
        assert clip_gradients(model.parameters(), 1.0, kept) == pytest.approx(8**0.5)
        assert kept[0].grad[1].tolist() == pytest.approx([0.5**0.5] * 2)
    assert not any(m.sparse for m in model)


def test_no_bound_on_the_norm_changes_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """max_grad_norm 0."""
    free, wide = (trained(monkeypatch, 50, "regression", bound) for bound in (0.0, 1e9))
    for a, b in zip(free.parameters(), wide.parameters(), strict=True):
        assert torch.equal(a, b)
    tight = trained(monkeypatch, 50, "regression", 1e-3)
    assert not torch.equal(next(tight.parameters()), next(free.parameters()))


@pytest.mark.parametrize("max_norm", [math.inf, 100.0, 0.5])
@pytest.mark.parametrize("also_dense", [False, True])
def test_clipping_is_torchs(max_norm: float, also_dense: bool) -> None:
    """Over the rows in use as over the whole table; all rows count where something else than lookups reached it."""

    def gradients(kept: bool) -> tuple[float, list[torch.Tensor]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(5000, 3), nn.Linear(3, 2))
        table = model[0].weight
        with table_gradients(model, torch.device("cpu" if kept else "meta")) as tables:
            for rows in ([1, 1, 3], [3, 4999]):
                model(torch.tensor(rows)).square().sum().backward()
            if also_dense:
                (table[7] * 5).sum().backward()
            if kept:
                assert len(tables) == 1
                norm = clip_gradients(model.parameters(), max_norm, tables)
            else:
                norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm).item()
            found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            zero_gradients(torch.optim.SGD(model.parameters()), tables)
            assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)
        return norm, found

    (norm, found), (expected_norm, expected) = gradients(True), gradients(False)
    assert norm == pytest.approx(expected_norm, rel=1e-6) and 0.5 < norm < 100
    assert len(found) == len(expected) == 3
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=0)
        assert not b.is_sparse and b.any()


def test_rows_of_other_processes_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their gradients were added without a look at which rows they reach."""
    model = nn.Sequential(nn.Embedding(5000, 2))
    with table_gradients(model, torch.device("cpu")) as (table,):
        model(torch.tensor([1])).sum().backward()
        assert table.rows().tolist() == [1]
        table.grad[9] += 1  # what distributed.sum_gradients does
        monkeypatch.setattr(sbert.distributed, "count", lambda: 2)
        assert clip_gradients(model.parameters(), 1.0, [table]) == pytest.approx(2)
        assert table.grad[[1, 9]].flatten().tolist() == pytest.approx([0.5] * 4)
        table.zero_()
        assert not table.grad.any()


def test_frozen_and_small_tables_are_left_alone() -> None:
    model = nn.Sequential(nn.Embedding(4095, 2), nn.Embedding(4096, 2))
    model[1].weight.requires_grad_(False)
    with table_gradients(model, torch.device("cpu")) as kept:
        assert kept == []
