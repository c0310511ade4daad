"""Replies of every shape are understood, and only what stands in the document is ever verified."""

import random
import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.citations import Reply, cite, is_short, locate, parse_reply
from app.extract import Part
from app.passages import Places
from app.prompts import NOT_FOUND, reply

BOOK = (
    "Chapter One\n\nIt was a bright cold day in April, and the clocks were strik-\ning thirteen.\n"
    "“The ﬁrst oﬃce,” she said — quietly — “isn’t far.”\n\n"
    "Das Café war ge\u00adschlossen. A well-known author wrote it in 1867.\n"
    "The end of the story is that the café was closed. In 1867 nobody knew.\n"
)


def places(text: str) -> Places:
    return Places(text, [Part(0, len(text), "book.txt", None, 1)])


@pytest.mark.parametrize(
    ("said", "answer", "quotes", "found"),
    [
        (reply("It was a dark night.", "At night."), "At night.", ("It was a dark night.",), True),
        (reply('He said "go" and left.', "He left"), "He left", ('He said "go" and left.',), True),
        (NOT_FOUND, NOT_FOUND, (), False),
        ("the document does not say", NOT_FOUND, (), False),
        ("The document does not s", NOT_FOUND, (), False),
        (f'Quote: "It was night"\nAnswer: {NOT_FOUND}', NOT_FOUND, (), False),
        (
            "The document does not say that; it says this.",
            "The document does not say that; it says this.",
            (),
            True,
        ),
        ("Paris.", "Paris.", (), True),
        ("", "", (), False),
        ('Quote: "', "", (), False),
        ('Quote: "one two\nQuote: “three”\nAnswer: x\ny', "x\ny", ("one two", "three"), True),
        ('Quote: "He said "go" and th', "", ('He said "go" and th',), True),
        ('Quote: "line one\nline "two"\nline three"\nAnswer: 3', "3", ('line one\nline "two"\nline three',), True),
        ('Quote: "Q: what?\nAnswer: 42"\nAnswer: It is 42.', "It is 42.", ("Q: what?\nAnswer: 42",), True),
        ("Quote: no marks at all\nAnswer: x", "x", ("no marks at all",), True),
        ("Quote: no marks at all\nIt is so.", "It is so.", ("no marks at all",), True),
        ('Quote: "abc" Answer: x', "x", ("abc",), True),
        ('Quote: "abc"\nIt is called "Foo"', 'It is called "Foo"', ("abc",), True),
        ('**Quote:** "abc"\n\n**Answer:** yes', "yes", ("abc",), True),
        ('Answer: yes\nQuote 1: "abc" (p. 3).\nQuote 2: \'it\'s\'', "yes", ("abc", "it's"), True),
        ('Quotes:\n"abc"\nAnswer: q', "q", ("abc",), True),
    ],
)
def test_replies(said: str, answer: str, quotes: tuple[str, ...], found: bool) -> None:
    assert parse_reply(said) == Reply(answer, quotes, found)


@given(st.text(alphabet='Quote:Answer "“”\n.ab', max_size=60), st.integers(0, 60))
def test_no_reply_is_too_odd(said: str, cut: int) -> None:
    parsed = parse_reply(reply(said, "x")[:cut] + said)
    assert all(quote == quote.strip() != "" for quote in parsed.quotes)


@pytest.mark.parametrize(
    ("quote", "shown"),
    [
        ("It was a bright cold day in April", "It was a bright cold day in April"),
        ("cold day in April, and the  clocks\nwere", "cold day in April, and the clocks were"),
        ("the clocks were striking thirteen", "the clocks were strik-\ning thirteen"),
        ("the clocks were strik- ing thirteen", "the clocks were strik-\ning thirteen"),
        ('"The first office," she said - quietly', "“The ﬁrst oﬃce,” she said — quietly"),
        ("she said—quietly—\"isn't far.\"", "she said — quietly — “isn’t far.”"),
        ("Das Cafe\u0301 war geschlossen", "Das Café war ge\u00adschlossen"),
        ("A WELL-KNOWN AUTHOR wrote it", "A well-known author wrote it"),
        ("known author wrote it", "known author wrote it"),
    ],
)
def test_a_quote_is_shown_in_the_documents_own_characters(quote: str, shown: str) -> None:
    [citation] = cite([quote], BOOK, places(BOOK))
    assert citation.verified
    assert citation.quote == shown
    assert citation.place is not None
    assert BOOK[citation.place.char_start : citation.place.char_end] == shown
    assert citation.place.line_start == BOOK[: BOOK.index(shown)].count("\n") + 1
    assert citation.place.line_end == citation.place.line_start + shown.count("\n")


