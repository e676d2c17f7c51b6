"""Pairs -> scores with a cross-encoder: each distinct pair once, one tokenizer call, batches cut by a token budget after
sorting by length, the order restored at the end.

Shape letters: N pairs, K labels.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from heads.embedding import ACTIVATIONS
from sbert.encode import run_batches
from sbert.pairs import Pair, tokenize_pairs
from sbert.precision import DTYPES

if TYPE_CHECKING:
    from sbert.cross_encoder import CrossEncoder

log = logging.getLogger("sbert")


@dataclass(frozen=True)
class Predicted:
    """scores: (N,) for one label, else (N, K), fp32. The counts are of distinct pairs."""

    scores: np.ndarray
    distinct: int
    truncated: int
    padding_share: float


@torch.inference_mode()
def predict(
    model: "CrossEncoder",
    pairs: Sequence[Pair],
    *,
    activation: str | None = None,
    batch_tokens: int | None = None,
    precision: str = "fp32",
    unpadded: str = "auto",
    progress: bool = False,
) -> Predicted:
    """Scores pairs in eval mode; the model's own mode is restored.

    activation: a key of heads.embedding.ACTIVATIONS; None: the model's own. It is put on fp32 logits, whatever the
    encoder ran in: the sigmoid of a half-precision logit near 8 no longer tells two documents apart.
    unpadded: "auto", "on" or "off", see sbert.unpadded.packs.
    """
    if model.tokenizer is None:
        raise ValueError("predict needs a model with a tokenizer")
    if precision not in DTYPES:
        raise ValueError(f"precision {precision!r}: allowed are {', '.join(DTYPES)}")
    if activation is not None and activation not in ACTIVATIONS:
        raise ValueError(f"activation {activation!r}: allowed are {', '.join(ACTIVATIONS)}")
    pairs = [_pair(pair) for pair in pairs]
    distinct = list(dict.fromkeys(pairs))
    tokens = tokenize_pairs(model.tokenizer, distinct, model.max_length)
    if tokens.truncated:
        log.warning(
            "%d of %d pairs are longer than %d tokens and were truncated",
            tokens.truncated,
            len(distinct),
            model.max_length,
        )
    logits, padding_share = run_batches(
        model,
        tokens.ids,
        lambda network, features: network(**features)["logits"],
        types=tokens.types,
        first_token=True,
        batch_tokens=batch_tokens,
        precision=precision,
        unpadded=unpadded,
        progress=progress,
        unit="pairs",
    )
    logits = logits.reshape(len(distinct), model.num_labels)
    scores = ACTIVATIONS[activation or model.activation]()(logits.float())
    if model.num_labels == 1:
        scores = scores.squeeze(1)
    position = {pair: i for i, pair in enumerate(distinct)}
    rows = np.fromiter((position[pair] for pair in pairs), dtype=np.int64, count=len(pairs))
    return Predicted(scores.numpy()[rows], len(distinct), tokens.truncated, padding_share)


def _pair(pair: Pair) -> Pair:
    texts = () if isinstance(pair, str) else tuple(pair)  # a word of two letters is no pair
    if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"a pair is two strings, got {str(pair)[:80]!r}")
    return texts[0], texts[1]


def rank(
    model: "CrossEncoder", query: str, documents: Sequence[str], top_k: int | None = None, **options: Any
) -> list[dict[str, Any]]:
    """Documents by falling score, at most ``top_k``; equal scores keep the order of ``documents``."""
    if model.num_labels != 1:
        raise ValueError(f"rank needs a model of one score a pair; this one has {model.num_labels} labels")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: must be at least 1")
    if isinstance(documents, str):
        raise ValueError("documents must be a list of strings, not one string")
    documents = list(documents)
    scores = predict(model, [(query, document) for document in documents], **options).scores
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [{"corpus_id": int(i), "score": float(scores[i]), "text": documents[i]} for i in order]
