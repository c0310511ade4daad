"""A tiny student and a stand-in teacher for the training tests."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.training.packing import Pack
from model.training.student import MINI, Student

CONFIG: dict[str, Any] = copy.deepcopy(MINI) | {
    "vocab_size": 320, "num_hidden_layers": 4, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2,
    "num_key_value_heads": 2, "kv_lora_rank": 64, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 32,
    "num_experts": 4, "num_experts_per_token": 2, "num_shared_experts": 1, "moe_intermediate_size": 64,
    "routed_scaling_factor": 2.0,
    "linear_attn_config": {"head_dim": 64, "num_heads": 1, "short_conv_kernel_size": 4, "full_attn_layers": [4],
                           "kda_layers": [1, 2, 3]},
}  # fmt: skip


def student(seed: int = 0) -> Student:
    """A student with random weights in which every part matters."""
    torch.manual_seed(seed)
    model = Student(CONFIG)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm") or name.endswith("near"):
                p.uniform_(0.6, 1.4)
            elif name.endswith("A_log"):
                p.fill_(0.5)
            else:
                p.normal_(0, 0.3 if p.dim() == 3 or name == "embed" else p.shape[-1] ** -0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("bias"):
                buffer.normal_(0, 0.2)
    return model


class Teacher(nn.Module):
    """Adds a fixed linear map at each layer: enough to be learned from."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.embed = nn.Parameter(torch.randn(CONFIG["vocab_size"], CONFIG["hidden_size"]), requires_grad=False)
        self.maps = [torch.randn(64, 64) / 16 for _ in range(4)]

    def hidden_states(self, ids: Tensor, pack: Pack) -> list[Tensor]:
        """The states before each layer and after the last."""
        states = [F.embedding(ids, self.embed)]
        for weight in self.maps:
            states.append(states[-1] + states[-1] @ weight)
        return states

    def forward(self, ids: Tensor, pack: Pack) -> Tensor:
        """The last state."""
        return self.hidden_states(ids, pack)[-1]
