"""The student as it is trained: Kimi Linear over packed rows [T, C].

The sparse feed-forward part is computed densely and masked: all 512 + 8 x 128 neurons, with each expert's block scaled
by its routing weight (0 where not chosen). That is the same function as a sparse one, and fast at this size. The
backward pass of KDA is flash-linear-attention's on a GPU and autograd over the plain recurrence on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.training.packing import Pack, attend

MINI: dict[str, Any] = {
    "architectures": ["KimiLinearForCausalLM"], "model_type": "kimi_linear", "vocab_size": 49_152,
    "hidden_size": 576, "num_hidden_layers": 28, "intermediate_size": 1536, "hidden_act": "silu",
    "linear_attn_config": {
        "head_dim": 64, "num_heads": 9, "short_conv_kernel_size": 4,
        "full_attn_layers": [4, 8, 12, 16, 20, 24, 28],
        "kda_layers": [n for n in range(1, 29) if n % 4],
    },
    "num_attention_heads": 6, "num_key_value_heads": 6, "head_dim": 64, "q_lora_rank": None, "kv_lora_rank": 128,
    "qk_nope_head_dim": 48, "qk_rope_head_dim": 16, "v_head_dim": 64, "mla_use_nope": True,
    "first_k_dense_replace": 1, "moe_layer_freq": 1, "num_experts": 8, "num_experts_per_token": 4,
    "num_shared_experts": 4, "moe_intermediate_size": 128, "moe_router_activation_func": "sigmoid",
    "moe_renormalize": True, "routed_scaling_factor": 4.0, "num_expert_group": 1, "topk_group": 1,
    "use_grouped_topk": True, "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "model_max_length": 1_048_576,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "rope_theta": 10_000.0, "torch_dtype": "bfloat16",
}
"""The shape that `convert` makes; `prune` left two of its six attention heads, as the shipped config says."""


def recurrent_kda(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, pack: Pack) -> Tensor:
    """The plain recurrence, token by token. q, k, v, g [T, H, D] (g: log decay), beta [T, H] -> [T, H, D]."""
    q = q * torch.rsqrt(q.square().sum(-1, keepdim=True) + 1e-6) * q.shape[-1] ** -0.5
    k = k * torch.rsqrt(k.square().sum(-1, keepdim=True) + 1e-6)
    decay, out = g.exp(), []
    state = torch.zeros(*k.shape[1:], v.shape[-1], dtype=v.dtype)
    for t, fresh in enumerate((pack.position == 0).tolist()):
        state = (state * 0 if fresh else state) * decay[t, :, :, None]
        correction = beta[t, :, None] * (v[t] - torch.einsum("hkv,hk->hv", state, k[t]))
        state = state + k[t, :, :, None] * correction[:, None, :]
        out.append(torch.einsum("hkv,hk->hv", state, q[t]))
    return torch.stack(out)


class KDA(nn.Module):
    """Kimi Delta Attention; parameter names are the checkpoint's."""

    q_proj: Tensor
    k_proj: Tensor
    v_proj: Tensor
    q_conv1d: Tensor
    k_conv1d: Tensor
    v_conv1d: Tensor
    f_a_proj: Tensor
    f_b_proj: Tensor
    g_a_proj: Tensor
    g_b_proj: Tensor

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        linear, hidden = config["linear_attn_config"], config["hidden_size"]
        self.heads, self.size, taps = linear["num_heads"], linear["head_dim"], linear["short_conv_kernel_size"]
        self.eps, inner = config["rms_norm_eps"], self.heads * self.size
        for name in "qkv":
            self.register_parameter(f"{name}_proj", _empty(inner, hidden))
            self.register_parameter(f"{name}_conv1d", _empty(inner, 1, taps))
        for name in "fg":
            self.register_parameter(f"{name}_a_proj", _empty(self.size, hidden))
            self.register_parameter(f"{name}_b_proj", _empty(inner, self.size))
        self.b_proj, self.o_proj, self.o_norm = _empty(self.heads, hidden), _empty(hidden, inner), _empty(self.size)
        self.A_log, self.dt_bias = _empty(1, 1, self.heads, 1), _empty(inner)

    def inputs(self, x: Tensor, position: Tensor) -> tuple[Tensor, ...]:
        """x [T, C] -> q, k, v, raw forget gate, output gate [T, H, D] and beta [T, H]."""
        widths = [3 * self.heads * self.size, self.size, self.size, self.heads]
        weight = torch.cat((self.q_proj, self.k_proj, self.v_proj, self.f_a_proj, self.g_a_proj, self.b_proj))
        weight = F.pad(weight, (0, 0, 0, -sum(widths) % 16))
        qkv, f, g, b, _ = F.linear(x, weight).split([*widths, -sum(widths) % 16], -1)
        taps = torch.cat((self.q_conv1d, self.k_conv1d, self.v_conv1d))[:, 0]
        mixed = qkv * taps[:, -1]
        for back in range(1, taps.shape[-1]):
            shifted = F.pad(qkv, (0, 0, back, 0))[: qkv.shape[0]]
            mixed = mixed + torch.where(position[:, None] >= back, shifted, 0) * taps[:, -1 - back]
        q, k, v = (t.unflatten(-1, (self.heads, -1)).contiguous() for t in F.silu(mixed).chunk(3, -1))
        f = F.linear(f, self.f_b_proj).unflatten(-1, (self.heads, -1))
        g = F.linear(g, self.g_b_proj).unflatten(-1, (self.heads, -1))
        return q, k, v, f, g, torch.sigmoid(b.float())

    def mix(self, x: Tensor, pack: Pack) -> tuple[Tensor, Tensor]:
        """x [T, C] -> what the heads say [T, H, D] and their output gate [T, H, D]."""
        q, k, v, f, g, beta = self.inputs(x, pack.position)
        if x.is_cuda:
            from fla.ops.kda import chunk_kda

            out, _ = chunk_kda(
                q[None], k[None], v[None], f[None], beta[None], A_log=self.A_log.flatten(), dt_bias=self.dt_bias,
                use_qk_l2norm_in_kernel=True, use_gate_in_kernel=True, disable_recompute=True,
                cu_seqlens=pack.borders, cu_seqlens_cpu=pack.borders_cpu)
            return out[0], g
        decay = -self.A_log[0].exp() * F.softplus(f.float() + self.dt_bias.view(self.heads, -1))
        return recurrent_kda(q.float(), k.float(), v.float(), decay, beta, pack).to(x.dtype), g

    def project(self, heads: Tensor, gate: Tensor) -> Tensor:
        """Norm per head, gate, and the output map: [T, H, D] -> [T, C]."""
        heads = F.rms_norm(heads, heads.shape[-1:], self.o_norm, self.eps) * torch.sigmoid(gate.float()).to(heads.dtype)
        return F.linear(heads.flatten(1), self.o_proj)


