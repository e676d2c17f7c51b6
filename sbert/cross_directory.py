"""The directory of a cross-encoder: a plain Hugging Face one, plus ``sbert.json``.

    config.json, model.safetensors, tokenizer files    encoder and head together, as ``...ForSequenceClassification``,
                                                       where that class has the same network: the library's own heads,
                                                       and classificationHead on ELECTRA
    head/config.json, head/model.safetensors           classificationHead on any other encoder, which stands in the root
    sbert.json                                         which of the two, number of labels, activation, max length

config.json also names the activation (``sentence_transformers.activation_fn``), where other readers look for it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from heads.classification import classificationHead
from heads.embedding import ACTIVATIONS
from sbert.directory import CONFIG, FORMAT, MIN_LENGTH, read_description, read_facts
from sbert.encoder import is_classifier
from sbert.errors import RunError
from sbert.jsonfile import read_json, to_json

HEADS = ("classification", "native")
ELECTRA_HEAD = "classifier."  # prefix of classificationHead's tensors in an ElectraForSequenceClassification


@dataclass
class CrossDescription:
    """What a directory says of itself. head: None where it holds an encoder alone."""

    head: str | None
    num_labels: int | None
    activation: str | None  # a key of heads.embedding.ACTIVATIONS
    max_length: int | None
    facts: dict[str, Any]


def encoder_folder(directory: Path) -> Path:
    """Where the encoder stands: older bi-encoder directories keep it in a folder of its own (0_Transformer)."""
    if (directory / "config.json").is_file() or not (directory / "modules.json").is_file():
        return directory
    return directory / read_description(directory).encoder_path


def read_cross(directory: Path) -> CrossDescription:
    """Reads our directories, sentence-transformers' and plain Hugging Face ones. Raises RunError, naming the file."""
    config = read_json(directory / "config.json")
    facts = read_facts(directory)
    _refuse_other_modules(directory)
    activation, where = _activation(directory, config)
    if activation is not None and activation not in ACTIVATIONS:
        raise RunError(f"{where}: activation {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
    if facts.get("arch") == "cross":
        if facts.get("head") not in HEADS:
            raise RunError(f"{directory}/sbert.json: head {facts.get('head')!r}; allowed: {', '.join(HEADS)}")
        num_labels = facts.get("num_labels")
        if type(num_labels) is not int or num_labels < 1:
            raise RunError(f"{directory}/sbert.json: num_labels {num_labels!r}; allowed: 1 or more")
        max_length = facts.get("max_length")
        if max_length is not None and (type(max_length) is not int or max_length < MIN_LENGTH):
            allowed = f"null or an integer of at least {MIN_LENGTH}"
            raise RunError(f"{directory}/sbert.json: max_length {max_length!r}; allowed: {allowed}")
        return CrossDescription(facts["head"], num_labels, activation, max_length, facts)
    if is_classifier(directory):
        labels = config.get("num_labels", len(config.get("id2label") or {}) or 2)
        if type(labels) is not int or labels < 1:
            raise RunError(f"{directory}/config.json: num_labels {labels!r}; allowed: 1 or more")
        return CrossDescription("native", labels, activation, None, facts)
    return CrossDescription(None, None, activation, None, facts)


def _refuse_other_modules(directory: Path) -> None:
    """A directory of another library may be a chain of modules or want a prompt; scoring without them would be wrong."""
    if not (directory / CONFIG).is_file() or not (directory / "modules.json").is_file():
        return
    values = read_json(directory / CONFIG)
    if values.get("model_type") != "CrossEncoder":
        return  # a bi-encoder: its encoder is what is wanted
    kinds = [str(m.get("type")).rsplit(".", 1)[-1] for m in read_json(directory / "modules.json", list)]
    if kinds != ["Transformer"]:
        raise RunError(
            f"{directory}/modules.json: modules {', '.join(kinds)}; a cross-encoder is one Transformer"
        )
    name = values.get("default_prompt_name")
    if name and (values.get("prompts") or {}).get(name):
        raise RunError(
            f"{directory}/{CONFIG}: default_prompt_name {name!r}: cross-encoder prompts are not supported"
        )


def _activation(directory: Path, config: dict[str, Any]) -> tuple[str | None, Path]:
    if (directory / CONFIG).is_file():
        named = read_json(directory / CONFIG).get("activation_fn")
        if named:
            return _full_name(str(named)), directory / CONFIG
    newer = config.get("sentence_transformers")
    named = newer.get("activation_fn") if isinstance(newer, dict) else None
    named = named or config.get("sbert_ce_default_activation_function")
    return (_full_name(str(named)) if named else None), directory / "config.json"


def _full_name(name: str) -> str:
    """``torch.nn.Sigmoid`` and ``torch.nn.modules.activation.Sigmoid`` are one class."""
    return next((full for full in ACTIVATIONS if full.rsplit(".", 1)[-1] == name.rsplit(".", 1)[-1]), name)


# ---------------------------------------------------------------- classificationHead


def same_network(model: PreTrainedModel) -> bool:
    """Whether the family's own classifier is classificationHead: then the directory is a standard one."""
    return model.config.model_type == "electra"


def load_head(directory: Path, head: classificationHead, electra: bool) -> list[str]:
    """Fills ``head`` with what the directory has for it; the names of the tensors that stay fresh.

    A projection onto another number of labels stays fresh, the rest is kept. Raises RunError on a file that is
    damaged, is missing or holds another network.
    """
    stored = _electra_head(directory) if electra else _own_head(directory)
    ours = head.state_dict()
    wrong = sorted(set(ours) - set(stored))
    wrong += [k for k in ("dense.weight", "dense.bias") if k in stored and stored[k].shape != ours[k].shape]
    if wrong:
        path = directory if electra else directory / "head" / "model.safetensors"
        raise RunError(f"{path}: not a classificationHead of this encoder: no {wrong[0]} that fits")
    fits = {name: value for name, value in stored.items() if name in ours and value.shape == ours[name].shape}
    head.load_state_dict({**ours, **fits})
    return sorted(set(ours) - set(fits))


def _own_head(directory: Path) -> dict[str, Tensor]:
    path = directory / "head" / "model.safetensors"
    if not path.is_file():
        raise RunError(f"{path}: no such file, though sbert.json names this head")
    try:
        return load_file(path)
    except Exception as error:  # the format's own exception classes; all mean that the file is damaged
        raise RunError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _electra_head(directory: Path) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    shards = sorted(directory.glob("*.safetensors"))
    for path in shards:
        try:
            with safe_open(path, framework="pt") as file:
                names = [name for name in file.keys() if name.startswith(ELECTRA_HEAD)]  # noqa: SIM118
                out |= {name.removeprefix(ELECTRA_HEAD): file.get_tensor(name).float() for name in names}
        except Exception as error:
            raise RunError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if not shards and (directory / "pytorch_model.bin").is_file():
        path = directory / "pytorch_model.bin"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise RunError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
        out = {
            k.removeprefix(ELECTRA_HEAD): v.float() for k, v in state.items() if k.startswith(ELECTRA_HEAD)
        }
    return out


def save_with_head(folder: Path, encoder: PreTrainedModel, head: nn.Module) -> None:
    """Encoder and classificationHead: one standard directory on ELECTRA, encoder + ``head/`` on any other."""
    if same_network(encoder):
        tensors = {
            f"{encoder.base_model_prefix}.{name}": value for name, value in encoder.state_dict().items()
        }
        tensors |= {ELECTRA_HEAD + name: value for name, value in head.state_dict().items()}
        encoder.config.architectures = ["ElectraForSequenceClassification"]
        encoder.config.save_pretrained(folder)
        save_file(
            {k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
        )
        return
    encoder.save_pretrained(folder)
    (folder / "head").mkdir()
    save_file(
        {k: v.contiguous() for k, v in head.state_dict().items()}, folder / "head" / "model.safetensors"
    )
    shape = {"hidden_size": encoder.config.hidden_size, "num_labels": encoder.config.num_labels}
    (folder / "head" / "config.json").write_text(
        to_json({"type": "classificationHead", **shape}), encoding="utf8"
    )


def write_cross(folder: Path, description: CrossDescription) -> None:
    """sbert.json, and the activation in config.json."""
    path = folder / "config.json"
    config = read_json(path)
    config["sentence_transformers"] = {"activation_fn": description.activation, "version": "4.0.0"}
    path.write_text(to_json(config), encoding="utf8")
    values = {
        "format": FORMAT,
        "arch": "cross",
        "head": description.head,
        "num_labels": description.num_labels,
        "activation": description.activation,
        "max_length": description.max_length,
        **description.facts,
    }
    (folder / "sbert.json").write_text(to_json(values), encoding="utf8")
