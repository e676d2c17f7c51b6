"""The model directory: what stands where, read and written so that sentence-transformers can use it too.

    modules.json                        the chain: Transformer, Pooling, then any of Dense, Normalize
    config_sentence_transformers.json   prompts, similarity
    sentence_bert_config.json           max_seq_length (older directories; newer ones keep it in the tokenizer)
    1_Pooling/config.json               pooling mode, width
    2_Dense/ (config + safetensors), 3_Normalize/ ...
    sbert.json                          the same facts in one place, plus where the model came from, and what no other
                                        file can say: how many of the last layers are averaged before pooling
    config.json, model.safetensors, tokenizer files    a plain Hugging Face directory

A plain Hugging Face directory (no modules.json) reads as encoder + mean pooling.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from heads.embedding import ACTIVATIONS, Dense, Normalize
from losses.similarity import PAIRWISE
from sbert.errors import RunError
from sbert.jsonfile import read_json, to_json

# our flag value -> the name in Pooling/config.json (new style), and the boolean key of the old style
POOLING_NAMES = {
    "cls": ("cls", "pooling_mode_cls_token"),
    "max": ("max", "pooling_mode_max_tokens"),
    "mean": ("mean", "pooling_mode_mean_tokens"),
    "mean_sqrt": ("mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"),
    "weighted_mean": ("weightedmean", "pooling_mode_weightedmean_tokens"),
    "last": ("lasttoken", "pooling_mode_lasttoken"),
}
FORMAT = 1  # of sbert.json
CONFIG = "config_sentence_transformers.json"
MIN_LENGTH = 3  # tokens of a text: one between the two special ones


@dataclasses.dataclass
class Description:
    """Everything about a bi-encoder directory but the encoder's own weights and tokenizer."""

    pooling: tuple[str, ...] = ("mean",)
    layers: list[nn.Module] = dataclasses.field(default_factory=list)
    max_length: int | None = None
    prompts: dict[str, str] = dataclasses.field(default_factory=dict)
    default_prompt: str | None = None
    include_prompt: bool = True
    similarity: str = "cosine"
    truncate_dim: int | None = None
    encoder_path: str = ""
    do_lower_case: bool = False
    average_layers: int = 1


def read_description(directory: Path) -> Description:
    """Reads modules.json and what it points to.

    Raises RunError, naming the file, on a value of the wrong kind and on a module this project has no code for.
    """
    found = Description()
    if not (directory / "modules.json").is_file():
        return found
    found.pooling = ()
    for module in read_json(directory / "modules.json", list):
        if not isinstance(module, dict) or not all(isinstance(module.get(k), str) for k in ("type", "path")):
            raise RunError(
                f"{directory}/modules.json: {module!r} is not a module: it needs a type and a path"
            )
        kind, path = module["type"].rsplit(".", 1)[-1], directory / module["path"]
        if not _is_inside(path, directory):
            raise RunError(f"{directory}/modules.json: path {module['path'][:80]!a} leaves the directory")
        if kind == "Transformer":
            found.encoder_path = module["path"]
            _read_transformer(path, found)
        elif kind == "Pooling":
            _read_pooling(path / "config.json", found)
        elif kind == "Normalize":
            found.layers.append(Normalize())
        elif kind == "Dense":
            found.layers.append(_read_dense(path))
        else:
            raise RunError(
                f"{directory}/modules.json: module type {module['type']!r} is not supported; "
                "allowed are Transformer, Pooling, Dense, Normalize"
            )
    if not found.pooling:
        raise RunError(f"{directory}/modules.json: no Pooling module, so not a bi-encoder")
    if (directory / CONFIG).is_file():
        _read_config(directory / CONFIG, found)
    averaged = read_facts(directory).get("average_layers", 1)
    good = _is_count(averaged)
    _check(good, directory / "sbert.json", "average_layers", averaged, "an integer of at least 1")
    found.average_layers = averaged
    return found


def _is_inside(path: Path, directory: Path) -> bool:
    """A folder that need not be there; what is no path at all (NUL bytes, too long) is nowhere."""
    try:
        path.exists()
        return directory.resolve() in (path.resolve(), *path.resolve().parents)
    except (OSError, ValueError):
        return False


def read_facts(directory: Path) -> dict[str, Any]:
    """What sbert.json says; {} where there is none. Raises RunError when ``trained_on`` is no list of strings."""
    path = directory / "sbert.json"
    if not path.is_file():
        return {}
    values = read_json(path)
    trained_on = values.get("trained_on", [])
    _check(_is_strings(trained_on), path, "trained_on", trained_on, "a list of names of data sets")
    return values


