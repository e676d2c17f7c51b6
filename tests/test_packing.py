"""Unpadded batches give what padded ones give: vectors, scores, gradients; and where they cannot be, padding does."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.attention.varlen
from packing_parts import PAIRS, TEXTS, close
from tiny_models import save_tiny, tiny_cross, tiny_model
from torch import Tensor

from sbert import packing
from sbert.attention import FAMILIES
from sbert.encode import encode, pad
from sbert.packing import Pack, is_packed, pack_encoder
from sbert.pooling import POOLINGS
from sbert.predict import predict

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LOGITS = {"activation": "torch.nn.modules.linear.Identity"}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packing")
    families = (*FAMILIES, "mpnet", "deberta-v2")
    return {
        name: save_tiny(folder / name, name, layers=3, types=name in ("bert", "electra")) for name in families
    }


# ---------------------------------------------------------------- a pack, by hand


@pytest.mark.parametrize("left", [False, True])
def test_a_pack_by_hand(left: bool) -> None:
    mask = torch.tensor([[0, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 1]])
    mask = mask if left else mask.flip(1)
    ids = torch.arange(12).reshape(4, 3)
    pack = Pack.of(mask)
    assert pack.row(ids).tolist() == [[1, 2, 3, 4, 5, 11] if left else [0, 1, 3, 4, 5, 9]]
    assert pack.starts.tolist() == [0, 2, 5, 5, 6] and pack.starts.dtype == torch.int32
    assert pack.longest == 3
    hidden = torch.tensor([[[7.0], [8.0], [9.0], [10.0], [11.0], [12.0]]])
    rows = (
        [[0, 7, 8], [9, 10, 11], [0, 0, 0], [0, 0, 12]]
        if left
        else [[7, 8, 0], [9, 10, 11], [0] * 3, [12, 0, 0]]
    )
    assert pack.unpack(hidden).squeeze(2).tolist() == rows


def test_groups_by_hand() -> None:
    """Texts of 3, 0 and 1 tokens: shorter first, the empty one nowhere, what pads a text is one of its own tokens."""
    mask = torch.tensor([[1, 1, 1], [0, 0, 0], [0, 0, 1]])
    pack = Pack.in_groups(mask)
    assert pack.index.tolist() == [8, 0, 1, 2] and pack.size == 4 and len(pack.groups) == 1
    (group,) = pack.groups
    row = torch.tensor([[7.0], [1.0], [2.0], [3.0]]).view(4, 1, 1).requires_grad_()  # one head, one wide
    padded = group.pad(row)
    assert padded.flatten(1).tolist() == [[7, 7, 7], [1, 2, 3]]
    assert group.allowed(-1).int().flatten(1).tolist() == [[1, 0, 0], [1, 1, 1]]
    assert group.allowed(1).int()[1, 0].tolist() == [[1, 1, 0], [1, 1, 1], [0, 1, 1]]
    back = group.unpad(padded.transpose(1, 2))
    assert back.flatten().tolist() == [7, 1, 2, 3]
    (back.flatten() * torch.tensor([1.0, 10, 100, 1000])).sum().backward()
    assert row.grad is not None and row.grad.flatten().tolist() == [1, 10, 100, 1000]
    assert (
        Pack.in_groups(mask, half=True).size == 4 and Pack.in_groups(torch.ones(1, 26), half=True).size == 26
    )


def test_groups_are_of_like_length() -> None:
    """32 texts of 2 tokens and 32 of 30: two groups without padding, so nothing to select or mask."""
    lengths = torch.tensor([2, 30] * 32)
    mask = torch.arange(30)[None, :] < lengths[:, None]
    pack = Pack.in_groups(mask)
    assert [g.shape for g in pack.groups] == [(32, 2), (32, 30)]
    assert all(g.index is g.filled is g.mask is g.allowed(-1) is None for g in pack.groups)
    near = pack.groups[0].allowed(0)
    assert near is not None and near[0, 0].int().tolist() == [[1, 0], [0, 1]]
    assert Pack.in_groups(torch.zeros(2, 3)).groups == ()


def test_a_packed_row_is_rounded_up_in_half_precision_alone() -> None:
    for tokens, rounded in ((20, 20), (25, 26), (142, 144), (1000, 1024), (4000, 4032)):
        mask = torch.ones(1, tokens)
        assert (Pack.in_groups(mask).size, Pack.in_groups(mask, half=True).size) == (tokens, rounded)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_in_bf16_are_near_those_in_fp32(family: str, tmp_path: Path) -> None:
    """Layer norms above all: torch adds up their gradients in the precision of their input. ELECTRA with embeddings that
    a linear layer widens is the one whose sums of residuals were bf16."""
    model = tiny_model(save_tiny(tmp_path / family, family, layers=3))
    pack_encoder(model.model)
    assert hasattr(model.model, "embeddings_project") == (family == "electra")
    features = pad([[5 + i % 7] * (2 + i % 9) for i in range(200)], 0)
    target, grads = torch.randn(200, model.width), []
    for half in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            vectors = model.eval()(**features)["sentence_embedding"]
        (vectors.float() - target).square().mean().backward()
        norms = [p.grad for m in model.modules() if isinstance(m, torch.nn.LayerNorm) for p in m.parameters()]
        grads.append(torch.cat([g.flatten() for g in norms if g is not None]))
    assert float((grads[1] - grads[0]).norm() / grads[0].norm()) < 0.02


# ---------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_those_of_padded_batches(family: str, directories: dict[str, Path]) -> None:
    """Every pooling, concatenated; the last layer, and the mean of the last two; a prompt that is read but not pooled."""
    model = tiny_model(directories[family], tuple(POOLINGS), prompts={"query": "the man "})
    rows: list[int] = []
    words = model.model.get_input_embeddings()
    words.register_forward_hook(lambda module, args, output: rows.append(len(args[0])))
    for average, include in ((1, True), (2, True), (1, False)):
        model.description.average_layers, model.description.include_prompt = average, include
        padded, packed = (encode(model, TEXTS, prompt_name="query", unpadded=mode) for mode in ("off", "on"))
        close(packed.embeddings, padded.embeddings)
        assert padded.padding_share > 0.4 and packed.padding_share == 0.0
        assert rows[-2:] == [len(TEXTS), 1]
        apart = [np.abs(a - b).max() for a, b in itertools.combinations(packed.embeddings, 2)]
        assert min(apart) > 0.05


@pytest.mark.parametrize("head", ["classification", "native"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_padded_batches(family: str, head: str, directories: dict[str, Path]) -> None:
    model = tiny_cross(directories[family], head, num_labels=3)
    padded, packed = (predict(model, PAIRS, unpadded=mode, **LOGITS) for mode in ("off", "on"))
    close(packed.scores, padded.scores)
    assert padded.scores.std(0).min() > 0.02
    assert padded.padding_share > 0.1 and packed.padding_share == 0.0


def test_modernbert_heads_may_read_the_mean(directories: dict[str, Path]) -> None:
    model = tiny_cross(directories["modernbert"], "native")
    model.model.config.classifier_pooling = "mean"
    padded, packed = (predict(model, PAIRS, unpadded=mode, **LOGITS).scores for mode in ("off", "on"))
    close(packed, padded)


@pytest.mark.parametrize("family", FAMILIES)
def test_left_padding_gives_the_same_row(family: str, directories: dict[str, Path]) -> None:
    """What is left is pooling's order of adding up. Padded, families that number places would read other positions."""
    model = tiny_model(directories[family], tuple(POOLINGS))
    expected = encode(model, TEXTS, unpadded="on").embeddings
    model.tokenizer.padding_side = "left"  # type: ignore[union-attr]
    close(encode(model, TEXTS, unpadded="on").embeddings, expected, atol=2e-6)


