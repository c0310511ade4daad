"""What memory a model takes, from its configuration alone: weights in each form, state, workspace; where it fits."""

from dataclasses import dataclass

import torch

from kernels.quant import FORMS, Form, Weights, parts
from model.config import KimiConfig
from model.engine import CHUNK, TRITON_CHUNK
from model.errors import ConfigError
from model.moe import MoE
from model.state import PAGE, bytes_per_token, fixed_bytes
from model.transformer import Transformer

KINDS = ("experts", "dense", "embeddings")
"""Routed and shared experts; attention, routers, norms and what else every token goes through; both vocabularies."""

SEGMENT, SPAN = 65_536, 16_384
"""Tokens on a GPU: of the past expanded at once, and chunked at once by KDA."""

RUNTIME = {"triton": 1 << 30, "reference": 300 << 20}
"""What CUDA and its libraries, or Python's, take for themselves, and what allocators leave unused; roughly."""

CARDS = {"24 GB": 24_564, "32 GB": 32_607, "48 GB": 46_068, "80 GB": 81_559, "141 GB": 143_771}
"""MiB that cards sold so report: RTX 4090, RTX 5090, L40S, H100, H200."""


@dataclass(frozen=True)
class Plan:
    """Bytes. weights: of each kind, for those forms that the experts can have. fixed: the KDA layers' state. per_token:
    the MLA layers' latents of a token. workspace: what reading takes beside weights and state at most. question: what
    each answer takes that is being written, behind a document of any length.
    """

    weights: dict[Form, dict[str, int]]
    fixed: int
    per_token: int
    workspace: int
    question: int
    max_length: int

    def needs(self, form: Form, tokens: int) -> int:
        """To hold the model and one state of so many tokens, to read, and to answer one question."""
        pages = -(-tokens // PAGE) * PAGE  # a page takes its memory whole
        return sum(self.weights[form].values()) + self.fixed + pages * self.per_token + self.workspace + self.question

    def longest(self, form: Form, room: int) -> int:
        """Tokens of the longest state that so many bytes have room for; 0 if not even the model fits."""
        left = room - self.needs(form, 0)
        return max(0, min(self.max_length, left // self.per_token // PAGE * PAGE))


def plan(config: KimiConfig, dtype: torch.dtype, kernels: str, context: int) -> Plan:
    """The plan for kernels of a form, `triton` or `reference`, with states of up to `context` tokens."""
    weights: dict[Form, dict[str, int]] = {}
    for form in FORMS:
        try:
            weights[form] = weights_by_kind(config, dtype, form)
        except ConfigError:  # these experts have no such form
            continue
    tokens = min(context, TRITON_CHUNK if kernels == "triton" else CHUNK)
    workspace = max(stages(config, dtype, kernels, tokens, context).values()) + RUNTIME[kernels]
    fixed, per_token = fixed_bytes(config, dtype), bytes_per_token(config, dtype)
    question = fixed + PAGE * per_token + 4 * config.vocab_size  # a state that forked from the document's, and logits
    return Plan(weights, fixed, per_token, workspace, question, config.max_length)


def weights_by_kind(config: KimiConfig, dtype: torch.dtype, form: Form) -> dict[str, int]:
    """Bytes of each of KINDS. Raises ConfigError where the experts cannot have that form."""
    model = Transformer.on_meta(config, form, dtype)
    experts = 0
    for module in model.modules():
        if isinstance(module, MoE):
            experts += sum(map(_nbytes, (module.gate_up, module.down, module.shared.gate_up, module.shared.down)))
    embeddings = model.embedding.nbytes + (0 if config.tied else model.head.nbytes)
    return dict(zip(KINDS, (experts, model.nbytes - experts - embeddings, embeddings), strict=True))


def stages(config: KimiConfig, dtype: torch.dtype, kernels: str, tokens: int, context: int) -> dict[str, int]:
    """Bytes held at the height of each part of a layer, while `tokens` are read behind `context` others.

    What every tensor is that counts; the code's are these: `kda`, `mla` and `moe` here, and in `kernels/` the prefill,
    expanded attention, and grouped experts of that form.
    """
    size, wide, gpu = dtype.itemsize, max(4, dtype.itemsize), kernels == "triton"
    stream = 4 * config.hidden * size  # x, what attention gave, the normed sum, what comes of it
    channels, heads = config.kda_channels, config.heads
    mixed = 3 * channels + 2 * config.kda_dim + config.kda_heads  # the projection, then what the convolution gives
    kda = (mixed + 2 * channels + 3 * channels + channels) * size
    chunked = (4 * channels + 64 * config.kda_heads) * size if gpu else 7 * channels * wide
    kda += chunked * min(tokens, SPAN) // tokens

    width, both = config.nope + config.shared, config.nope + config.value_dim
    mla = (heads * width + config.latent_width) * size + 2 * heads * config.value_dim * wide  # queries; o, two of them
    past = min(context, SEGMENT if gpu else PAGE)
    expanded = heads * both + config.latent_width if gpu else heads * (both + 2 * width)  # keys and values, once copied
    segment = past * expanded * size
    mla += 0 if gpu else heads * width * size  # what attention gives, padded to the keys' width

    hidden, inner, shared = config.hidden, config.expert_inner, config.shared_inner
    if gpu:  # gathered while they are multiplied
        moe = config.top_k * (inner + hidden) + shared + 2 * hidden
    else:
        moe = config.top_k * ((3 + (wide > size)) * inner + inner * wide // size + hidden)
    return {
        "kda": tokens * (stream + kda),
        "mla": tokens * (stream + mla) + segment,
        "moe": tokens * (stream + moe * size),
        "dense": tokens * (stream + (4 * config.dense_inner + hidden) * size) if config.dense_layers else 0,
    }


def _nbytes(weight: Weights) -> int:
    return sum(part.nbytes for part in parts(weight))
