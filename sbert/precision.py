"""fp32, bf16 or fp16: which one ``auto`` means here, one autocast, one gradient scaler, one half-precision encoder.

Training is AMP as the SBERT write-up uses it: fp32 weights, matrix products in half precision, losses, reductions and
the optimizer in fp32. Encoding changes no weight, so many texts go through a copy of the encoder whose weights are half
precision from the start: autocast would cast them again for every batch. Pooling, layers after it and classificationHead
stay in fp32 then; a library's own head is part of its encoder. For a few texts the copy costs more than it saves: they
run under autocast.
"""

import contextlib
import copy
import os
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def be_deterministic() -> None:
    """Only algorithms that give the same bits every time; where an operation has none, torch says so and stops. To be called
    before the first CUDA work: cuBLAS reads its setting once. It costs speed on a GPU; on a CPU nothing changes."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bf16 in hardware. Where it does not, bf16 works but is several times slower."""
    if torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return (
            bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
            if torch.backends.cpu.get_cpu_capability().startswith("AVX")
            else True
        )
    return False


def resolve(precision: str, device: torch.device, *, training: bool = True) -> str:
    """``auto`` -> bf16 on a CUDA card that has it, else fp16; bf16 on a CPU that has it, else fp32; evaluation: fp32."""
    if precision != "auto":
        return precision
    if not training:
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """The one autocast context of training, and of encoding a few texts."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def in_fp32(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook: what a linear layer gives to the first sum of residuals, in fp32 under autocast on a CPU.

    There torch adds up a layer norm's gradients, over all tokens, in the precision of its input. Where embeddings come from
    a table, all sums of residuals are fp32; where a linear layer projects them, they would stay bf16.
    """
    return output.float() if output.device.type == "cpu" and torch.is_autocast_enabled("cpu") else output


def grad_scaler(device: torch.device, precision: str, init_scale: float = 2.0**16) -> torch.amp.GradScaler:
    """Always present; does something only in fp16, whose gradients underflow without it."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16", init_scale=init_scale)


MANY = 16_384  # tokens from which on a copy of the encoder, in half precision or with less to do, pays for itself


def with_half_encoder(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a bi- or cross-encoder whose encoder, ``model.model``, has its weights in ``dtype`` (fp32: shares them); the
    tokenizer and all other weights are shared. It is a copy, and not the model changed for a while, so that threads may encode at once.
    """
    encoder: Any = model.model
    shared = {id(p): p for p in model.parameters()}
    half = {id(p): nn.Parameter(p.detach().to(dtype), requires_grad=False) for p in encoder.parameters()}
    copied = copy.deepcopy(model, {id(model.tokenizer): model.tokenizer, **shared, **half})
    if dtype == torch.bfloat16 and next(encoder.parameters()).device.type == "cpu" and prepares_layers():
        inside: Any = copied.model
        for module in list(inside.modules()):
            for name, child in module.named_children():
                if type(child) is nn.Linear:
                    setattr(module, name, PreparedLinear(child))
    return copied


def prepares_layers() -> bool:
    """Of processors with bf16, those of x86 alone: ARM's were not tried."""
    return cpu_has_bf16() and torch.backends.cpu.get_cpu_capability().startswith("AVX")


class PreparedLinear(nn.Module):
    """A linear layer in bf16 on a CPU, without gradients: oneDNN's product over weights that lie as it reads them, which adds
    the bias while it is there. torch's own lays them out at every call and writes the bias in a pass before. The same numbers
    to the last bit, of contiguous inputs. It can be neither copied nor saved, so it is in copies alone."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.bias = linear.bias
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())  # (out, in)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
