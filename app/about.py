"""What the model in use is, for `onceread model` and the page's settings."""

from typing import Any

from app.home import Home
from model.fingerprint import arithmetic
from model.state import bytes_per_token, fixed_bytes
from model.weights import parameter_count


def about(home: Home) -> dict[str, Any]:
    """Shape, parameters, fingerprint, where it runs and in which numbers, memory it needs (bytes)."""
    engine = home.engine
    config = engine.config
    parameters, active = parameter_count(config)
    return {
        "model": home.settings.model_name,
        "folder": str(home.settings.model),
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
        "fingerprint": engine.fingerprint,
        "device": str(engine.device),
        "dtype": str(engine.dtype).removeprefix("torch."),
        "kernels": arithmetic(engine.device),
        "weights_bytes": sum(p.numel() * p.element_size() for p in engine.model.parameters()),
        "state_bytes_per_token": bytes_per_token(config, engine.dtype),
        "state_bytes_fixed": fixed_bytes(config, engine.dtype),
    }
