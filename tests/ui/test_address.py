"""The query that says what the page shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.address import VIEWS, Address


@given(st.text(min_size=1, max_size=40), st.none() | st.integers(0, 10**12), st.sampled_from(["", *VIEWS]))
def test_an_address_survives_the_browser(document: str, conversation: int | None, view: str) -> None:
    address = Address(document, conversation, view)
    assert Address.parse(address.query) == address


@given(st.text())
def test_any_query_can_be_parsed(query: str) -> None:
    address = Address.parse(query)
    assert Address.parse(address.query) == address or not address.document


@pytest.mark.parametrize("query", [None, "", "?", "?conversation=3", "?document=&conversation=-1", "?x=1&y=2"])
def test_what_is_no_address_shows_the_library(query: str | None) -> None:
    assert Address.parse(query).document == ""
    assert Address.parse(query).query == ""


def test_a_conversation_is_a_number() -> None:
    assert Address.parse("?document=ab&conversation=7") == Address("ab", 7)
    assert Address.parse("?document=ab&conversation=7;drop") == Address("ab", None)
