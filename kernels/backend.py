"""The one chooser between the two forms of a kernel: its PyTorch `reference`, or ours in `triton`.

Tensors on a GPU take Triton, all others the reference. `$ONCEREAD_KERNELS` overrides it for every device: `reference`,
to compare, or `triton`, which off a GPU runs only in Triton's interpreter (TRITON_INTERPRET=1), slowly, for tests.
Nothing is probed, and a *_triton module is imported where it is first chosen:

    if backend.use_triton(x):
        from kernels.norm_triton import rms_norm

A processor's own kernels, for one token at a time and for KDA's recurrence, are in *_numba modules; where Numba is not
installed, the reference takes their place.
"""

import importlib.util
import os
from functools import cache

import torch
from torch import Tensor

FORMS = ("reference", "triton")

SETTING = "ONCEREAD_KERNELS"


def form(device: torch.device) -> str:
    """Which form kernels take on `device`, `reference` or `triton`. Raises ValueError for a setting of neither."""
    chosen = os.environ.get(SETTING) or ("triton" if device.type == "cuda" else "reference")
    if chosen not in FORMS:
        raise ValueError(f"${SETTING} is {chosen!r}: set it to {' or '.join(FORMS)}, or leave it unset")
    if chosen == "triton" and device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(f"${SETTING} is 'triton', which needs a GPU: unset it, or choose a device such as cuda")
    return chosen


def use_triton(x: Tensor) -> bool:
    """Whether kernels over tensors on x's device run in Triton."""
    if x.is_cpu and SETTING not in os.environ:  # what `form` says too, but a token asks for it six hundred times
        return False
    return form(x.device) == "triton"


def has_numba() -> bool:
    """Whether a processor's own kernels can be compiled here; who chooses a form for every device wants none."""
    return SETTING not in os.environ and _is_installed("numba")


@cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
