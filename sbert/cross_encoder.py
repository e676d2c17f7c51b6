"""CrossEncoder: both texts through one encoder together, one score (or one logit a class) a pair.

    model = CrossEncoder.from_pretrained("runs/x/model")
    model.predict([("A cat sat.", "A cat was sitting."), ("고양이", "강아지")])   # numpy, (2,), fp32
    model.rank("who sat?", ["A dog ran.", "A cat sat."], top_k=1)               # [{"corpus_id": 1, "score": ...}]
    model.save_pretrained("my-re-ranker")

More exact than comparing two vectors, and far slower: every pair is a pass of its own (SBERT paper, section 1).
Shape letters: B batch, T tokens, D width, K labels, N pairs.
"""

import importlib.metadata
import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from heads.classification import classificationHead
from heads.embedding import ACTIVATIONS
from sbert.atomic import atomic_directory
from sbert.cross_directory import (
    HEADS,
    CrossDescription,
    encoder_folder,
    load_head,
    read_cross,
    same_network,
    save_with_head,
    write_cross,
)
from sbert.directory import MIN_LENGTH, set_tokenizer_limit
from sbert.encoder import (
    UNBOUNDED,
    check_ids_fit,
    find_model,
    load_classifier,
    load_encoder,
    load_tokenizer,
    position_limit,
)
from sbert.errors import RunError
from sbert.pairs import Pair
from sbert.pooling import pool

SIGMOID = "torch.nn.modules.activation.Sigmoid"
IDENTITY = "torch.nn.modules.linear.Identity"


