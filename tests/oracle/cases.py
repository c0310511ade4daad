"""The shapes compared with the oracle, and how models of those shapes are made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import KimiLinearConfig, KimiLinearForCausalLM

VOCABULARY = 97


@dataclass(frozen=True)
class Case:
    """One shape: its layers as a word of K (KDA) and M (MLA), how many of them are dense, and what else differs."""

    name: str
    layers: str
    tokens: int
    dense: int = 1
    linear: dict[str, int] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    def config(self) -> KimiLinearConfig:
        """The case in transformers' terms."""
        linear = {"head_dim": 8, "num_heads": 3, "short_conv_kernel_size": 4} | self.linear
        numbered = list(enumerate(self.layers, 1))
        pattern = {
            "kda_layers": [n for n, kind in numbered if kind == "K"],
            "full_attn_layers": [n for n, kind in numbered if kind == "M"],
        }
        shape = {
            "vocab_size": VOCABULARY, "hidden_size": 24, "intermediate_size": 40, "moe_intermediate_size": 12,
            "num_hidden_layers": len(self.layers), "num_attention_heads": 3, "num_key_value_heads": 3,
            "kv_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8,
            "num_local_experts": 5, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False,
        }  # fmt: skip
        dense = {"first_k_dense_replace": self.dense}
        return KimiLinearConfig(**(shape | self.changes | dense | {"linear_attn_config": linear | pattern}))

    def oracle(self) -> KimiLinearForCausalLM:
        """transformers' model with random weights that make every part matter."""
        torch.manual_seed(sum(self.name.encode()))
        model = KimiLinearForCausalLM(self.config()).eval().requires_grad_(False)
        for name, x in [*model.named_parameters(), *model.named_buffers()]:
            if "A_log" in name:
                x.copy_(torch.linspace(-3, 2, x.numel()).view(x.shape))  # decays of 0.05 to 7 for each unit of gate
            elif "norm" in name:
                x.uniform_(0.6, 1.4)
            elif "e_score_correction_bias" in name:
                x.normal_(0, 0.5)
            elif "embed" in name or x.dim() == 1:
                x.normal_()
            elif "kv_a_proj" in name:
                x.normal_(0, 0.002)  # latents so small that the epsilon of their norm counts
            else:
                x.normal_(0, 1.5 * x.shape[-1] ** -0.5)
        return model

    def checkpoint(self, folder: Path) -> KimiLinearForCausalLM:
        """Save the oracle's weights as transformers writes them, and give the oracle."""
        model = self.oracle()
        saved = model.state_dict()
        if model.config.tie_word_embeddings:  # this class of transformers keeps two matrices all the same
            model.lm_head.weight.copy_(model.model.embed_tokens.weight)
            del saved["lm_head.weight"]
        model.save_pretrained(folder, state_dict=saved, max_shard_size="40KB")
        return model

    def ids(self) -> Tensor:
        """The tokens to read, [tokens]."""
        return torch.randint(3, VOCABULARY, (self.tokens,), generator=torch.Generator().manual_seed(self.tokens))


CASES = [
    Case("one of each, a single chunk", "KM", 37),
    Case("the published pattern over several chunks", "KKKMKKM", 331),
    Case("KDA alone", "KKK", 203, linear={"num_heads": 2, "head_dim": 16}),
    Case("MLA alone", "MM", 150, changes={"num_attention_heads": 5, "num_key_value_heads": 5}),
    Case("dense throughout", "KMK", 129, dense=3),
    Case("two dense layers, tied", "KKM", 65, dense=2, changes={"tie_word_embeddings": True}),
    Case("no shared key part", "KM", 100, changes={"qk_rope_head_dim": 0}),
    Case("values wider than keys", "MKM", 141, changes={"v_head_dim": 20, "kv_lora_rank": 7}),
    Case("values narrower than keys", "KM", 64, changes={"v_head_dim": 3, "qk_rope_head_dim": 9}),
    Case("three taps, one head", "KMK", 127, linear={"short_conv_kernel_size": 3, "num_heads": 1, "head_dim": 12}),
    Case("many experts, two shared, weights not renormalised", "KM", 190, dense=0, changes={
        "num_local_experts": 16, "num_experts_per_tok": 5, "n_shared_experts": 2, "norm_topk_prob": False,
        "routed_scaling_factor": 0.7,
    }),
]  # fmt: skip
