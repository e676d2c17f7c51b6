"""A dense index on disk: the vectors of a corpus, what they belong to, and which model made them.

    embeddings.npy   (N, D) fp32 or fp16, memory-mapped when loaded
    ids.json         N strings, the passage of each row (an id comes again where a passage has several windows)
    index.json       the model's fingerprint, similarity, N, D, what the caller wants to remember, and sha256 of all of it

A query encoded by one model says nothing about vectors of another, so an index is opened with the fingerprint of the
model that will encode the queries, and refused when it is not the one that wrote it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data.files import sha256_of
from sbert.atomic import atomic_directory, settle
from sbert.errors import RunError
from sbert.jsonfile import read_json, to_json
from sbert.retrieval.search import SIMILARITIES, Ranking, exact_search, norms_of

FORMAT = 1  # of index.json
DTYPES = ("float16", "float32")
FILES = ("embeddings.npy", "ids.json")
SEAL = "index_sha256"  # of all else in index.json: the places of the windows are kept there
ENCODER_FILES = (
    "*.safetensors",
    "pytorch_model*.bin",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)


@dataclass(frozen=True)
class Index:
    """embeddings: (N, D), read-only memory map. ids: N. facts: what save_index was given."""

    embeddings: np.ndarray
    ids: list[str]
    fingerprint: str
    similarity: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return int(self.embeddings.shape[1])

    @cached_property
    def norms(self) -> np.ndarray:
        """(N,) fp64, computed at the first search."""
        return norms_of(self.embeddings)

    def search(self, queries: np.ndarray, k: int, **chunks: int) -> Ranking:
        """queries: (Q, D) -> the k best rows by the index's own similarity, exactly (sbert.retrieval.search)."""
        return exact_search(queries, self.embeddings, k, self.similarity, norms=self.norms, **chunks)


