"""What people chose: kept, checked, and each their own."""

import pytest

from app.errors import OncereadError
from app.home import Home
from app.preferences import Preferences


def test_choices_are_kept_for_each(home: Home) -> None:
    assert Preferences.of(home, "ann") == Preferences()
    Preferences.parse({"temperature": "0.7", "seed": "3", "unknown": "x"}).keep(home, "ann")
    assert Preferences.of(home, "ann") == Preferences(temperature=0.7, seed=3)
    assert Preferences.of(home, "ann").sampling.temperature == 0.7
    assert Preferences.of(home, "bob") == Preferences()
    home.people.prefer("ann", {"temperature": "hot"})  # from another version
    assert Preferences.of(home, "ann") == Preferences()


@pytest.mark.parametrize(
    ("given", "word"),
    [({"temperature": "warm"}, "temperature"), ({"temperature": "nan"}, "temperature"), ({"temperature": "3"}, "0 to"),
     ({"top_p": "0"}, "top-p"), ({"seed": "-1"}, "seed"), ({"seed": "1.5"}, "seed"), ({"max_tokens": "0"}, "tokens"),
     ({"max_tokens": "99999"}, "tokens"), ({"top_p": "inf"}, "top-p")],
)  # fmt: skip
def test_what_will_not_do_is_named(given: dict[str, str], word: str) -> None:
    with pytest.raises(OncereadError, match=word):
        Preferences.parse(given)
