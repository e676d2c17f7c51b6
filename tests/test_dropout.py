"""Dropout of our own on a CPU, and the attention that draws from it."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_models import save_tiny
from torch import Tensor, nn
from transformers import LayoutLMConfig, LayoutLMModel, T5Config, T5EncoderModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from sbert import attention as attention_module
from sbert.attention import NAME, VECTOR, attention, choose_attention, padding_mask
from sbert.dropout import LEVELS, Dropout, dropout, replace_dropout
from sbert.encode import encode
from sbert.model import modelWithPooling

N = 1 << 18


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_and_the_scale_of_the_rest(p: float, dtype: torch.dtype) -> None:
    """Each of the four lanes of a number drops a share p, within five standard deviations; the kept ones are 1 / (1 - p)."""
    torch.manual_seed(1)
    out = dropout(torch.ones(N, dtype=dtype), p)
    scale = LEVELS / (LEVELS - round(p * LEVELS))
    assert out.dtype == dtype
    assert set(out.unique().tolist()) == {0.0, torch.tensor(scale, dtype=dtype).item()}
    assert scale == pytest.approx(1 / (1 - p), rel=2e-4)
    for lane in out.view(-1, 4).T:
        share = (lane == 0).double().mean().item()
        assert abs(share - p) < 5 * math.sqrt(p * (1 - p) / len(lane))


def test_lanes_and_neighbours_are_independent() -> None:
    torch.manual_seed(2)
    kept = (dropout(torch.ones(N), 0.5) != 0).double() - 0.5
    for distance in (1, 2, 3, 4, 8):
        correlation = 4 * (kept[distance:] * kept[:-distance]).mean().item()
        assert abs(correlation) < 5 / math.sqrt(N)


def test_bits_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes -32,768, -26,215, -26,214 and 32,767 at p = .1, whose threshold is round(6,553.6) - 32,768 = -26,214."""
    lanes = torch.tensor([-32768, -26215, -26214, 32767], dtype=torch.int16)
    monkeypatch.setattr(Tensor, "random_", lambda self, *_: self.copy_(lanes.view(torch.int64)))
    out = dropout(torch.full((2, 2), 2.0), 0.1)
    assert out.tolist() == [[0, 0], pytest.approx([2 * 65536 / 58982] * 2, rel=1e-6)]


def test_the_gradient_is_the_mask() -> None:
    torch.manual_seed(3)
    x = torch.randn(5, 7, requires_grad=True)
    out = dropout(x, 0.25)
    out.sum().backward()
    assert x.grad is not None and 0 < (x.grad == 0).sum() < x.numel()
    assert torch.equal(out, x * x.grad)


def test_a_seed_gives_the_same_draws_and_the_next_draw_is_another() -> None:
    x = torch.ones(3, 5, 7)  # 105 elements: the last number serves one
    torch.manual_seed(4)
    first, second = dropout(x, 0.3), dropout(x, 0.3)
    state = torch.get_rng_state()
    third = dropout(x, 0.3)
    torch.manual_seed(4)
    assert torch.equal(first, dropout(x, 0.3)) and not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(third, dropout(x, 0.3))


def test_rates_at_the_ends_and_evaluation() -> None:
    x = torch.ones(8)
    assert torch.equal(dropout(x, 0.0), x) and torch.equal(dropout(x, 1.0), torch.zeros(8))
    assert torch.equal(dropout(x, 1e-9), x) and not dropout(torch.ones(0), 0.5).numel()
    assert torch.equal(Dropout(0.5).eval()(x), x) and (Dropout(0.5)(torch.ones(N)) == 0).any()
    with pytest.raises(ValueError, match="probability"):
        dropout(x, 1.5)


def test_every_module_is_replaced_once_at_its_rate() -> None:
    class Kin(nn.Dropout):
        pass

    network = nn.ModuleDict(
        {"a": nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.25)), "b": Kin(0.5), "c": nn.Dropout(0.1)}
    )
    network["c"].eval()
    replace_dropout(network)
    assert type(network["a"][1]) is Dropout and network["a"][1].p == 0.25 and network["a"][1].training
    assert type(network["b"]) is Kin and type(network["c"]) is Dropout and not network["c"].training
    replace_dropout(network)
    assert network["c"].p == 0.1


# ---------------------------------------------------------------- attention


