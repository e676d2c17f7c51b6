"""The model and the files of one command; both are opened when they are first asked for."""

import argparse
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from sbert.applications.texts import Texts, read_texts
from sbert.build import resolve_device
from sbert.retrieval.search import SIMILARITIES
from sbert.run import set_up_logging
from sbert.towers import TwoTowers, load_bi_encoder


class Session:
    """args: of the command. files: what was read -> sha256."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.files: dict[str, str] = {}
        set_up_logging()
        if args.threads:
            torch.set_num_threads(args.threads)

    @cached_property
    def model(self) -> Any:
        """A modelWithPooling, or two towers. Loaded after the texts, so that a file's mistake is told at once."""
        return load_bi_encoder(self.args.model, device=resolve_device(self.args.device))

    def read(self, name: str, rows: tuple[int, int] | None = None) -> Texts:
        texts = read_texts(name, self.args.data_dir, rows=rows, limit=self.args.limit)
        self.files |= texts.files
        return texts

    def encode(self, texts: Sequence[str], kind: str = "") -> np.ndarray:
        """(N, D) fp32. kind: "query" or "document", by the tower and with the prompt of that side; "": unit vectors of
        texts that are all alike, which two towers refuse."""
        options: dict[str, Any] = {"precision": self.args.precision, "progress": True}
        if kind == "query":
            return self.model.encode_query(texts, **options)
        if kind == "document":
            return self.model.encode_document(texts, **options)
        return self.model.encode(texts, normalize=True, **options)

    @property
    def similarity(self) -> str:
        """--similarity, else the model's own where a search knows it, else cosine."""
        own = self.model.description.similarity
        return self.args.similarity or (own if own in SIMILARITIES else "cosine")

    @property
    def facts(self) -> dict[str, Any]:
        """Of the model, for the record."""
        towers = "separate" if isinstance(self.model, TwoTowers) else "shared"
        known = {**self.model.facts, "max_length": self.model.max_length, "towers": towers}
        return {"device": str(self.model.device), "precision": self.args.precision, "model": known}