class CrossEncoder(nn.Module):
    """An encoder with a head that reads a pair of texts.

    model: a bare encoder, with ``head`` a classificationHead; or, with head None, a ``...ForSequenceClassification``.
    activation: a key of heads.embedding.ACTIVATIONS, what ``predict`` puts on the logits; default: sigmoid for one
    label, nothing for several.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        head: classificationHead | None,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        activation: str | None = None,
        max_length: int | None = None,
    ) -> None:
        super().__init__()
        self.model, self.head, self.tokenizer = model, head, tokenizer
        self.takes_types = _takes_types(model)
        if activation is not None and activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r}: allowed are {', '.join(ACTIVATIONS)}")
        self.activation = activation or (SIGMOID if self.num_labels == 1 else IDENTITY)
        self.max_length = max_length
        self.fresh: list[str] = []  # parts of the head that are random, because no weights were there
        self.facts: dict[str, Any] = {}

    # ---------------------------------------------------------------- scores

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
        """input_ids, attention_mask and, where the model has them, token_type_ids: (B, T) -> {"logits": (B, K)}."""
        if not self.takes_types:
            inputs.pop("token_type_ids", None)
        if self.head is None:
            out = self.model(input_ids=input_ids, attention_mask=attention_mask, **inputs)
            return {"logits": out.logits.float()}
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, **inputs).last_hidden_state
        return {"logits": self.head(pool(hidden, attention_mask, ("cls",))).float()}

    def predict(self, pairs: Pair | Iterable[Pair], **options: Any) -> np.ndarray:
        """Scores in the order given, fp32: (N,) for one label, (N, K) for several; one pair gives () or (K,).

        Options: see sbert.predict.predict.
        """
        from sbert.predict import predict

        if isinstance(pairs, str):
            raise ValueError(f"a pair is two strings, got the one {pairs[:80]!r}")
        pairs = pairs if isinstance(pairs, tuple) else list(pairs)
        if len(pairs) == 2 and all(isinstance(text, str) for text in pairs):
            return predict(self, [(pairs[0], pairs[1])], **options).scores[0]  # type: ignore[list-item]
        return predict(self, pairs, **options).scores  # type: ignore[arg-type]

    def rank(
        self, query: str, documents: Sequence[str], top_k: int | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """Documents by falling score: [{"corpus_id": position in ``documents``, "score": float, "text": str}, ...].

        Equal scores keep the order of ``documents``. Raises ValueError for a model of several labels.
        """
        from sbert.predict import rank

        return rank(self, query, documents, top_k, **options)

    # ---------------------------------------------------------------- facts

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def num_labels(self) -> int:
        """K."""
        return int(self.model.config.num_labels or 1)

    @property
    def max_length(self) -> int:
        """Most tokens a pair may have, special ones included; longer pairs are truncated, and counted."""
        limits = [self._max_length, position_limit(self.model)]
        if self._max_length is None and self.tokenizer is not None:
            limits.append(self.tokenizer.model_max_length)
        return int(min((limit for limit in limits if limit and limit < UNBOUNDED), default=512))

    @max_length.setter
    def max_length(self, value: int | None) -> None:
        limit = position_limit(self.model)
        smallest = MIN_LENGTH  # or, so that something is left of both texts:
        if self.tokenizer is not None:
            smallest = self.tokenizer.num_special_tokens_to_add(pair=True) + 2
        if value is not None and (type(value) is not int or value < smallest):
            raise RunError(f"--max-length {value!r}: must be an integer of at least {smallest}")
        if value is not None and limit is not None and value > limit:
            raise RunError(f"--max-length {value}: this encoder has {limit} positions")
        self._max_length = value

    @property
    def width(self) -> int:
        """Numbers a pair gives, K: what the vectors of a bi-encoder call D."""
        return self.num_labels

    def label_order(self, names: Sequence[str]) -> list[int]:
        """The column of each class: logits[:, order] is in the order of ``names``, as the config calls its classes.

        A config that calls them LABEL_0, LABEL_1, ... is taken to have that order already. Raises RunError when it
        has other names.
        """
        known = {str(name).lower(): int(i) for i, name in (self.model.config.id2label or {}).items()}
        if len(known) == self.num_labels and set(known) == set(names):
            return [known[name] for name in names]
        if len(names) == self.num_labels and all(re.fullmatch(r"label_\d+", name) for name in known):
            return list(range(self.num_labels))
        raise RunError(f"this cross-encoder's labels are {', '.join(known)}; needed are {', '.join(names)}")

    def set_labels(self, names: Sequence[str]) -> None:
        """Puts the classes into the order of ``names`` (rows of the projection are moved) and names them so."""
        if not self.fresh:
            order = self.label_order(names)
            inside = {id(module) for module in self.model.base_model.modules()}
            linear = [m for m in self.modules() if isinstance(m, nn.Linear) and id(m) not in inside]
            with torch.no_grad():
                for parameter in linear[-1].parameters():  # the projection is the last layer of every head
                    parameter.copy_(parameter[order].clone())
        self.model.config.id2label = dict(enumerate(names))
        self.model.config.label2id = {name: i for i, name in enumerate(names)}

    def head_parameters(self) -> list[nn.Parameter]:
        """What is trained at the rate of fresh classifiers: everything but the encoder."""
        if self.head is not None:
            return list(self.head.parameters())
        inside = {id(p) for p in self.model.base_model.parameters()}
        named = (
            self.model.named_parameters()
        )  # BERT's pooler stands in the encoder and is read by the head alone
        return [p for name, p in named if id(p) not in inside or ".pooler." in name]

    # ---------------------------------------------------------------- directories

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        head: str | None = None,
        num_labels: int | None = None,
        num_layers: int | None = None,
        max_length: int | None = None,
        activation: str | None = None,
        device: str | torch.device = "cpu",
    ) -> "CrossEncoder":
        """Loads ``minilm``, a hub id, or a directory: a cross-encoder's, or that of an encoder, whose head is then fresh.

        head: "classification" (classificationHead) or "native" (the library's own); None: the directory's, else
        classification. num_labels: None keeps the directory's, else 1; another number makes the projection fresh.
        Raises RunError with one line when something is missing or does not fit.
        """
        if head is not None and head not in HEADS:
            raise ValueError(f"head {head!r}: allowed are {', '.join(HEADS)}")
        if activation is not None and activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r}: allowed are {', '.join(ACTIVATIONS)}")
        if num_labels is not None and num_labels < 1:
            raise ValueError(f"num_labels {num_labels}: must be at least 1")
        root = find_model(str(name))
        if root.is_file():
            raise RunError(f"{root}: word vectors make a bi-encoder, not a cross-encoder (--arch bi)")
        directory = encoder_folder(root)
        found = read_cross(directory)
        kind = head or found.head or "classification"
        labels = num_labels or found.num_labels or 1
        tokenizer = load_tokenizer(directory)
        if kind == "native":
            tokenizer.padding_side = "right"  # the library's heads read position 0, padding or not
            encoder, fresh = load_classifier(directory, labels, num_layers)
            model = cls(encoder, None, tokenizer=tokenizer)
            model.fresh = ["classifier"] if fresh else []
        else:
            encoder = load_encoder(directory, num_layers)
            encoder.config.num_labels = labels
            own = classificationHead(encoder.config)
            model = cls(encoder, own, tokenizer=tokenizer)
            usable = found.head == "classification" or (found.head == "native" and same_network(encoder))
            fresh_names = (
                load_head(directory, own, same_network(encoder)) if usable else list(own.state_dict())
            )
            model.fresh = fresh_names
        check_ids_fit(directory, tokenizer, encoder)
        same_labels = found.num_labels == labels
        model.activation = activation or (found.activation if same_labels else None) or model.activation
        model.max_length = found.max_length if max_length is None else max_length
        model.facts = {
            "source": found.facts.get("source", str(name) if str(name) == "minilm" else root.name),
            "num_layers": num_layers or found.facts.get("num_layers"),
            "trained_on": found.facts.get("trained_on", []),
        }
        return model.to(device).eval()

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes the directory as a whole or not at all; one that was there before is replaced at the end."""
        if self.tokenizer is None:
            raise RunError("save_pretrained needs the tokenizer: a model without one cannot be used on text")
        with atomic_directory(Path(directory), ("sbert.json", "modules.json")) as folder:
            if self.head is None:
                self.model.save_pretrained(folder)
            else:
                save_with_head(folder, self.model, self.head)
            self.tokenizer.save_pretrained(folder)
            set_tokenizer_limit(folder, self.max_length)
            versions = {"transformers": "transformers", "pytorch": "torch"}
            facts = {
                **self.facts,
                "versions": {name: importlib.metadata.version(package) for name, package in versions.items()},
            }
            kind = "native" if self.head is None else "classification"
            write_cross(
                folder, CrossDescription(kind, self.num_labels, self.activation, self.max_length, facts)
            )


def _takes_types(model: PreTrainedModel) -> bool:
    """Whether the encoder tells the second text from the first by token types; a tokenizer may give them all the same
    (RoBERTa weights with a BERT tokenizer, as klue/roberta-base has them)."""
    return (
        "token_type_ids" in inspect.signature(model.forward).parameters
        and getattr(model.config, "type_vocab_size", 2) > 1
    )
