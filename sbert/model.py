"""modelWithPooling: the bi-encoder (SBERT paper, section 3). One encoder, one pooling, one vector a text.

    model = modelWithPooling.from_pretrained("minilm")
    vectors = model.encode(["A cat sat.", "고양이가 앉았다."])     # numpy, (2, 384), fp32
    model.similarity(vectors, vectors)                           # tensor, (2, 2)
    model.save_pretrained("my-model")                            # sentence-transformers reads it as well

Shape letters: B batch, T tokens, D embedding width, N texts.
"""

import dataclasses
import functools
import importlib.metadata
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from heads.embedding import Dense, Normalize
from losses.similarity import PAIRWISE
from sbert.atomic import atomic_directory
from sbert.directory import (
    MIN_LENGTH,
    Description,
    check_truncate_dim,
    read_description,
    read_facts,
    set_tokenizer_limit,
    write_description,
)
from sbert.encoder import UNBOUNDED, find_model, load_parts, position_limit
from sbert.errors import RunError
from sbert.pooling import POOLINGS, pool

log = logging.getLogger("sbert")


class modelWithPooling(nn.Module):  # noqa: N801  (the name the write-up gave it)
    """A Hugging Face encoder, a pooling, and the layers after it.

    model: any encoder whose output has ``last_hidden_state`` (B, T, D).
    pooling_type: one of sbert.pooling.POOLINGS, or several, whose vectors are then concatenated in that order.
    tokenizer: needed by ``encode``; training works on ids alone.
    description: what else the model directory says (layers after pooling, prompts, max length, similarity, how many
        encoder layers are averaged); copied, except for the layers' weights.
    """

    def __init__(
        self,
        model: nn.Module,
        pooling_type: str | Sequence[str] = "mean",
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        description: Description | None = None,
    ) -> None:
        super().__init__()
        pooling = (pooling_type,) if isinstance(pooling_type, str) else tuple(pooling_type)
        for mode in pooling:
            if mode not in POOLINGS:
                raise ValueError(f"pooling_type {mode!r}: allowed are {', '.join(POOLINGS)}")
        self.model = model
        given = description or Description()
        self.description = dataclasses.replace(
            given, pooling=pooling, layers=list(given.layers), prompts=dict(given.prompts)
        )
        self.layers = nn.ModuleList(given.layers)
        layers = getattr(getattr(model, "config", None), "num_hidden_layers", None)
        if given.average_layers > 1 and layers is not None and given.average_layers > layers:
            raise RunError(f"--average-layers {given.average_layers}: this encoder has {layers} layers")
        self.tokenizer = tokenizer
        self.facts: dict[str, Any] = {}  # where the model came from; written to sbert.json

    # ---------------------------------------------------------------- vectors

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, prompt_tokens: int = 0, **inputs: Tensor
    ) -> dict[str, Tensor]:
        """input_ids, attention_mask: (B, T) -> {"sentence_embedding": (B, D), "token_embeddings": (B, T, D)}.

        prompt_tokens: how many leading real tokens pooling leaves out. inputs: whatever else the encoder takes.
        """
        averaged = self.description.average_layers
        more: dict[str, Any] = {"output_hidden_states": True} if averaged > 1 else {}
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **inputs, **more)
        hidden = output.last_hidden_state
        if averaged > 1:
            before = output.hidden_states[-averaged:-1]
            hidden = torch.stack([state.float() for state in (*before, hidden)]).mean(0)
        # word vectors say themselves which words they have none for
        known = getattr(output, "attention_mask", None)
        embedding = pool(hidden, attention_mask, self.description.pooling, skip=prompt_tokens, known=known)
        for layer in self.layers:
            embedding = layer(embedding)
        return {"sentence_embedding": embedding.float(), "token_embeddings": hidden}

    def encode(self, texts: str | Iterable[str], **options: Any) -> np.ndarray:
        """(N, D) fp32, in the order given; a single string gives (D,). Options: see sbert.encode.encode."""
        from sbert.encode import encode

        if isinstance(texts, str):
            return encode(self, [texts], **options).embeddings[0]
        return encode(self, texts, **options).embeddings

    def encode_query(self, texts: str | Iterable[str], **options: Any) -> np.ndarray:
        """``encode`` with the prompt the model directory keeps for queries, if any."""
        return self.encode(texts, **{"prompt_name": self._prompt("query"), **options})

    def encode_document(self, texts: str | Iterable[str], **options: Any) -> np.ndarray:
        """``encode`` with the prompt the model directory keeps for documents, if any."""
        return self.encode(texts, **{"prompt_name": self._prompt("document", "passage", "corpus"), **options})

    def prompt_for(self, kind: str) -> str:
        """The text that encode_query ("query") or encode_document ("document") puts before each text; "" if none."""
        names = ("query",) if kind == "query" else ("document", "passage", "corpus")
        return self.description.prompts.get(self._prompt(*names) or self.description.default_prompt or "", "")

    def _prompt(self, *names: str) -> str | None:
        return next((name for name in names if name in self.description.prompts), None)

    def similarity(self, queries: Any, documents: Any) -> Tensor:
        """All pairs: (Q, D), (N, D) -> (Q, N), row = query, by the model's own measure (cosine unless it says so).

        Arrays, lists or tensors; the answer is fp32 on the CPU, without a gradient.
        """
        q, d = (_rows(x) for x in (queries, documents))
        if self.description.similarity == "cosine":
            return nn.functional.normalize(q, dim=-1) @ nn.functional.normalize(d, dim=-1).T
        if self.description.similarity == "dot":
            return q @ d.T
        return torch.stack([PAIRWISE[self.description.similarity](row.expand_as(d), d) for row in q])

    # ---------------------------------------------------------------- facts

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def width(self) -> int:
        """D of the sentence embedding."""
        dense = [layer for layer in self.layers if isinstance(layer, Dense)]
        return dense[-1].linear.out_features if dense else self._hidden * len(self.description.pooling)

    @property
    def _hidden(self) -> int:
        return int(self.model.config.hidden_size)  # type: ignore[union-attr,arg-type]

    @property
    def max_length(self) -> int:
        """Most tokens a text may have, special ones included; longer texts are truncated, and counted."""
        limits = [self.description.max_length, position_limit(self.model)]  # type: ignore[arg-type]
        if self.description.max_length is None and self.tokenizer is not None:
            limits.append(self.tokenizer.model_max_length)
        return int(min((limit for limit in limits if limit and limit < UNBOUNDED), default=512))

    @max_length.setter
    def max_length(self, value: int) -> None:
        limit = position_limit(self.model)  # type: ignore[arg-type]
        if type(value) is not int or value < MIN_LENGTH:
            raise RunError(f"--max-length {value!r}: must be an integer of at least {MIN_LENGTH}")
        if limit is not None and value > limit:
            raise RunError(f"--max-length {value}: this encoder has {limit} positions")
        self.description.max_length = value

    # ---------------------------------------------------------------- directories

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        pooling_type: str | Sequence[str] | None = None,
        num_layers: int | None = None,
        average_layers: int | None = None,
        max_length: int | None = None,
        normalize: bool | None = None,
        device: str | torch.device = "cpu",
    ) -> "modelWithPooling":
        """Loads ``minilm``, a hub id, a directory (ours, sentence-transformers', plain Hugging Face), or word vectors.

        Arguments left at None keep what the directory says. normalize: False drops its Normalize layer, True adds one.
        average_layers: token vectors are the mean of so many last layers. Word vectors: see sbert.static_vectors.
        Raises RunError with one line when something is missing or does not fit.
        """
        directory = find_model(str(name))
        facts = read_facts(directory)
        if facts.get("towers") == "separate":
            raise RunError(f"{directory}: holds two towers (load_bi_encoder, TwoTowers.from_pretrained)")
        description = read_description(directory)
        encoder_directory = directory / description.encoder_path
        if facts.get("arch") == "cross":
            raise RunError(f"{directory}: holds a cross-encoder (--arch cross, CrossEncoder.from_pretrained)")
        if average_layers is not None:
            description.average_layers = average_layers
        if normalize is not None:
            description.layers = [x for x in description.layers if not isinstance(x, Normalize)]
            description.layers += [Normalize()] if normalize else []
        encoder, tokenizer = load_parts(encoder_directory, num_layers)
        model = cls(
            encoder,
            pooling_type or description.pooling,
            tokenizer=tokenizer,
            description=description,
        )
        model._check_layers(directory)
        check_truncate_dim(directory, description.truncate_dim, model.width)
        if max_length is not None:
            model.max_length = max_length
        model.facts = {
            "source": facts.get("source", str(name) if str(name) == "minilm" else directory.name),
            "num_layers": num_layers or facts.get("num_layers"),
            "trained_on": facts.get("trained_on", []),
        }
        return model.to(device).eval()

    def _check_layers(self, directory: Path) -> None:
        width = self._hidden * len(self.description.pooling)
        for layer in self.layers:
            if isinstance(layer, Dense):
                if layer.linear.in_features != width:
                    raise RunError(
                        f"{directory}: a Dense layer takes {layer.linear.in_features} features, "
                        f"what comes before it has {width}"
                    )
                width = layer.linear.out_features

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes the directory as a whole or not at all; one that was there before is replaced at the end."""
        if self.tokenizer is None:
            raise RunError("save_pretrained needs the tokenizer: a model without one cannot be used on text")
        if self.description.average_layers > 1:
            _warn_of_average(self.description.average_layers)
        with atomic_directory(Path(directory), ("sbert.json", "modules.json")) as folder:
            self.model.save_pretrained(folder)  # type: ignore[operator]
            self.tokenizer.save_pretrained(folder)
            set_tokenizer_limit(folder, self.max_length)
            description = dataclasses.replace(
                self.description, layers=list(self.layers), max_length=self.max_length
            )
            versions = {name: importlib.metadata.version(name) for name in ("transformers", "torch")}
            facts = {
                **self.facts,
                "versions": {"transformers": versions["transformers"], "pytorch": versions["torch"]},
            }
            write_description(folder, description, width=self._hidden, facts=facts)


@functools.cache  # a run saves its model many times
def _warn_of_average(count: int) -> None:
    log.warning(
        "token vectors are the mean of the last %d layers, as sbert.json says: sentence-transformers, which does not "
        "read that, takes the last layer alone",
        count,
    )


def _rows(vectors: Any) -> Tensor:
    """(N, D), or one vector (D,), of any kind -> (N, D) fp32 on the CPU."""
    values = vectors.detach() if isinstance(vectors, Tensor) else torch.as_tensor(np.asarray(vectors))
    values = values.to("cpu", torch.float32)
    return values.unsqueeze(0) if values.dim() == 1 else values