def check_truncate_dim(directory: Path, truncate_dim: int | None, width: int) -> None:
    """width: D of the sentence embedding. Raises RunError when the directory asks for more dimensions than that."""
    good = truncate_dim is None or truncate_dim <= width
    _check(good, directory / CONFIG, "truncate_dim", truncate_dim, f"1 to {width}, the model's dimensions")


def _check(good: bool, path: Path, key: str, value: Any, allowed: str) -> None:
    if not good:
        raise RunError(f"{path}: {key} {value!r}; allowed: {allowed}")


def _is_count(value: Any) -> bool:
    """An integer of at least 1; JSON's true is none, though Python thinks so."""
    return type(value) is int and value >= 1


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _read_config(path: Path, found: Description) -> None:
    values = read_json(path)
    prompts = values.get("prompts")
    prompts = {} if prompts is None else prompts
    good = isinstance(prompts, dict) and _is_strings(list(prompts.values()))
    _check(good, path, "prompts", prompts, "an object of strings")
    default = values.get("default_prompt_name")
    good = default is None or (isinstance(default, str) and default in prompts)
    _check(good, path, "default_prompt_name", default, ", ".join(["null", *sorted(prompts)]))
    similarity = values.get("similarity_fn_name")
    similarity = "cosine" if similarity is None else similarity
    good = isinstance(similarity, str) and similarity in PAIRWISE
    _check(good, path, "similarity_fn_name", similarity, ", ".join(["null", *sorted(PAIRWISE)]))
    truncate_dim = values.get("truncate_dim")
    good = truncate_dim is None or _is_count(truncate_dim)
    _check(good, path, "truncate_dim", truncate_dim, "null or an integer of at least 1")
    found.prompts, found.default_prompt = prompts, default
    found.similarity, found.truncate_dim = similarity, truncate_dim


def _read_transformer(path: Path, found: Description) -> None:
    for name in (
        "sentence_bert_config.json",
        "sentence_roberta_config.json",
        "sentence_distilbert_config.json",
        "sentence_camembert_config.json",
        "sentence_xlm-roberta_config.json",
    ):
        if (path / name).is_file():
            values = read_json(path / name)
            length = values.get("max_seq_length")
            good = length is None or (_is_count(length) and length >= MIN_LENGTH)
            allowed = f"null or an integer of at least {MIN_LENGTH}"
            _check(good, path / name, "max_seq_length", length, allowed)
            found.max_length = length
            found.do_lower_case = bool(values.get("do_lower_case"))
            return


def _read_pooling(path: Path, found: Description) -> None:
    values = read_json(path)
    found.include_prompt = bool(values.get("include_prompt", True))
    if "pooling_mode" in values:
        named = values["pooling_mode"]
        ours = {new: our for our, (new, _) in POOLING_NAMES.items()}
        named = [named] if isinstance(named, str) else named
        good = _is_strings(named) and len(named) > 0
        _check(good, path, "pooling_mode", named, f"one or more of {', '.join(ours)}")
        for name in named:
            _check(name in ours, path, "pooling_mode", name, ", ".join(ours))
        found.pooling = tuple(ours[name] for name in named)
    else:
        found.pooling = tuple(our for our, (_, old) in POOLING_NAMES.items() if values.get(old)) or ("mean",)


def _read_dense(path: Path) -> Dense:
    """Nothing is believed about sizes before config.json and the weights agree."""
    config = path / "config.json"
    values = {"bias": True, "activation_function": "torch.nn.modules.activation.Tanh"} | read_json(config)
    for key in ("in_features", "out_features"):
        _check(_is_count(values.get(key)), config, key, values.get(key), "an integer of at least 1")
    bias, activation = values["bias"], values["activation_function"]
    _check(type(bias) is bool, config, "bias", bias, "true or false")
    _check(
        isinstance(activation, str) and activation in ACTIVATIONS,
        config,
        "activation_function",
        activation,
        ", ".join(ACTIVATIONS),
    )
    width = values["out_features"]
    shapes: dict[str, Any] = {"linear.weight": (width, values["in_features"])}
    shapes |= {"linear.bias": (width,)} if bias else {}
    weights = next(
        (path / n for n in ("model.safetensors", "pytorch_model.bin") if (path / n).is_file()), None
    )
    if weights is None:
        raise RunError(f"{path}: no weights (looked for model.safetensors, pytorch_model.bin)")
    try:
        if weights.suffix == ".safetensors":
            state = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has its own kinds; all mean that the file is damaged
        raise RunError(f"{weights}: cannot be read: {str(error).splitlines()[0]}") from None
    found = {str(name): _shape(value) for name, value in state.items()} if isinstance(state, dict) else {}
    if found != shapes:
        name = next(iter(name for name in {**shapes, **found} if shapes.get(name) != found.get(name)))
        raise RunError(
            f"{weights}: the weights do not fit config.json: {name} is {found.get(name, 'missing')}, expected {shapes.get(name, 'nothing')}"
        )
    if not all(value.float().isfinite().all() for value in state.values()):
        raise RunError(f"{weights}: the weights hold numbers that are not finite")
    dense = Dense(values["in_features"], values["out_features"], bias, activation)
    dense.load_state_dict(state)
    return dense


