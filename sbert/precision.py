"""fp32, bf16 or fp16: which one ``auto`` means here, one autocast, one gradient scaler.

AMP as the SBERT write-up uses it: matrix products in half precision, losses, reductions and the optimizer in fp32.
"""

import contextlib
from contextlib import AbstractContextManager

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
    """The one autocast context of training, evaluation and encoding."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def grad_scaler(device: torch.device, precision: str, init_scale: float = 2.0**16) -> torch.amp.GradScaler:
    """Always present; does something only in fp16, whose gradients underflow without it."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16", init_scale=init_scale)
