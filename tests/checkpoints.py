"""Tiny checkpoints in the published layout: Moonshot's tensor names, dtypes and config keys, an index and shards.

Written from the table of the real checkpoint and not from our loader, so that the loader is tested and not echoed.
"""

import base64
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

CONFIG: dict[str, Any] = {
    "architectures": ["KimiLinearForCausalLM"],
    "bos_token_id": 1,
    "dtype": "bfloat16",
    "eos_token_id": 2,
    "first_k_dense_replace": 1,
    "head_dim": 72,  # as in the real file: no tensor has this dimension
    "hidden_act": "silu",
    "hidden_size": 32,
    "initializer_range": 0.02,
    "intermediate_size": 48,
    "kv_lora_rank": 16,
    "linear_attn_config": {
        "full_attn_layers": [3, 5],
        "head_dim": 8,
        "kda_layers": [1, 2, 4],
        "num_heads": 3,
        "short_conv_kernel_size": 4,
    },
    "mla_use_nope": True,
    "model_max_length": 32768,
    "model_type": "kimi_linear",
    "moe_intermediate_size": 16,
    "moe_layer_freq": 1,
    "moe_renormalize": True,
    "moe_router_activation_func": "sigmoid",
    "num_attention_heads": 2,
    "num_expert_group": 1,
    "num_experts": 6,
    "num_experts_per_token": 2,
    "num_hidden_layers": 5,
    "num_key_value_heads": 2,
    "num_nextn_predict_layers": 0,
    "num_shared_experts": 1,
    "pad_token_id": 0,
    "q_lora_rank": None,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "routed_scaling_factor": 2.446,
    "tie_word_embeddings": False,
    "topk_group": 1,
    "use_grouped_topk": True,
    "v_head_dim": 6,
    "vocab_size": 320,
}