def _shape(value: Any) -> tuple[int, ...] | str:
    """Of a tensor of plain real numbers, all of them there; of anything else a word."""
    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or value.device.type != "cpu":
        return "no plain tensor"
    if not value.is_floating_point():
        return f"of {value.dtype}"
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        return "fewer numbers than its shape says"
    return tuple(value.shape)


def write_description(
    directory: Path, description: Description, *, width: int, facts: dict[str, Any]
) -> None:
    """Writes every file of the module docstring but the encoder's own.

    width: D of the token embeddings. The legacy spellings are used because old and new readers both take them; only
    several pooling modes in an order the legacy flags cannot express need the new one.
    """
    chain: list[tuple[str, str]] = [("", "Transformer"), ("1_Pooling", "Pooling")]
    for i, layer in enumerate(description.layers, start=2):
        chain.append((f"{i}_{type(layer).__name__}", type(layer).__name__))
        folder = directory / chain[-1][0]
        folder.mkdir()
        if isinstance(layer, Dense):
            save_file(
                {k: v.contiguous() for k, v in layer.state_dict().items()}, folder / "model.safetensors"
            )
            _write_json(
                folder / "config.json",
                {
                    "in_features": layer.linear.in_features,
                    "out_features": layer.linear.out_features,
                    "bias": layer.linear.bias is not None,
                    "activation_function": layer.activation_name,
                },
            )
    _write_json(
        directory / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(chain)
        ],
    )
    (directory / "1_Pooling").mkdir()
    _write_json(directory / "1_Pooling" / "config.json", _pooling_config(description, width))
    _write_json(
        directory / "sentence_bert_config.json",
        {"max_seq_length": description.max_length, "do_lower_case": description.do_lower_case},
    )
    _write_json(
        directory / CONFIG,
        {
            "__version__": {"sentence_transformers": "3.0.0", **facts.get("versions", {})},
            "prompts": description.prompts,
            "default_prompt_name": description.default_prompt,
            "similarity_fn_name": description.similarity,
            **({"truncate_dim": description.truncate_dim} if description.truncate_dim else {}),
        },
    )
    _write_json(
        directory / "sbert.json",
        {
            "format": FORMAT,
            "arch": "bi",
            "average_layers": description.average_layers,
            "pooling": list(description.pooling),
            "layers": [kind for _, kind in chain[2:]],
            "max_length": description.max_length,
            "prompts": description.prompts,
            "default_prompt": description.default_prompt,
            "include_prompt": description.include_prompt,
            "similarity": description.similarity,
            **facts,
        },
    )


def _pooling_config(description: Description, width: int) -> dict[str, Any]:
    canonical = tuple(mode for mode in POOLING_NAMES if mode in description.pooling)
    if canonical != description.pooling:
        return {
            "embedding_dimension": width,
            "include_prompt": description.include_prompt,
            "pooling_mode": [POOLING_NAMES[mode][0] for mode in description.pooling],
        }
    return {
        "word_embedding_dimension": width,
        "include_prompt": description.include_prompt,
        **{old: our in description.pooling for our, (_, old) in POOLING_NAMES.items()},
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(to_json(value), encoding="utf8")


def set_tokenizer_limit(folder: Path, max_length: int) -> None:
    """Newer readers take the limit from the tokenizer's own config; write it there too."""
    path = folder / "tokenizer_config.json"
    config = read_json(path)
    config["model_max_length"] = max_length
    config.pop("local_files_only", None)  # how it was loaded here is nobody else's business
    path.write_text(to_json(config), encoding="utf8")
