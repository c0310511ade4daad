"""`python -m model.training.unpack FROM TO`: a BERT's weights in an ONNX file, as transformers' checkpoints have them.

An exporter writes a matrix by which states are multiplied as its transpose, under a number; which layer's it is says
the name of the multiplication.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch


def unpack(source: Path, target: Path) -> None:
    """Write the tensors of an ONNX file to a safetensors file. Needs the package `onnx`."""
    import onnx
    from onnx.numpy_helper import to_array
    from safetensors.torch import save_file

    graph = onnx.load(str(source)).graph
    values = {one.name: torch.from_numpy(to_array(one).copy()) for one in graph.initializer}
    found = {name: value for name, value in values.items() if name.endswith((".weight", ".bias"))}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in values:
            name = ".".join(node.name.strip("/").split("/")[:-1])
            found[f"{name}.weight"] = values[node.input[1]].T.contiguous()
    save_file(found, str(target))


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
