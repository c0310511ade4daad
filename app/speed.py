"""How fast this model reads on this machine: measured once, kept in the data folder, used for estimates.

The time for a token grows with the tokens before it (the MLA layers look at all of them), so two speeds are measured:
at a document's start, and behind a stand-in of 64k tokens of zero latents (fewer where a model reads less). Between and
beyond, time is linear.
"""

import json
import time
from dataclasses import asdict, dataclass

import torch

from app.home import Home
from model.engine import Engine
from model.state import MLAState, ModelState

FAR = 65_536


@dataclass(frozen=True)
class Speed:
    """Seconds for a token at the start, and how many more for each token already read."""

    seconds_per_token: float
    seconds_per_token_behind: float

    def seconds(self, tokens: int, reused: int = 0) -> float:
        """Time to read tokens `reused` to `tokens`."""
        new = tokens - reused
        return new * (self.seconds_per_token + self.seconds_per_token_behind * (tokens + reused) / 2)


def speed(home: Home) -> Speed:
    """The measured speed of the home's model; the first call for a model takes a few seconds."""
    engine = home.engine
    path = home.settings.home / f"speed-{engine.fingerprint[:12]}.json"
    try:
        return Speed(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        measured = measure(engine)  # never measured, or the note is damaged: measure and note it
    path.write_text(json.dumps(asdict(measured)), "utf-8")
    return measured


def measure(engine: Engine) -> Speed:
    """Read one chunk at the start and a part of one behind FAR tokens, where a token takes several times as long, after
    such a part to warm up: somebody waits for it."""
    tokens = min(engine.chunk, engine.config.max_length // 2)
    part = max(tokens // 4, 1)
    behind = min(FAR, engine.config.max_length - part)
    _read_seconds(engine, engine.empty(), part)
    near = _read_seconds(engine, engine.empty(), tokens) / tokens
    far = _read_seconds(engine, _state_behind(engine, behind), part) / part
    return Speed(near, max(0.0, far - near) / behind)


def _state_behind(engine: Engine, tokens: int) -> ModelState:
    state = engine.empty()
    rows = torch.zeros(tokens, engine.config.latent_width, dtype=engine.dtype, device=engine.device)
    for layer in state.layers:
        if isinstance(layer, MLAState):
            layer.append(rows)
    state.tokens = tokens
    return state


def _read_seconds(engine: Engine, state: ModelState, tokens: int) -> float:
    ids = [n % engine.config.vocab_size for n in range(tokens)]
    started = time.perf_counter()
    engine.read(state, ids)
    if engine.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