class MLA(nn.Module):
    """Latent attention without rotation; parameter names are the checkpoint's."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        hidden, self.heads, self.rank = config["hidden_size"], config["num_attention_heads"], config["kv_lora_rank"]
        self.nope, self.shared = config["qk_nope_head_dim"], config["qk_rope_head_dim"]
        self.value = config["v_head_dim"]
        self.q_proj = _empty(self.heads * (self.nope + self.shared), hidden)
        self.kv_a_proj_with_mqa = _empty(self.rank + self.shared, hidden)
        self.kv_a_layernorm = _empty(self.rank)
        self.kv_b_proj = _empty(self.heads * (self.nope + self.value), self.rank)
        self.o_proj = _empty(hidden, self.heads * self.value)

    def inputs(self, x: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [T, C] -> q, k, v [T, H, D]."""
        q = F.linear(x, self.q_proj).unflatten(-1, (self.heads, -1))
        latent, shared = F.linear(x, self.kv_a_proj_with_mqa).split([self.rank, self.shared], -1)
        latent = F.rms_norm(latent, latent.shape[-1:], self.kv_a_layernorm, 1e-6)
        k, v = F.linear(latent, self.kv_b_proj).unflatten(-1, (self.heads, -1)).split([self.nope, self.value], -1)
        return q, torch.cat((k, shared[:, None].expand(-1, self.heads, -1)), -1), v.contiguous()

    def mix(self, x: Tensor, pack: Pack) -> tuple[Tensor, None]:
        """x [T, C] -> what the heads say [T, H, D]; there is no gate."""
        q, k, v = self.inputs(x, pack.position)
        return attend(q, k, v, pack, (self.nope + self.shared) ** -0.5), None

    def project(self, heads: Tensor, gate: None) -> Tensor:
        """The output map: [T, H, D] -> [T, C]."""
        return F.linear(heads.flatten(1), self.o_proj)