@pytest.mark.parametrize(
    "quote", ["It was a dark and stormy night", "that the cafe was closed", "", '" - "', "thirteen clocks were strik"]
)
def test_what_is_not_there_has_no_place(quote: str) -> None:
    [citation] = cite([quote], BOOK, places(BOOK))
    assert (citation.quote, citation.verified, citation.place) == (quote, False, None)


def test_a_short_quote_must_stand_in_one_place() -> None:
    assert locate("striking thirteen", BOOK) == (BOOK.index("strik-"), BOOK.index(" thirteen") + 9)
    assert locate("in 1867", BOOK) == (BOOK.index("in 1867"), BOOK.index("in 1867") + 7)  # the other is "In 1867"
    assert locate("1867", BOOK) is None
    assert locate("Apr", BOOK) is None  # half a word
    assert locate("april", BOOK) is None  # without its capital


def test_whole_words_come_before_parts_of_words() -> None:
    text = "He is smart is long gone. Yes: art is long gone."
    assert locate("art is long gone", text) == (text.rindex("art"), len(text) - 1)


def test_short_is_counted_in_words_and_width() -> None:
    assert is_short("in 1867")
    assert is_short("a b c d")
    assert not is_short("the clocks were striking")
    assert not is_short("吾輩は猫である。")
    assert is_short("猫である")


def typeset(text: str, seed: int) -> str:
    """The text as another typesetter would print it: other blanks, quotation marks, dashes, ligatures, hyphenation."""
    chance = random.Random(seed)
    other = {" ": "\n \u00a0", "'": "’‘", '"': "“”", "-": "–‐—"}
    pieces = [chance.choice(other[c]) if c in other and chance.random() < 0.5 else c for c in text]
    for at, (left, right) in enumerate(pairwise(pieces)):
        if left.isalpha() and right.isalpha() and chance.random() < 0.1:
            pieces[at] += chance.choice(["\u00ad", "-\n", "\u200b"])
    return "".join(pieces).replace("fi", "ﬁ").replace("ff", "ﬀ")


@given(st.lists(st.from_regex(r"[a-zA-Zéü]{1,8}[',.]?", fullmatch=True), min_size=6, max_size=40), st.integers())
@example(["fi", "ffi", "é", "e", "a", "b", "office"], 1)
def test_any_typesetting_of_a_quote_is_found_at_its_place(words: list[str], seed: int) -> None:
    printed = [typeset(word, seed + n) for n, word in enumerate(words)]
    text = "START " + "\n".join(printed) + " STOP"
    start = len("START ") + len("\n".join(printed[:2])) + 1
    end = start + len("\n".join(printed[2:]))
    quote = " ".join(words[2:])
    found = locate("START " + " ".join(words), text)
    assert found == (0, end)
    if (span := locate(quote, text)) is not None and not is_short(quote):
        assert text[slice(*span)].split()  # a repeated phrase may be found at an earlier place, never an empty one
        assert span[0] <= start


def test_a_book_of_five_megabytes_is_searched_at_once() -> None:
    chance = random.Random(0)
    words = ["".join(chance.choices("aeioudnrstlmé", k=chance.randint(1, 9))) for _ in range(5_000)]
    text = "".join(chance.choice(words) + (" " if n % 12 else "\n") for n in range(900_000))
    text = text[:5_000_000]
    quotes = [" ".join(text[at : at + 200].split()).upper() for at in (1_000_000, 4_700_000)] + ["no such words here"]
    start = time.process_time()
    first, second, absent = cite(quotes, text, places(text))
    took = time.process_time() - start
    assert first.verified
    assert second.verified
    assert not absent.verified
    assert took < 1.5  # 0.4 s on one core; the rest is for a busy machine
