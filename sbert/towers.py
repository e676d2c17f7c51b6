"""Two towers: one encoder for questions, another for passages, trained apart from the same start (DPR, Karpukhin et al.
2020, arXiv 2004.04906, section 3.1). Everything that retrieval asks of a modelWithPooling can be asked of both together.

    towers = TwoTowers.from_start("minilm")                      # two copies of one start, to be trained
    questions = towers.encode_query(["Who wrote Hamlet?"])       # numpy, (1, 384), fp32
    passages = towers.encode_document(["Hamlet is a play by William Shakespeare."])
    towers.similarity(questions, passages)                       # tensor, (1, 1)
    towers.save_pretrained("my-towers")
    towers = load_bi_encoder("my-towers")                        # TwoTowers, or a modelWithPooling where one was saved

The directory:

    query/, document/                   each a complete model directory (sbert/directory.py), usable on its own
    sbert.json                          "towers": "separate", and where the model came from
    modules.json, router_config.json    for sentence-transformers: a Router, whose routes are the modules of query/ and
    config_sentence_transformers.json   document/ where they are, so that its encode_query and encode_document are ours

A training objective runs question texts through ``towers.query`` and passages through ``towers.document``.
"""

import copy
import dataclasses
import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from sbert.atomic import atomic_directory
from sbert.directory import CONFIG, FORMAT, Description, read_facts
from sbert.encoder import find_model
from sbert.errors import RunError
from sbert.jsonfile import read_json, to_json
from sbert.model import modelWithPooling
from sbert.retrieval.index import fingerprint_of

TOWERS = ("query", "document")  # attributes of TwoTowers, folders of its directory, routes of the Router
APART = ("layers", "encoder_path")  # of a Description: the two fields that each tower has for itself


class TwoTowers(nn.Module):
    """A question encoder and a passage encoder whose vectors are compared with one another.

    query, document: a modelWithPooling each; no weight may be in both. From here on they share one description (pooling,
    most tokens, prompts, similarity) and one dict of facts, so that what is set reaches both.
    Raises ValueError when they do not go together: other widths, tokenizers or descriptions.
    """

    def __init__(self, query: modelWithPooling, document: modelWithPooling) -> None:
        super().__init__()
        _check_pair(query, document)
        self.query, self.document = query, document
        query.description = document.description
        trained_on = [*query.facts.get("trained_on", []), *document.facts.get("trained_on", [])]
        self.facts = {**document.facts, "trained_on": list(dict.fromkeys(trained_on))}

    # ---------------------------------------------------------------- vectors

    def encode_query(self, texts: str | Iterable[str], **options: Any) -> np.ndarray:
        """Questions -> (N, D) fp32, by the query tower with its prompt, if any; a single string gives (D,)."""
        return self.query.encode_query(texts, **options)

    def encode_document(self, texts: str | Iterable[str], **options: Any) -> np.ndarray:
        """Passages -> (N, D) fp32, by the document tower with its prompt, if any; a single string gives (D,)."""
        return self.document.encode_document(texts, **options)

    def encode(self, texts: str | Iterable[str], **options: Any) -> NoReturn:
        """There is no tower for a text that is neither: raises RunError."""
        raise RunError(
            "this model has two towers, and encode() does not say which: "
            "encode_query() for questions, encode_document() for passages"
        )

    def similarity(self, queries: Any, documents: Any) -> Tensor:
        """All pairs: (Q, D), (N, D) -> (Q, N), row = query; see modelWithPooling.similarity."""
        return self.document.similarity(queries, documents)

    # ---------------------------------------------------------------- facts

    @property
    def device(self) -> torch.device:
        return self.document.device

    @property
    def width(self) -> int:
        """D of both towers."""
        return self.document.width

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The document tower's; the query tower's has the same vocabulary."""
        return self.document.tokenizer

    @property
    def description(self) -> Description:
        """The one that both towers read."""
        return self.document.description

    @property
    def max_length(self) -> int:
        """Most tokens of a text, question or passage, special ones included."""
        return self.document.max_length

    @max_length.setter
    def max_length(self, value: int) -> None:
        self.document.max_length = value  # in the description, so the query tower's as well

    @property
    def facts(self) -> dict[str, Any]:
        """Where the model came from; one dict for both towers, written to every sbert.json."""
        return self.document.facts

    @facts.setter
    def facts(self, value: dict[str, Any]) -> None:
        self.query.facts = self.document.facts = value

    # ---------------------------------------------------------------- directories

    @classmethod
    def from_start(cls, name: str | Path, **options: Any) -> "TwoTowers":
        """Two copies of one bi-encoder, equal and apart. Arguments: see modelWithPooling.from_pretrained."""
        return cls.of(modelWithPooling.from_pretrained(name, **options))

    @classmethod
    def of(cls, start: modelWithPooling) -> "TwoTowers":
        """A model and a copy of it."""
        return cls(start, copy.deepcopy(start)).eval()

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> "TwoTowers":
        """Loads what save_pretrained wrote: a directory, or a hub id.

        options: those of modelWithPooling.from_pretrained (device, max_length, ...), for both towers.
        Raises RunError with one line when a tower is missing or the two do not go together.
        """
        directory = find_model(str(name))
        if read_facts(directory).get("arch") == "cross":
            raise RunError(f"{directory}: holds a cross-encoder (--arch cross, CrossEncoder.from_pretrained)")
        for tower in TOWERS:
            if not (directory / tower).is_dir():
                raise RunError(
                    f"{directory}: no {tower}/ in it; two towers are query/ and document/, each a model directory"
                )
        query, document = (modelWithPooling.from_pretrained(directory / tower, **options) for tower in TOWERS)
        try:
            return cls(query, document).eval()
        except ValueError as error:
            raise RunError(f"{directory}: {error}") from None

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes the directory as a whole or not at all; one that was there before is replaced at the end."""
        with atomic_directory(Path(directory), ("sbert.json", "modules.json")) as folder:
            for name, tower in zip(TOWERS, (self.query, self.document), strict=True):
                tower.save_pretrained(folder / name)
            _write_router(folder)
            values = {"format": FORMAT, "arch": "bi", "towers": "separate", **self.facts}
            (folder / "sbert.json").write_text(to_json(values), encoding="utf8")