def save_index(
    folder: str | Path,
    embeddings: np.ndarray,
    ids: Sequence[str],
    fingerprint: str,
    *,
    similarity: str = "cosine",
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Writes the index as a whole or not at all; an index that was there before is replaced at the end.

    embeddings: (N, D) of fp16 or fp32. facts: anything JSON can hold, returned by load_index.
    Raises ValueError for arguments that do not fit together, RunError when the disk is full or ``folder`` holds
    other things.
    """
    if embeddings.ndim != 2 or embeddings.dtype.name not in DTYPES:
        raise ValueError(
            f"embeddings {embeddings.shape} of {embeddings.dtype.name}: expected (N, D) of {' or '.join(DTYPES)}"
        )
    if len(ids) != len(embeddings):
        raise ValueError(f"{len(ids)} ids of {len(embeddings)} embeddings: expected one each")
    if not all(isinstance(x, str) for x in ids):
        raise ValueError(f"id {next(x for x in ids if not isinstance(x, str))!r}: expected a string")
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity {similarity!r}: allowed are {', '.join(SIMILARITIES)}")
    norms_of(embeddings)  # refuses what is not finite
    with atomic_directory(Path(folder), ("index.json",)) as temporary:
        np.save(temporary / "embeddings.npy", np.ascontiguousarray(embeddings))
        (temporary / "ids.json").write_text(to_json(list(ids)), encoding="utf8")
        about = {
            "format": FORMAT,
            "sha256": {name: sha256_of(temporary / name) for name in FILES},
            "fingerprint": fingerprint,
            "similarity": similarity,
            "rows": embeddings.shape[0],
            "width": embeddings.shape[1],
            "dtype": embeddings.dtype.name,
            "facts": dict(facts or {}),
        }
        about[SEAL] = _seal(about)
        (temporary / "index.json").write_text(to_json(about), encoding="utf8")


def load_index(folder: str | Path, fingerprint: str | None) -> Index:
    """Opens what save_index wrote. fingerprint: that of the model at hand (None: any; nothing will be encoded).

    Every byte is read once, for its sha256; an index without one, of an earlier version, is taken unread.
    Raises RunError, naming the file, when the index is of another model, or a file is missing, short or damaged.
    """
    folder = Path(folder)
    settle(folder)
    about = _read_about(folder / "index.json")
    if fingerprint is not None and about["fingerprint"] != fingerprint:
        raise RunError(
            f"{folder}: made with another model or another --max-length: its fingerprint is {about['fingerprint'][:12]}, "
            f"this model's is {fingerprint[:12]}; encode the passages again, into another folder"
        )
    for name, expected in about.get("sha256", {}).items():
        _check_bytes(folder / name, expected)
    ids = read_json(folder / "ids.json", list)
    if len(ids) != about["rows"] or not all(isinstance(x, str) for x in ids):
        raise RunError(f"{folder}/ids.json: holds {len(ids)} ids, expected {about['rows']} strings")
    path = folder / "embeddings.npy"
    try:
        embeddings = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise RunError(_gone(path)) from None
    except Exception as error:  # numpy's reader of headers has many kinds, SyntaxError among them
        raise RunError(
            f"{path}: short or damaged: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from None
    shape, dtype = (about["rows"], about["width"]), about["dtype"]
    if (embeddings.shape, embeddings.dtype.name) != (shape, dtype):
        raise RunError(
            f"{path}: holds {embeddings.shape} of {embeddings.dtype.name}, index.json says {shape} of {dtype}"
        )
    return Index(embeddings, ids, about["fingerprint"], about["similarity"], about["facts"])


def _gone(path: Path) -> str:
    return f"{path}: no such file; the index is not whole, remove its folder or name another one"


def _check_bytes(path: Path, expected: str) -> None:
    try:
        found = sha256_of(path)
    except FileNotFoundError:
        raise RunError(_gone(path)) from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}") from None
    if found != expected:
        raise RunError(f"{path}: short or damaged: its sha256 is {found}, index.json says {expected}")


def _read_about(path: Path) -> dict[str, Any]:
    about = read_json(path)
    if about.get("format") != FORMAT:
        raise RunError(f"{path}: format {about.get('format')!r}; this program reads {FORMAT}")
    good = {
        "fingerprint": isinstance(about.get("fingerprint"), str),
        "similarity": about.get("similarity") in SIMILARITIES,
        "rows": type(about.get("rows")) is int and about["rows"] >= 0,
        "width": type(about.get("width")) is int and about["width"] >= 1,
        "dtype": about.get("dtype") in DTYPES,
        "facts": isinstance(about.get("facts"), dict),
        "sha256": "sha256" not in about or _are_hashes(about["sha256"]),
    }
    for key, fits in good.items():
        if not fits:
            raise RunError(f"{path}: {key} {about.get(key)!r} is not what save_index writes")
    if SEAL in about and about[SEAL] != _seal(about):
        raise RunError(f"{path}: damaged: it was changed after save_index wrote it")
    return about


def _seal(about: Mapping[str, Any]) -> str:
    """sha256 (hex) of what index.json says, without this."""
    return hashlib.sha256(
        to_json({k: v for k, v in about.items() if k != SEAL}).encode("utf8", "surrogatepass")
    ).hexdigest()


def _are_hashes(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == set(FILES)
        and all(isinstance(x, str) for x in value.values())
    )


def fingerprint_of(model_directory: str | Path, **changed: Any) -> str:
    """sha256 (hex) over everything in a bi-encoder directory that decides what vector a text gets.

    That is: the bytes of the encoder's weights, config and tokenizer files, pooling, the layers after it, the most
    tokens of a text, prompts, and truncation of the vector; not where the directory is and what it was trained on.
    changed: what the caller does differently from the directory (arguments of modelWithPooling.from_pretrained, such
    as max_length or num_layers); None is no change. Raises RunError when no weights are there.
    """
    from sbert.directory import read_description  # torch, which searching does without

    directory = Path(model_directory)
    found = read_description(directory)
    encoder = directory / found.encoder_path
    files = {path.name: path for pattern in ENCODER_FILES for path in encoder.glob(pattern) if path.is_file()}
    if not any(path.suffix in (".safetensors", ".bin") for path in files.values()):
        raise RunError(f"{encoder}: no weights (looked for {', '.join(ENCODER_FILES[:2])})")
    facts = {
        "files": {name: sha256_of(path) for name, path in files.items()},
        "pooling": found.pooling,
        "layers": [
            [
                type(layer).__name__,
                getattr(layer, "activation_name", ""),
                {name: _digest(value.numpy()) for name, value in layer.state_dict().items()},
            ]
            for layer in found.layers
        ],
        "max_length": found.max_length,
        "prompts": found.prompts,
        "default_prompt": found.default_prompt,
        "include_prompt": found.include_prompt,
        "truncate_dim": found.truncate_dim,
        "do_lower_case": found.do_lower_case,
        "average_layers": found.average_layers,
        **{name: value for name, value in changed.items() if value is not None},
    }
    if facts["average_layers"] == 1:  # as it was before there was a choice: indexes of then stay valid
        del facts["average_layers"]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()
