"""The device a model is to run on, and the numbers it is to compute with there."""

import torch

from model.errors import ModelError


def choose_device(name: str) -> torch.device:
    """The device of that name. Raises ModelError if it cannot be used here."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the device {name!r} cannot be used here ({str(error).splitlines()[0]})") from error
    return device


def choose_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU and on processors with matrix units for it; elsewhere it is emulated, and float32 is faster."""
    fast = device.type != "cpu" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
