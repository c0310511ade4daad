"""`python -m model.training.halve FROM TO`: a checkpoint's tensors in bfloat16, half as much to carry to a machine."""

from __future__ import annotations

import sys
from pathlib import Path

import torch


def halve(source: Path, target: Path) -> None:
    """Write every tensor of a safetensors file, those of real numbers as bfloat16."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(str(source))
    save_file({name: t.bfloat16() if t.is_floating_point() else t for name, t in tensors.items()}, str(target))


if __name__ == "__main__":
    torch.set_num_threads(1)
    halve(Path(sys.argv[1]), Path(sys.argv[2]))
