"""Weights of a BERT come out of an ONNX file as transformers' checkpoint has them."""

from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file

from model.training.unpack import unpack


def test_every_weight_has_its_name_and_its_form(tmp_path: Path) -> None:
    torch.manual_seed(1)
    words, bias, kernel = torch.randn(5, 4), torch.randn(3), torch.randn(3, 4)
    values = {"embeddings.word_embeddings.weight": words, "encoder.layer.0.output.dense.bias": bias,
              "onnx::MatMul_17": kernel.T, "scale": torch.tensor(8.0)}
    nodes = [helper.make_node("MatMul", ["x", "onnx::MatMul_17"], ["y"], name="/encoder/layer.0/output/dense/MatMul"),
             helper.make_node("MatMul", ["y", "y"], ["z"], name="/encoder/layer.0/attention/self/MatMul")]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xz"]
    given = [numpy_helper.from_array(value.contiguous().numpy(), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "bert", ends[:1], ends[1:], given)
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    unpack(tmp_path / "model.onnx", tmp_path / "model.safetensors")
    found = load_file(tmp_path / "model.safetensors")
    expected = {"embeddings.word_embeddings.weight": words, "encoder.layer.0.output.dense.bias": bias,
                "encoder.layer.0.output.dense.weight": kernel}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