def test_neighbours_do_not_matter(directories: dict[str, Path]) -> None:
    """The bound is rounding: where a text stands in the row decides in which order its products are added up."""
    for family in FAMILIES:
        model = tiny_model(directories[family])
        alone = encode(model, [TEXTS[0]], unpadded="on").embeddings[0]
        for others in (TEXTS[1:3], TEXTS[3:], TEXTS[1:]):
            found = encode(model, [*others, TEXTS[0]], unpadded="on").embeddings[-1]
            close(found, alone, atol=2e-6)


@pytest.mark.parametrize("precision, bound", [("bf16", 0.05), ("fp16", 0.01)])
def test_half_precision_stays_near_fp32(precision: str, bound: float, directories: dict[str, Path]) -> None:
    model = tiny_model(directories["bert"])
    exact = encode(model, TEXTS, normalize=True).embeddings
    found = encode(model, TEXTS, normalize=True, precision=precision, unpadded="on").embeddings
    assert 1e-5 < np.abs(found - exact).max() < bound


def test_a_batch_without_a_single_token(directories: dict[str, Path]) -> None:
    model = tiny_model(directories["bert"])
    pack_encoder(model.model)
    features = pad([[], []], 0)
    assert not model(**features)["sentence_embedding"].any()


# ---------------------------------------------------------------- torch's kernel


