"""Conversations as HTML: what an answer took, its quotes, and nothing interpreted."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from app.passages import Place
from app.session import Conversation
from storage.conversations import Message
from tests.ui.test_markup import Shown
from ui import talk

HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(2)</script> ${x} {{y}} <|im_end|> &lt;'


def facts(**changes: Any) -> dict[str, Any]:
    """What is saved with an answer."""
    place = asdict(Place("book.txt", None, 57, 57, 100, 120))
    return {
        "answer": "Gluck", "raw": 'Quote: "…"\nAnswer: Gluck', "found": True, "reason": "saved state found",
        "citations": [{"quote": "Schwartz, Hans, and Gluck", "verified": True, "place": place}],
        "tokens_reused": 12_388, "tokens_read": 20, "tokens_generated": 31, "seconds_to_first_token": 0.62,
        "seconds": 2.4, "stopped": False, "model": "m1",
    } | changes  # fmt: skip


def conversation(**changes: Any) -> Conversation:
    """One question with one answer."""
    messages = (Message("user", HOSTILE, {}, 0.0), Message("assistant", "raw", facts(**changes), 0.0))
    return Conversation(3, "0a1b", "Who?", 0.0, messages)


def test_an_answer_says_what_it_took() -> None:
    shown = Shown(talk.thread(conversation(), 12_388, "m1")).text
    assert "0 of 12,388 document tokens re-read · first token 0.6 s · 31 tokens in 2.4 s" in shown


@pytest.mark.parametrize(("read", "generated", "said"), [(0, 0, True), (150, 0, False), (0, 31, False)])
def test_what_the_reader_settles_is_said(read: int, generated: int, said: bool) -> None:
    shown = Shown(talk.thread(conversation(tokens_read=read, tokens_generated=generated), 12_388, "m1")).text
    assert ("the model did not have to read the question" in shown) is said


def test_a_reread_says_why() -> None:
    shown = Shown(talk.thread(conversation(tokens_reused=0, reason="not read before"), 12_388, "m1")).text
    assert "12,388 of 12,388 document tokens re-read (not read before)" in shown


def test_another_models_count_is_not_compared() -> None:
    shown = Shown(talk.thread(conversation(), 9_000, "m2")).text
    assert "12,388 document tokens from saved state" in shown


def test_a_stopped_answer_says_so() -> None:
    shown = Shown(talk.thread(conversation(stopped=True, answer="", raw="", tokens_generated=0), 1, "m1")).text
    assert "No answer came." in shown
    assert "stopped" in shown


def test_quotes_are_numbered_placed_and_open() -> None:
    html = talk.thread(conversation(), 12_388, "m1")
    assert 'data-do="quote" data-item="1.0"' in html
    assert "line 57" in html


@pytest.mark.parametrize(("found", "words"), [(True, "A close choice"), (False, "What comes nearest")])
def test_places_offered_beside_an_answer_open_like_its_quotes(found: bool, words: str) -> None:
    place = asdict(Place("b.txt", None, 9, 9, 1, 5))
    near = {"quote": "the valley & its <b>king</b>", "verified": True, "place": place}
    given = facts()["citations"] if found else []
    talked = conversation(found=found, citations=given, nearest=[near])
    html = talk.thread(talked, 12_388, "m1")
    assert words in Shown(html).text
    assert near["quote"] in Shown(html).text
    assert f'data-do="quote" data-item="1.{len(given)}"' in html
    assert html.count("or-mark") == len(given)  # an offered place bears out nothing
    assert talk.citation(talked, f"1.{len(given)}") == near
    assert talk.citation(talked, f"1.{len(given) + 1}") is None
    assert talk.latest_quote(talked) == ("1.0" if found else "")


def test_every_answer_can_be_branched_from_and_the_last_asked_again() -> None:
    two = replace(conversation(), messages=conversation().messages * 2)
    html = talk.thread(two, 12_388, "m1")
    assert [part.partition('"')[0] for part in html.split('data-do="branch" data-item="')[1:]] == ["1", "2"]
    assert html.count('data-do="again"') == 1
    assert html.index('data-item="2"') < html.index('data-do="again"')


def test_questions_to_begin_with() -> None:
    assert talk.suggested([]) == ""
    shown = Shown(talk.suggested([HOSTILE]))
    assert HOSTILE in shown.text
    assert set(shown.tags) == {"section", "p", "button"}


def test_a_quote_that_is_not_there_is_shown_as_such_and_opens_nothing() -> None:
    html = talk.thread(conversation(citations=[{"quote": "wolves", "verified": False, "place": None}]), 1, "m1")
    assert "not found in the document" in html
    assert 'data-do="quote"' not in html


def test_nothing_is_interpreted() -> None:
    place = asdict(Place(HOSTILE, None, 1, 2, 0, 5))
    other = asdict(Place("b.txt", None, 1, 2, 0, 5))
    citations = [{"quote": HOSTILE, "verified": True, "place": spot} for spot in (place, other)]
    shown = Shown(talk.thread(conversation(answer=HOSTILE, citations=citations), 1, "m1", several_files=True))
    assert shown.text.count(HOSTILE) == 5  # question, answer, two quotes, and the path of one
    assert set(shown.tags) <= {"div", "article", "ol", "li", "q", "p", "button", "span"}
    growing = Shown(talk.live(HOSTILE, f'Quote: "{HOSTILE}"\nAnswer: {HOSTILE}', ""))
    assert set(growing.tags).isdisjoint({"img", "script"})


def test_waiting_is_told() -> None:
    assert talk.waiting_words(1, "") == "Waiting: 1 question before yours"
    assert talk.waiting_words(0, "") == "Reading the question"
    assert "5 of 9 tokens read again" in talk.waiting_words(0, "5 of 9 tokens read again")


def test_live_hides_half_a_label() -> None:
    assert "Quo" not in Shown(talk.live("?", "Quo", "")).text
    assert talk.live("?", 'Quote: "a b c"\nAnsw', "") == talk.live("?", 'Quote: "a b c"', "")
    assert Shown(talk.live("?", 'Quote: "a b c"\nAnswer: Gl', "")).text.count("Gl") == 1


@pytest.mark.parametrize("item", ["", "1", "1.", "1.1", "0.0", "9.0", "-1.0", "1.-1", "x.y", "1.0.0", "²._"])
def test_a_made_up_quote_is_none(item: str) -> None:
    assert talk.citation(conversation(), item) is None


def test_the_latest_quote_is_the_first_one_found() -> None:
    found = facts()["citations"][0]
    missing = {"quote": "wolves", "verified": False, "place": None}
    assert talk.latest_quote(conversation(citations=[missing, found])) == "1.1"
    assert talk.latest_quote(conversation(citations=[missing])) == ""
    assert talk.latest_quote(None) == ""


@pytest.mark.parametrize(
    ("place", "words"),
    [(Place("a.txt", None, 57, 57, 0, 1), "line 57"), (Place("a.txt", None, 3, 9, 0, 1), "lines 3 to 9"),
     (Place("a.pdf", 12, 3, 9, 0, 1), "page 12")],
)  # fmt: skip
def test_place_words(place: Place, words: str) -> None:
    assert talk.place_words(asdict(place)) == words
    assert talk.place_words(asdict(place), several_files=True) == f"{place.path}, {words}"
