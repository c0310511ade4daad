"""What the model in use is said to be."""

from app.about import about
from app.home import Home


def test_it_is_the_model_in_use(home: Home) -> None:
    what = about(home)
    assert what["fingerprint"] == home.engine.fingerprint
    assert what["kda_layers"] + what["mla_layers"] == what["layers"] == home.engine.config.layers
    assert what["state_bytes_fixed"] + 10 * what["state_bytes_per_token"] == home.engine.state_bytes(10)