def tensors(t: int, dtype: torch.dtype = torch.float32, d: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """query, key, value of two texts, three heads; the second text has four tokens less."""
    torch.manual_seed(5)
    query, key, value = torch.randn(3, 2, 3, t, d).to(dtype)
    mask = torch.ones(2, 1, t, t, dtype=torch.bool)
    mask[1, ..., -4:] = False
    return query, key, value, mask


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Widths that went to "sdpa"."""
    widths: list[int] = []

    def noted(module: nn.Module, query: Tensor, *args: object, **kwargs: object) -> object:
        widths.append(query.shape[2])
        return sdpa_attention_forward(module, query, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(attention_module, "sdpa_attention_forward", noted)
    return widths


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("t", [5, VECTOR, VECTOR + 1, 3 * VECTOR])  # plain up to a vector, then torch's
def test_attention_is_torchs(
    t: int, scaling: float | None, masked: bool, dtype: torch.dtype, bound: float, fused: list[int]
) -> None:
    """Whatever the keys and values are filled up with."""
    query, key, value, mask = tensors(t, dtype)
    given = mask if masked else None
    found, _ = attention(nn.Identity(), query, key, value, given, scaling=scaling)
    assert fused == []
    exact = F.scaled_dot_product_attention(query.double(), key.double(), value.double(), given, scale=scaling)
    assert found.shape == (2, t, 3, 8) and found.is_contiguous() and found.dtype == dtype
    assert (found.double() - exact.transpose(1, 2)).abs().max() < bound


@pytest.mark.parametrize("t", [12, 20])
@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_padding_that_sees_nothing_stays_finite(t: int, rate: float, dtype: torch.dtype) -> None:
    query, key, value, mask = tensors(t, dtype)
    query = query * 20  # scores past what fp16 has left beyond its lowest number
    mask[1, :, -4:] = False
    assert attention(nn.Identity(), query, key, value, mask, dropout=rate)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_hidden_scores_below_zero_stay_finite(dtype: torch.dtype) -> None:
    """No key is filled up; all scores are -64, all hidden."""
    query = torch.full((1, 1, VECTOR, 64), 8.0, dtype=dtype)
    mask = torch.zeros(1, 1, 1, VECTOR, dtype=torch.bool)
    found, _ = attention(nn.Identity(), query, -query / 8, query, mask)
    assert found.flatten().tolist() == [8.0] * (VECTOR * 64)


@pytest.mark.parametrize(
    "t, rate, plain", [(VECTOR, 0.0, True), (VECTOR + 1, 0.0, False), (VECTOR + 1, 0.1, True)]
)
def test_what_is_plain_and_over_how_many_keys(
    t: int, rate: float, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []

    def noted(query: Tensor, key: Tensor, *args: Any) -> Tensor:
        shapes.append(tuple(key.shape))
        return scores(query, key, *args)

    scores = attention_module.scores
    monkeypatch.setattr(attention_module, "scores", noted)
    attention(nn.Identity(), *tensors(t), dropout=rate)
    assert shapes == ([(2, 3, -(-t // VECTOR) * VECTOR, 8)] if plain else [])


def test_a_mask_of_padding_is_one_row_a_text() -> None:
    """None where nothing is padded; what transformers makes of anything else, a window of 1 here."""
    ones, padded = torch.ones(2, 3, dtype=torch.long), torch.tensor([[1, 1, 1], [1, 0, 0]])
    sizes = {"batch_size": 2, "q_length": 3, "kv_length": 3, "allow_is_causal_skip": False}
    assert padding_mask(ones, **sizes) is None
    found = padding_mask(padded, **sizes)
    assert found is not None and found.tolist() == [[[[True] * 3]], [[[True, False, False]]]]
    assert padding_mask(padded.to("meta"), **sizes, device="meta").shape == (2, 1, 3, 3)  # type: ignore[union-attr]
    assert ALL_MASK_ATTENTION_FUNCTIONS[NAME] is padding_mask
    near = padding_mask(padded, lambda b, h, q, k: (q - k).abs() <= 1, **sizes)
    assert near is not None and near.shape == (2, 1, 3, 3)
    assert near[0, 0].tolist() == [[True, True, False], [True] * 3, [False, True, True]]
    assert near[1, 0].tolist() == [[True, False, False], [True, False, False], [False] * 3]


def test_shared_keys_and_causal_attention_go_to_the_fused_one(fused: list[int]) -> None:
    query, key, value, mask = tensors(12)
    module = nn.Identity()
    module.num_key_value_groups, module.is_causal = 3, True
    attention(module, query, key[:, :1], value[:, :1], mask, dropout=0.1)
    attention(module, query, key, value, None, dropout=0.1)
    assert fused == [12, 12]
    first, again = (attention(module, query, key, value, None, dropout=0.5, scaling=0.1)[0] for _ in range(2))
    without = attention(module, query, key, value, None, scaling=0.1)[0]
    assert not torch.equal(first, again)  # the fused one was told the rate, and the scale
    assert not torch.equal(without, attention(module, query, key, value, None)[0])


def test_elsewhere_than_on_a_cpu_torch_does_both(fused: list[int]) -> None:
    query, key, value, mask = (x.to("meta") for x in tensors(12))
    assert dropout(query, 0.1).device.type == "meta"
    attention(nn.Identity(), query, key, value, mask, dropout=0.1)
    assert fused == [12]


def test_dropout_of_attention_by_hand() -> None:
    """Where every token looks at all of T = 4 alike and the values are the unit vectors, what comes out are the weights: a
    quarter each, dropped at .5 or doubled."""
    torch.manual_seed(6)
    zeros, values = torch.zeros(64, 2, 4, 4), torch.eye(4).expand(64, 2, 4, 4)
    out, _ = attention(nn.Identity(), zeros, zeros, values, None, dropout=0.5)
    assert set(out.unique().tolist()) == {0.0, 0.5}
    assert 0.4 < (out == 0).double().mean().item() < 0.6


# ---------------------------------------------------------------- encoders


@pytest.mark.filterwarnings("ignore")  # transformers and the tracer say what they take as constant
def test_a_trace_of_a_whole_batch_knows_padding(tiny_model_dir: Path) -> None:
    model = modelWithPooling.from_pretrained(tiny_model_dir).model.eval()
    model.config.return_dict = False
    ids, ones = torch.tensor([[2, 5, 6, 3], [2, 7, 8, 3]]), torch.ones(2, 4, dtype=torch.long)
    padded = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    with torch.inference_mode():
        traced = torch.jit.trace(model, (ids, ones), strict=False)
        assert torch.allclose(traced(ids, padded)[0], model(ids, padded)[0], atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "xlm-roberta"])
def test_an_encoder_in_training_draws_from_it(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every layer, whatever torch's own dropout would do; the loaded encoder, not the one that is saved."""
    save_tiny(tmp_path / family, family)
    model = modelWithPooling.from_pretrained(tmp_path / family)
    assert model.model.config._attn_implementation == NAME
    assert not [m for m in model.modules() if type(m) is nn.Dropout]
    model.save_pretrained(tmp_path / "saved")
    assert "attn_implementation" not in (tmp_path / "saved" / "config.json").read_text(encoding="utf8")

    drawn: list[tuple[int, ...]] = []

    def noted(x: Tensor, p: float) -> Tensor:
        drawn.append(tuple(x.shape))
        return x

    monkeypatch.setattr("sbert.dropout.dropout", noted)
    features = {
        "input_ids": torch.tensor([[2, 5, 6, 3]]),
        "attention_mask": torch.ones(1, 4, dtype=torch.long),
    }
    for module in model.modules():  # families differ in which rates they set
        for name in ("p", "attention_dropout"):
            if hasattr(module, name) and isinstance(getattr(module, name), float):
                setattr(module, name, 0.1)
    model.train()(**features)
    layers = model.model.config.num_hidden_layers
    assert sum(len(shape) == 4 for shape in drawn) == layers  # attention weights (B, H, T, T)
    assert sum(len(shape) == 3 for shape in drawn) >= layers


def test_training_gradients_without_dropout_are_those_of_transformers(tiny_model_dir: Path) -> None:
    ours = modelWithPooling.from_pretrained(tiny_model_dir)
    theirs = copy.deepcopy(ours)
    theirs.model.set_attn_implementation("eager")
    features = {
        "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0]]),
        "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
    }
    for model in (ours, theirs):
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 1e-5  # draws, and drops one element of 65,536
        model.train()(**features)["sentence_embedding"].square().mul(
            torch.arange(ours.width)
        ).sum().backward()
    found, wanted = (
        torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        for model in (ours, theirs)
    )
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("family", ["mpnet", "deberta-v2"])
def test_an_attention_of_its_own_is_kept(family: str, tmp_path: Path) -> None:
    save_tiny(tmp_path / family, family)
    model = modelWithPooling.from_pretrained(tmp_path / family)
    assert model.model.config._attn_implementation != NAME
    assert encode(model, ["a b"], precision="bf16").embeddings.shape == (1, model.width)


@pytest.mark.parametrize("family", ["t5", "layoutlm"])
def test_what_asks_attention_for_more_keeps_torchs(family: str) -> None:
    """T5 hands it relative positions, LayoutLM a mask of numbers."""
    if family == "t5":
        config: Any = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
        encoder: Any = T5EncoderModel(config)
    else:
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        encoder = LayoutLMModel(LayoutLMConfig(vocab_size=20, **sizes))
    choose_attention(encoder)
    assert encoder.config._attn_implementation == "sdpa"
