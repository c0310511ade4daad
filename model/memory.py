"""Whether a model fits into the memory of its device, asked before anything is loaded."""

import psutil
import torch

from kernels.quant import FORMS, Form
from model.config import KimiConfig
from model.errors import CheckpointError, ConfigError
from model.transformer import Transformer


def free_bytes(device: torch.device) -> int:
    """What can still be taken of the device's memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available + psutil.swap_memory().free


def weights_bytes(config: KimiConfig, dtype: torch.dtype, form: Form) -> int | None:
    """Bytes of all weights once loaded; None where the experts cannot have that form."""
    try:
        return Transformer.on_meta(config, form, dtype).nbytes
    except ConfigError:
        return None


def check(config: KimiConfig, dtype: torch.dtype, device: torch.device, form: Form) -> None:
    """Raises CheckpointError where the weights need more memory than is free, ConfigError where there is no such form.
    """
    needed, free = Transformer.on_meta(config, form, dtype).nbytes, free_bytes(device)
    if needed > free:
        sizes = {other: weights_bytes(config, dtype, other) for other in FORMS}
        smaller = [f"{other} ({size / 1e9:.1f} GB)" for other, size in sizes.items() if size and size <= free]
        instead = f"choose --weights {' or '.join(smaller)}" if smaller else "choose another device or a smaller model"
        need = f"{needed / 1e9:.1f} GB of {form} weights"
        raise CheckpointError(f"{need} do not fit into the {free / 1e9:.1f} GB free on {device}: {instead}")
