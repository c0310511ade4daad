"""What the model's memory of a document is made of, beside what full attention would have kept."""

from dataclasses import dataclass

from app.home import Home
from model.state import bytes_per_token, fixed_bytes


@dataclass(frozen=True)
class Memory:
    """Bytes. fixed: the KDA layers' state, the same at any length. per_token: the MLA layers' latents.

    attention_per_token: keys and values of ordinary attention in every layer, with the same heads and number format.
    """

    fixed: int
    per_token: int
    attention_per_token: int
    kda_layers: int
    mla_layers: int

    def bytes(self, tokens: int) -> int:
        """The state after so many tokens."""
        return self.fixed + tokens * self.per_token

    def attention_bytes(self, tokens: int) -> int:
        """What ordinary attention would hold after so many tokens."""
        return tokens * self.attention_per_token


def memory(home: Home) -> Memory:
    """Of the model in use."""
    config, dtype = home.engine.config, home.engine.dtype
    heads = config.heads * (config.nope + config.shared + config.value_dim)
    return Memory(
        fixed=fixed_bytes(config, dtype),
        per_token=bytes_per_token(config, dtype),
        attention_per_token=config.layers * heads * dtype.itemsize,
        kda_layers=len(config.kda_layers),
        mla_layers=len(config.mla_layers),
    )