def kernel_of_words(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    **more: Any,
) -> Tensor:
    """What the documentation of torch.nn.attention.varlen.varlen_attn says that it computes, a text after the other."""
    inspect.signature(REAL).bind(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, **more)
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32 and cu_seq_q.tolist() == cu_seq_k.tolist()
    assert query.shape == key.shape == value.shape and query.stride(-1) == 1
    left, right = more["window_size"]
    out, starts = torch.full_like(query, torch.nan), cu_seq_q.tolist()
    assert max_q == max_k == max(b - a for a, b in itertools.pairwise(starts))
    for a, b in itertools.pairwise(starts):
        scores = torch.einsum("qhd,khd->hqk", query[a:b], key[a:b]) * more["scale"]
        ahead = torch.arange(b - a)[None, :] - torch.arange(b - a)[:, None]
        unseen = ((left >= 0) & (-ahead > left)) | ((right >= 0) & (ahead > right))
        weights = scores.masked_fill(unseen, -torch.inf).softmax(-1)
        out[a:b] = torch.einsum("hqk,khd->qhd", weights, value[a:b])
    return out


REAL = torch.nn.attention.varlen.varlen_attn


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The branch of a CUDA card on this machine, its kernel replaced by kernel_of_words; a list that grows a call."""
    calls: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        calls.append(args[5])
        return kernel_of_words(*args, **kwargs)

    monkeypatch.setattr(packing, "has_kernel", lambda device: True)
    monkeypatch.setattr(torch.nn.attention.varlen, "varlen_attn", counted)
    return calls


@pytest.mark.parametrize("family", FAMILIES)
def test_the_kernel_is_asked_for_the_same(
    family: str, directories: dict[str, Path], kernel: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ModernBERT's windows of 4 places to either side are part of it: TEXTS[3] is longer than one."""
    model = tiny_model(directories[family])
    expected = encode(model, TEXTS).embeddings
    monkeypatch.setattr(packing, "HALF", (torch.float32,))
    close(encode(model, TEXTS, unpadded="on").embeddings, expected)
    assert len(kernel) == 3  # one batch, three layers


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_kernel_does_not_take_is_padded(
    family: str, directories: dict[str, Path], kernel: list[int]
) -> None:
    """A packed encoder that is asked in fp32, as an evaluation between two updates may do, masks padding as ever."""
    model = tiny_model(directories[family])
    features = pad([[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], [16], [17, 18]], 0)
    with torch.no_grad():
        expected = model(**features)["sentence_embedding"]
        pack_encoder(model.model)
        assert is_packed(model.model)
        close(model(**features)["sentence_embedding"], expected)
    assert not kernel


def test_an_encoder_that_keeps_its_attention_stays_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = torch.nn.Linear(1, 1)
    monkeypatch.setattr(encoder, "set_attn_implementation", lambda name: None, raising=False)
    pack_encoder(encoder)
    assert not encoder._forward_pre_hooks and not encoder._forward_hooks
