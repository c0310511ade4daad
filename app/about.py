"""What the model in use is and what memory it needs, for `onceread model` and the page: without loading it."""

from typing import Any

import torch

from app.errors import OncereadError
from app.home import Home
from model import weights
from model.config import KimiConfig
from model.devices import choose_device, choose_dtype
from model.fingerprint import arithmetic, form_of_kernels
from model.memory import FORMS, free_bytes, weights_bytes
from model.plan import CARDS, Plan, plan
from model.state import bytes_per_token, fixed_bytes
from model.weights import parameter_count


def about(home: Home) -> dict[str, Any]:
    """Shape, parameters, fingerprint, where it runs and in which numbers, memory it needs (bytes). Raises ModelError.

    The fingerprint is None while the weights are not there.
    """
    settings = home.settings
    config, device = KimiConfig.from_folder(settings.model), choose_device(settings.device)
    dtype = choose_dtype(device)
    parameters, active = parameter_count(config)
    return {
        "model": settings.model_name,
        "folder": str(settings.model),
        "parameters": parameters,
        "active_parameters": active,
        "layers": config.layers,
        "kda_layers": len(config.kda_layers),
        "mla_layers": len(config.mla_layers),
        "hidden": config.hidden,
        "experts": config.experts,
        "experts_per_token": config.top_k,
        "vocabulary": config.vocab_size,
        "max_tokens": config.max_length,
        "fingerprint": home.fingerprint,
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "weights": settings.weights,
        "kernels": arithmetic(device),
        "weights_bytes": weights_bytes(config, dtype, settings.weights),
        "state_bytes_per_token": bytes_per_token(config, dtype),
        "state_bytes_fixed": fixed_bytes(config, dtype),
    }


def memory_plan(home: Home, context: int | None = None) -> dict[str, Any]:
    """What the model takes in each form with a state of `context` tokens (its longest, unless given), what of that fits
    here, and how long a state fits on other cards. Bytes; a form that the experts cannot have is None.

    From config.json and, once it is there, the headers of the checkpoint. Raises ModelError where those do not fit
    together, OncereadError for a context that the model cannot read.
    """
    config, device = KimiConfig.from_folder(home.settings.model), choose_device(home.settings.device)
    context = config.max_length if context is None else context
    if not 1 <= context <= config.max_length:
        raise OncereadError(f"a context is 1 to {config.max_length:,} tokens for this model, not {context:,}")
    here, room = plan(config, choose_dtype(device), form_of_kernels(device), context), free_bytes(device)
    elsewhere = plan(config, torch.bfloat16, "triton", config.max_length)
    there = any(home.settings.model.glob("*.safetensors"))
    return {
        "context": context,
        "tensors": weights.inspect(home.settings.model, config) if there else None,
        "forms": {form: _form(here, form, context, room) if form in here.weights else None for form in FORMS},
        "latents_bytes": context * here.per_token,
        "kda_bytes": here.fixed,
        "workspace_bytes": here.workspace,
        "question_bytes": here.question,
        "free_bytes": room,
        "cards": [
            {"card": card, "bytes": mib << 20,
             "longest_tokens": {form: elsewhere.longest(form, mib << 20) for form in elsewhere.weights}}
            for card, mib in CARDS.items()
        ],
    }  # fmt: skip


def _form(here: Plan, form: Any, context: int, room: int) -> dict[str, Any]:
    kinds = here.weights[form]
    needed = here.needs(form, context)
    return {
        **{f"{kind}_bytes": count for kind, count in kinds.items()},
        "weights_bytes": sum(kinds.values()),
        "total_bytes": needed,
        "fits": needed <= room,
        "longest_tokens": here.longest(form, room),
    }