PUBLISHED: dict[str, Any] = CONFIG | {
    "bos_token_id": 163584,
    "eos_token_id": 163586,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "kv_lora_rank": 512,
    "linear_attn_config": {
        "full_attn_layers": [4, 8, 12, 16, 20, 24, 27],
        "head_dim": 128,
        "kda_layers": [1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19, 21, 22, 23, 25, 26],
        "num_heads": 32,
        "short_conv_kernel_size": 4,
    },
    "model_max_length": 1048576,
    "moe_intermediate_size": 1024,
    "num_attention_heads": 32,
    "num_experts": 256,
    "num_experts_per_token": 8,
    "num_hidden_layers": 27,
    "num_key_value_heads": 32,
    "pad_token_id": 163839,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 163840,
}
"""moonshotai/Kimi-Linear-48B-A3B-Instruct."""


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor's name and shape, as the published checkpoint has them."""
    hidden, linear = config["hidden_size"], config["linear_attn_config"]
    heads, dim = linear["num_heads"], linear["head_dim"]
    channels, taps = heads * dim, linear["short_conv_kernel_size"]
    rank, nope, rope = config["kv_lora_rank"], config["qk_nope_head_dim"], config["qk_rope_head_dim"]
    value, attention_heads = config["v_head_dim"], config["num_attention_heads"]
    named: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for n in range(config["num_hidden_layers"]):
        part: dict[str, tuple[int, ...]] = {"input_layernorm": (hidden,), "post_attention_layernorm": (hidden,)}
        if n + 1 in linear["kda_layers"]:
            part |= {f"self_attn.{x}_proj": (channels, hidden) for x in "qkv"}
            part |= {f"self_attn.{x}_conv1d": (channels, 1, taps) for x in "qkv"}
            part |= {f"self_attn.{x}_a_proj": (dim, hidden) for x in "fg"}
            part |= {f"self_attn.{x}_b_proj": (channels, dim) for x in "fg"}
            part |= {"self_attn.b_proj": (heads, hidden), "self_attn.o_norm": (dim,)}
            part |= {"self_attn.o_proj": (hidden, channels)}
            named[f"model.layers.{n}.self_attn.A_log"] = (1, 1, heads, 1)
            named[f"model.layers.{n}.self_attn.dt_bias"] = (channels,)
        else:
            part |= {
                "self_attn.q_proj": (attention_heads * (nope + rope), hidden),
                "self_attn.kv_a_proj_with_mqa": (rank + rope, hidden),
                "self_attn.kv_a_layernorm": (rank,),
                "self_attn.kv_b_proj": (attention_heads * (nope + value), rank),
                "self_attn.o_proj": (hidden, attention_heads * value),
            }
        if n < config["first_k_dense_replace"]:
            part |= _swiglu("mlp", hidden, config["intermediate_size"])
        else:
            inner, moe = config["moe_intermediate_size"], "block_sparse_moe"
            part |= {f"{moe}.gate": (config["num_experts"], hidden)}
            named[f"model.layers.{n}.{moe}.gate.e_score_correction_bias"] = (config["num_experts"],)
            for e in range(config["num_experts"]):
                part |= {f"{moe}.experts.{e}.{w}": (inner, hidden) for w in ("w1", "w3")}
                part |= {f"{moe}.experts.{e}.w2": (hidden, inner)}
            part |= _swiglu(f"{moe}.shared_experts", hidden, inner * config["num_shared_experts"])
        named |= {f"model.layers.{n}.{name}.weight": shape for name, shape in part.items()}
    named["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        named["lm_head.weight"] = (config["vocab_size"], hidden)
    return named


def _swiglu(start: str, hidden: int, inner: int) -> dict[str, tuple[int, ...]]:
    gate, up, down = (f"{start}.{name}_proj" for name in ("gate", "up", "down"))
    return {gate: (inner, hidden), up: (inner, hidden), down: (hidden, inner)}


def weights(config: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Random weights that keep activations near one, with biased routers and gates that reach into the hundreds."""
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes(config).items():
        x = torch.randn(shape, generator=random)
        if name.endswith("A_log"):
            x = torch.linspace(-3, 5, x.numel()).view(shape)  # exp: 0.05 to 148
        elif name.endswith("dt_bias"):
            x = x - 2
        elif name.endswith("e_score_correction_bias"):
            x = (x * 0.5).bfloat16()
        elif "norm" in name:
            x = (1 + 0.2 * x).bfloat16()
        elif name != "model.embed_tokens.weight":
            x = (1.5 * x * shape[-1] ** -0.5).bfloat16()
        else:
            x = x.bfloat16()
        tensors[name] = x
    return tensors


def write(folder: Path, shards: int = 3, seed: int = 0, **changes: Any) -> Path:
    """A checkpoint folder: config.json (with `changes`), shards, index, tokenizer and chat template."""
    config = CONFIG | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2), "utf-8")
    write_shards(folder, weights(config, seed), shards)
    write_tokenizer(folder)
    return folder


def write_shards(folder: Path, tensors: dict[str, Tensor], shards: int) -> None:
    """`tensors` over several safetensors files beside their index."""
    names: list[str] = list(tensors)
    index: dict[str, str] = {}
    for n in range(shards):
        file = f"model-{n + 1:05d}-of-{shards:05d}.safetensors"
        part = names[n * len(names) // shards : (n + 1) * len(names) // shards]
        save_file({name: tensors[name] for name in part}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    total = sum(x.numel() * x.element_size() for x in tensors.values())
    content = {"metadata": {"total_size": total}, "weight_map": index}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content), "utf-8")


def write_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer.json with a few merges and ChatML's special tokens (ids 0 to 3), and its chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"],
        special_tokens=["[PAD]", "<|endoftext|>", "<|im_end|>", "<|im_start|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = "the house of the document says that the answer to the question is in the document, and more of it. "
    tokenizer.train_from_iterator([text * 4], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"chat_template": CHATML, "eos_token": "<|im_end|>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")


def write_tiktoken(folder: Path) -> Path:
    """A small `tiktoken.model` in Kimi's format: all bytes, then a few merges; ids are their order."""
    merges = [b"ab", b"aba", b"  ", b"12", b"34", b"1234", b"th", b"the", b" the", b"'s", b"t's", "中".encode()[:2]]
    tokens = [bytes([n]) for n in range(256)] + [*merges, "中".encode(), "中a".encode()]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    (folder / "tiktoken.model").write_text("\n".join(lines) + "\n", "ascii")
    return folder
