"""The map from the normalised form leads back to the very characters."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from app.normal import Normal, normalise

TRICKY = st.text(alphabet="ab zé-–—\n\t \u00ad\u200bﬁﬄ…“’'e\u0301\u3000猫İßA1.", max_size=40)


@given(TRICKY | st.text(max_size=40))
def test_the_map_is_ordered_and_within_the_text(text: str) -> None:
    normal = Normal(text)
    origin = list(normal.origin)
    assert len(origin) == len(normal.plain) == len(normal.folded)
    assert origin == sorted(origin)
    assert all(0 <= at < len(text) for at in origin)


@given(TRICKY, st.integers(0, 40), st.integers(0, 40))
def test_every_span_normalises_to_what_was_sought(text: str, start: int, length: int) -> None:
    normal = Normal(text)
    needle = normal.plain[start : start + length].strip()
    for span in normal.spans(needle):
        assert normalise(text[slice(*span)]) == needle


@given(TRICKY)
def test_normalising_again_or_another_composition_changes_nothing(text: str) -> None:
    plain = normalise(text)
    assert normalise(plain) == plain
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(unicodedata.normalize("NFC", text))


def test_what_counts_as_the_same() -> None:
    assert normalise("a  b\n\tc\u00a0d") == "a b c d"
    assert normalise("“x” ‘y’ «z»") == normalise("\"x\" 'y' \"z\"")
    assert normalise("exam-\nple") == normalise("exam\u00adple") == normalise("exam-ple") == "example"
    assert normalise("COVID-\n19") == normalise("COVID–19") == "COVID-19"
    assert normalise("ﬁne oﬃce…") == "fine office..."
    assert normalise("5-3") != normalise("53")
    assert normalise("cafe") != normalise("café")
    assert normalise("ÀB", fold=True) == normalise("àb")
