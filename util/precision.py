"""In which type of number a device computes."""

from __future__ import annotations

import torch

from util.log import logger


def choose_precision(device: torch.device, amp: bool) -> torch.dtype | None:
    """The type of autocast: bfloat16 where the device computes in it; None: float32 throughout."""
    if not amp:
        return None
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        return torch.bfloat16
    logger.warning("--amp: this CPU has no bfloat16 instructions; going on in float32")
    return None
