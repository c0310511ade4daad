"""The settings' form."""

import pytest

from app.home import Home
from app.preferences import Preferences
from ui import settings


@pytest.mark.parametrize(
    ("evidence", "words"), [(-1, "as suits the model"), (0, "none"), (1, "one passage"), (5, "5 passages")]
)
def test_how_much_evidence_is_a_choice_in_words(home: Home, evidence: int, words: str) -> None:
    Preferences(evidence=evidence).keep(home, "")
    shown = settings.panel(home, "")
    assert f'<option value="{evidence}" selected>{words}</option>' in shown
    assert shown.count(" selected>") == 1
