"""The memory told is the memory there is."""

from app.home import Home
from app.memory import memory


def test_it_is_what_the_engine_keeps(home: Home) -> None:
    told = memory(home)
    for tokens in (0, 1, 1000):
        assert told.bytes(tokens) == home.engine.state_bytes(tokens)
    config = home.engine.config
    assert told.kda_layers + told.mla_layers == config.layers
    keys_and_values = config.heads * (config.nope + config.shared + config.value_dim)
    assert told.attention_bytes(10) == 10 * config.layers * keys_and_values * home.engine.dtype.itemsize