def load_bi_encoder(name: str | Path, **options: Any) -> modelWithPooling | TwoTowers:
    """Whichever of the two a directory (or hub id, or ``minilm``) holds, as its sbert.json says.

    options: those of modelWithPooling.from_pretrained. Raises RunError with one line when it cannot be loaded.
    """
    # minilm is one encoder: looking into it would only check its hash twice
    if str(name) != "minilm" and read_facts(find_model(str(name))).get("towers") == "separate":
        return TwoTowers.from_pretrained(name, **options)
    return modelWithPooling.from_pretrained(name, **options)


def towers_fingerprint(directory: str | Path, **changed: Any) -> str:
    """sha256 (hex) over the fingerprints (sbert.retrieval.index.fingerprint_of) of both towers of a directory.

    An index holds vectors of the document tower alone, so it is saved and opened with
    ``fingerprint_of(directory / "document")``: training the query tower further keeps an index valid. But a query vector
    says something about it only when it comes from the query tower of the same directory, trained with that document
    tower; whoever keeps results or query vectors notes this fingerprint, which changes with either tower.
    changed: see fingerprint_of. Raises RunError when a tower or its weights are not there.
    """
    both = [fingerprint_of(Path(directory) / tower, **changed) for tower in TOWERS]
    return hashlib.sha256(" ".join(both).encode()).hexdigest()


def _check_pair(query: modelWithPooling, document: modelWithPooling) -> None:
    """Raises ValueError when the two are not towers of one model: a source tokenizes for both at once, and a search
    compares the vectors of one with those of the other."""
    if {id(p) for p in query.parameters()} & {id(p) for p in document.parameters()}:
        raise ValueError("the query tower and the document tower share weights: give each its own copy")
    if query.width != document.width:
        raise ValueError(
            f"the query tower has {query.width} dimensions, the document tower {document.width}: "
            "their vectors cannot be compared"
        )
    for field in dataclasses.fields(Description):
        one, other = (getattr(tower.description, field.name) for tower in (query, document))
        if field.name not in APART and one != other:
            raise ValueError(f"the query tower's {field.name} is {one!r}, the document tower's {other!r}")
    vocabularies = [tower.tokenizer and tower.tokenizer.get_vocab() for tower in (query, document)]
    if vocabularies[0] != vocabularies[1]:
        raise ValueError("the query tower's tokenizer has another vocabulary than the document tower's")


def _write_router(folder: Path) -> None:
    """modules.json, router_config.json and config_sentence_transformers.json of a folder that holds both towers."""
    types: dict[str, str] = {}
    structure: dict[str, list[str]] = {}
    for tower in TOWERS:
        modules = read_json(folder / tower / "modules.json", list)
        paths = [f"{tower}/{module['path']}".rstrip("/") for module in modules]
        types |= {path: module["type"] for path, module in zip(paths, modules, strict=True)}
        structure[tower] = paths
    parameters: dict[str, Any] = {"default_route": None, "allow_empty_key": False, "route_mappings": {}}
    router = {"types": types, "structure": structure, "parameters": parameters}
    (folder / "router_config.json").write_text(to_json(router), encoding="utf8")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}]
    (folder / "modules.json").write_text(to_json(modules), encoding="utf8")
    shutil.copyfile(folder / "document" / CONFIG, folder / CONFIG)
