"""When batches run unpadded (sbert.packing), and what is said where they cannot.

    encode(model, texts, precision="bf16")     # on a CUDA card unpadded, if the encoder and the card can
    pack_for_training(model, "auto", "bf16")   # from here on the model trains unpadded, likewise, and on a CPU

A mode is "auto": on CUDA in half precision, and on a CPU in training, for encoding sorts its texts, and what is left of
padding costs less there than packing; "on", on a CPU always; or "off".
"""

import functools
import inspect
import logging
from typing import Any

import torch
from torch import nn

from sbert.attention import FAMILIES
from sbert.packing import is_packed, pack_encoder

log = logging.getLogger("sbert")

MODES = ("auto", "on", "off")


def packs(mode: str, encoder: Any, device: torch.device, precision: str, training: bool = False) -> bool:
    """Whether a run is unpadded. Where it should be and cannot, a line in the log says why. Raises ValueError on another
    mode."""
    if mode not in MODES:
        raise ValueError(f"unpadded {mode!r}: allowed are {', '.join(MODES)}")
    pays = precision != "fp32" if device.type == "cuda" else training and device.type == "cpu"
    if mode == "off" or (mode == "auto" and not pays):
        return False
    reason = obstacle(encoder, device, precision)
    if reason:
        expected = mode == "auto" and device.type == "cpu"
        _say_once(f"{reason}: batches are padded", logging.INFO if expected else logging.WARNING)
    return not reason


def obstacle(encoder: Any, device: torch.device, precision: str) -> str | None:
    """Why this encoder cannot run unpadded here; None where it can."""
    config: Any = getattr(encoder, "config", None)
    family = getattr(config, "model_type", type(encoder).__name__)
    if family not in FAMILIES:
        return f"{family} encoders cannot run unpadded (those that can: {', '.join(FAMILIES)})"
    if getattr(config, "is_decoder", False):
        return "decoders cannot run unpadded"
    if device.type == "cpu":
        return None
    if device.type != "cuda" or precision == "fp32":
        return f"unpadded attention has no kernel for {precision} on {device.type}"
    head = config.hidden_size // config.num_attention_heads
    if head % 8 or head > 256:
        return f"heads {head} wide: unpadded attention takes multiples of 8 up to 256"
    return _missing_kernel(device)


@functools.cache
def _missing_kernel(device: torch.device) -> str | None:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return f"torch {torch.__version__} has no unpadded attention (2.11 has)"
    if "window_size" not in inspect.signature(varlen_attn).parameters:
        return f"torch {torch.__version__} has an older unpadded attention (2.11 is needed)"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "unpadded attention needs a card of compute capability 8.0"
    return None


def pack_for_training(model: Any, mode: str, precision: str) -> None:
    """Makes the encoder of a bi- or cross-encoder, or both towers, run unpadded in training, as ``mode`` says.

    CUDA's kernel has no attention dropout. auto: so it is used only where attention dropout is 0. on: attention dropout is
    switched off, with a warning.
    """
    for part in _parts(model):
        if not packs(mode, part.model, part.device, precision, training=True):
            continue
        rate = attention_dropout(part.model) if part.device.type == "cuda" else 0
        if rate and mode == "auto":
            _say_once(
                f"attention dropout is {rate}, unpadded attention has none: batches are padded", logging.INFO
            )
            continue
        if rate:
            _say_once(f"unpadded attention has no dropout: this encoder's, {rate}, is switched off")
            switch_off_attention_dropout(part.model)
        pack_encoder(part.model)


def trains_packed(model: Any) -> bool:
    """Whether pack_for_training made it run unpadded."""
    return all(is_packed(part.model) for part in _parts(model))


def _parts(model: Any) -> tuple[Any, ...]:
    """The one encoder with what follows it, or two towers of them."""
    return (model.query, model.document) if hasattr(model, "query") else (model,)


# the modules that call the attention function have is_causal, and their rate in one of the two
def _attention_modules(encoder: nn.Module) -> list[Any]:
    return [module for module in encoder.modules() if hasattr(module, "is_causal")]


def attention_dropout(encoder: nn.Module) -> float:
    """The highest rate of any layer."""
    rates = [
        m.attention_dropout if hasattr(m, "attention_dropout") else m.dropout.p
        for m in _attention_modules(encoder)
    ]
    return max(rates, default=0.0)


def switch_off_attention_dropout(encoder: nn.Module) -> None:
    """In the modules alone: the config, and what is saved, keep the encoder's own rate."""
    for module in _attention_modules(encoder):
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
        else:
            module.dropout.p = 0.0


@functools.cache
def _say_once(message: str, level: int = logging.WARNING) -> None:
    log.log(level, "%s", message)
