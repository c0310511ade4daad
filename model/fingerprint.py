"""What made a state: a short name for weights, configuration and arithmetic, so that no state meets another."""

import hashlib
from pathlib import Path

import torch

from kernels import backend
from kernels.quant import Form
from model.errors import ModelError
from model.weights import shards

ARITHMETIC = {"reference": "reference/6", "triton": "triton/6"}
"""Names the arithmetic of each form of `kernels/` and the layers: raise a number when a change can alter a single bit
of a state."""

NUMBA = "numba/3"
"""The same for a processor's own kernels, where they can be compiled."""

EXPERTS = {("triton", "fp8"): "fp8/2"}
"""The same for experts of one form alone, where their arithmetic is no longer its first."""

NUMBERS = {("reference", torch.float32): "torch.float32/2"}
"""The same for numbers of one type alone, where their arithmetic is no longer its first."""

WHOLE = 2 << 30
"""Files up to this many bytes are hashed whole; of larger ones the first MiB of every 64."""


def arithmetic(device: torch.device) -> str:
    """The name of the arithmetic in use on a device. Raises ModelError where the setting of the kernels is wrong."""
    name = ARITHMETIC[form_of_kernels(device)]
    return f"{name} {NUMBA}" if device.type == "cpu" and backend.has_numba() else name


def form_of_kernels(device: torch.device) -> str:
    """`reference` or `triton`, as kernels are on a device. Raises ModelError where the setting is wrong."""
    try:
        return backend.form(device)
    except ValueError as error:
        raise ModelError(str(error)) from error


def fingerprint(folder: Path, dtype: torch.dtype, device: torch.device, form: Form = "bf16") -> str:
    """32 hex digits over config.json, the weight files, the dtype, the kind of device, the arithmetic and the experts'
    form."""
    kernels = form_of_kernels(device)
    numbers, name = NUMBERS.get((kernels, dtype), str(dtype)), EXPERTS.get((kernels, form), form)
    numbers = numbers if form == "bf16" else f"{numbers} {name}"
    digest = hashlib.sha256(f"{arithmetic(device)} {numbers} {device.type}".encode())
    digest.update((folder / "config.json").read_bytes())
    for file in shards(folder):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as stream:
            if size <= WHOLE:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
            else:
                for start in range(0, size, 64 << 20):
                    stream.seek(start)
                    digest.update(stream.read(1 << 20))
    return digest.hexdigest()[:32]
