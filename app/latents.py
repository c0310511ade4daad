"""Latents in 8 bits, for those who chose so (`Settings.round_latents`): about half the bytes of a saved state.

A page of latents is rounded in the state itself, as soon as it is full, and all that is read later looks at what was
rounded. So a state is the same to the bit however it came to be, as without rounding; but it is another state, under
another name. The page that is still being filled and the KDA layers' state stay as the model computes them.
"""

from app.settings import Settings
from model import state as layout
from model.engine import Engine
from model.state import MLAState, ModelState
from storage import mxint8
from storage.tensors import Encoding

ROUNDED = "+mxint8"
"""Behind the fingerprint of a model whose latents are rounded."""


def named(fingerprint: str, settings: Settings) -> str:
    """What a model's states and answers are known by under these settings."""
    return fingerprint + ROUNDED if settings.round_latents else fingerprint


def exact(name: str) -> str:
    """The model's fingerprint without that."""
    return name.removesuffix(ROUNDED)


def settle(state: ModelState, settings: Settings, since: int) -> None:
    """After each chunk of reading, which began after `since` tokens: round the pages that it filled, in place. `state`
    must be nobody else's."""
    if not settings.round_latents:
        return
    filled = slice(since // layout.PAGE, state.tokens // layout.PAGE)
    for layer in state.layers:
        if isinstance(layer, MLAState):
            for page in list(layer.pages())[filled]:
                page.copy_(mxint8.rounded(page))


def encoding(settings: Settings, page: bool) -> Encoding:
    """How rows of a full page, or of the rest of a state, are held."""
    if page and settings.round_latents:
        return "mxint8"
    return "zstd" if settings.pack_state else "raw"


def saved_bytes(engine: Engine, settings: Settings, tokens: int) -> int:
    """Bytes of a state after `tokens` tokens once it is saved; packing without loss may save more."""
    if not settings.round_latents:
        return engine.state_bytes(tokens)
    full = tokens // layout.PAGE * layout.PAGE
    row = mxint8.packed_bytes(engine.config.latent_width)
    return engine.state_bytes(tokens - full) + full * row * len(engine.config.mla_layers)