class FeedForward(nn.Module):
    """Dense, or shared neurons followed by the experts' blocks, in one gate, one up and one down map."""

    bias: Tensor
    load: Tensor

    def __init__(self, config: dict[str, Any], sparse: bool) -> None:
        super().__init__()
        self.experts = config["num_experts"] if sparse else 0
        self.chosen, self.scale = config["num_experts_per_token"], config["routed_scaling_factor"]
        size = config["moe_intermediate_size"]
        inner = size * (config["num_shared_experts"] + self.experts) if sparse else config["intermediate_size"]
        self.shared = inner - self.experts * size
        self.gate, self.up = _empty(inner, config["hidden_size"]), _empty(inner, config["hidden_size"])
        self.down = _empty(config["hidden_size"], inner)
        if sparse:
            self.router = _empty(self.experts, config["hidden_size"])
            self.register_buffer("bias", torch.zeros(self.experts))
            self.register_buffer("load", torch.zeros(self.experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """x [T, C] -> output [T, C] and, where sparse, how many tokens chose each expert [E]."""
        inner = F.silu(F.linear(x, self.gate)) * F.linear(x, self.up)
        if not self.experts:
            return F.linear(inner, self.down), None
        score = torch.sigmoid(F.linear(x.float(), self.router.float()))
        choice = (score + self.bias).detach()
        index = torch.arange(self.experts, device=x.device)
        ahead = (choice[:, None, :] > choice[:, :, None]) | (
            (choice[:, None, :] == choice[:, :, None]) & (index[None, :] < index[:, None]))
        mask = ahead.sum(-1) < self.chosen
        weight = torch.where(mask, score, 0)
        weight = weight / (weight.sum(-1, keepdim=True) + 1e-20) * self.scale
        routed = inner[:, self.shared:].unflatten(-1, (self.experts, -1)) * weight.to(x.dtype)[:, :, None]
        return F.linear(torch.cat((inner[:, : self.shared], routed.flatten(1)), -1), self.down), mask.float().sum(0)


class Layer(nn.Module):
    """Norm, attention, residual; norm, feed-forward, residual."""

    def __init__(self, config: dict[str, Any], index: int) -> None:
        super().__init__()
        full = index + 1 in config["linear_attn_config"]["full_attn_layers"]
        self.attention: KDA | MLA = MLA(config) if full else KDA(config)
        self.mlp = FeedForward(config, index >= config["first_k_dense_replace"])
        self.input_norm, self.post_norm = _empty(config["hidden_size"]), _empty(config["hidden_size"])
        self.eps = config["rms_norm_eps"]

    def enter(self, x: Tensor) -> Tensor:
        """The first norm."""
        return F.rms_norm(x, x.shape[-1:], self.input_norm, self.eps)

    def finish(self, x: Tensor, heads: Tensor, gate: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Everything after the heads: x [T, C] -> [T, C], and the experts' load."""
        x = x + self.attention.project(heads, gate)  # type: ignore[arg-type]
        y, load = self.mlp(F.rms_norm(x, x.shape[-1:], self.post_norm, self.eps))
        return x + y, load

    def forward(self, x: Tensor, pack: Pack) -> Tensor:
        """x [T, C] -> [T, C]; adds to `mlp.load`."""
        heads, gate = self.attention.mix(self.enter(x), pack)
        x, load = self.finish(x, heads, gate)
        if load is not None:
            self.mlp.load += load.detach()
        return x


class Student(nn.Module):
    """The whole student; `forward` returns the normed last hidden state [T, C]."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.config = config or MINI
        self.layers: Any = nn.ModuleList(Layer(self.config, n) for n in range(self.config["num_hidden_layers"]))
        self.embed, self.norm = _empty(self.config["vocab_size"], self.config["hidden_size"]), _empty(
            self.config["hidden_size"])

    def compile_layers(self) -> None:
        """Compile the parts around the attention kernels; layers of one kind share the code."""
        for layer in self.layers:
            layer.attention.inputs = torch.compile(layer.attention.inputs)
            layer.finish = torch.compile(layer.finish)

    def forward(self, ids: Tensor, pack: Pack) -> Tensor:
        """ids [T] -> [T, C]; logits are `hidden @ embed.T`."""
        x = F.embedding(ids, self.embed)
        for layer in self.layers:
            x = layer(x, pack)
        return F.rms_norm(x, x.shape[-1:], self.norm, self.config["rms_norm_eps"])


def balance(student: Student, rate: float) -> None:
    """Nudge each router's bias against its experts' load, and forget the load."""
    for layer in student.layers:
        if layer.mlp.experts:
            share = layer.mlp.load / layer.mlp.load.mean().clamp_min(1)
            layer.mlp.bias -= rate * (share - 1).sign()
            layer.mlp.load.zero_()


def _empty(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape))
