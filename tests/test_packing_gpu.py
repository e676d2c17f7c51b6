"""torch's kernel for unpadded batches beside padded ones, on a CUDA card."""

from __future__ import annotations

import copy
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from packing_parts import PAIRS, TEXTS, close
from tiny_models import save_tiny, tiny_cross, tiny_model
from torch import Tensor
from transformers import BertConfig, BertModel

from sbert.attention import FAMILIES
from sbert.encode import encode, pad
from sbert.model import modelWithPooling
from sbert.packing import Pack, pack_encoder, run_kernel
from sbert.predict import predict
from sbert.unpadded import obstacle, packs

CUDA = torch.device("cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(autouse=True)
def always_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbert.encode.MANY", 0)


def cosine(a: Any, b: Any) -> float:
    return float(F.cosine_similarity(torch.as_tensor(a), torch.as_tensor(b), dim=-1).min())


@pytest.mark.parametrize("window", [-1, 4])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernel_computes_what_the_mask_does(dtype: torch.dtype, window: int) -> None:
    """Against fp32 on the same rounded inputs; 12 heads of 32, texts of 1 to 300 tokens."""
    torch.manual_seed(0)
    lengths = torch.tensor([300, 1, 17, 64, 5], device=CUDA)
    pack = Pack.of(torch.arange(300, device=CUDA)[None, :] < lengths[:, None])
    q, k, v = (torch.randn(387, 12, 32, device=CUDA).to(dtype) for _ in range(3))
    found = run_kernel(q, k, v, pack, 32**-0.5, window)
    heads = (x.float().transpose(0, 1).unsqueeze(0) for x in (q, k, v))
    expected = F.scaled_dot_product_attention(*heads, pack.allowed(window), scale=32**-0.5)
    close(found.float().cpu(), expected[0].transpose(0, 1).cpu(), atol=2e-2)
    assert (found.float() - expected[0].transpose(0, 1)).abs().mean() < 1e-3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_and_scores_are_those_of_padded_batches(family: str, precision: str, tmp_path: Path) -> None:
    """Unpadded is the default in half precision; cosines to padded vectors are within 1e-3 of 1."""
    save_tiny(tmp_path / family, family, types=family in ("bert", "electra"))
    model = tiny_model(tmp_path / family, ("mean", "cls", "max")).to(CUDA)
    packed, padded = (encode(model, TEXTS, precision=precision, **more) for more in ({}, {"unpadded": "off"}))
    assert packed.padding_share == 0 and padded.padding_share > 0.4
    assert cosine(packed.embeddings, padded.embeddings) > 1 - 1e-3
    cross = tiny_cross(tmp_path / family, num_labels=3).to(CUDA)
    scores = [predict(cross, PAIRS, precision=precision, unpadded=mode).scores for mode in ("auto", "off")]
    close(scores[0], scores[1], atol=0.05)


def test_gradients_point_the_same_way() -> None:
    """Training as train.py does it, fp32 weights under bf16 autocast."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    padded = modelWithPooling(BertModel(config, add_pooling_layer=False)).to(CUDA).train()
    packed = copy.deepcopy(padded)
    pack_encoder(packed.model)
    features = {k: v.to(CUDA) for k, v in pad([list(range(3, 3 + n)) for n in (60, 1, 9, 33)], 0).items()}
    target = torch.randn(4, 64, device=CUDA)
    flat: list[Tensor] = []
    for model in (padded, packed):
        with torch.autocast("cuda", torch.bfloat16):
            loss = (model(**features)["sentence_embedding"] * target).sum()
        loss.backward()
        flat.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert flat[0].norm() > 1 and cosine(flat[0], flat[1]) > 0.999


def test_fp32_is_padded_and_says_why() -> None:
    config = BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    encoder = BertModel(config)
    assert obstacle(encoder, CUDA, "fp32") == "unpadded attention has no kernel for fp32 on cuda"
    assert obstacle(encoder, CUDA, "bf16") is None
    assert packs("auto", encoder, CUDA, "fp32") is False


def test_it_is_faster_where_lengths_differ() -> None:
    """127 texts of 16 tokens and one of 512, in one batch: 65,536 tokens padded, 2,544 not. Medians of 10 passes."""
    config = BertConfig(
        vocab_size=1000, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    padded = modelWithPooling(BertModel(config, add_pooling_layer=False)).to(CUDA, torch.bfloat16).eval()
    packed = copy.deepcopy(padded)
    pack_encoder(packed.model)
    rows = [[5] * n for n in (512, *[16] * 127)]
    features = {k: v.to(CUDA) for k, v in pad(rows, 0).items()}

    def seconds(model: modelWithPooling) -> float:
        times = []
        for _ in range(13):
            torch.cuda.synchronize()
            started = time.perf_counter()
            with torch.inference_mode():
                model(**features)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - started)
        return statistics.median(times[3:])

    assert seconds(packed) < seconds(padded)
