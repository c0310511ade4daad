"""Running heads, page numbers, broken words, ligatures."""

from hypothesis import given
from hypothesis import strategies as st

from app.extract.tidy import tidy


def body(n: int) -> str:
    own = chr(ord("a") + n % 26) * 3
    return f"The {own} says words of its own,\nand {own} ends {'so ' * (n % 3)}here.\nNothing else is on it, {own}."


def test_running_heads_and_page_numbers_go_and_lines_keep_their_numbers() -> None:
    odd, even = "{} THE MILL\n\n{}", "CHAPTER II {}\n{}\n\n- {} -"
    pages = [(odd if n % 2 else even).format(n + 12, body(n), n + 12) for n in range(12)]
    tidied = tidy(pages)
    assert tidied.pages == tuple(body(n) + ("" if n % 2 else "\n") for n in range(12))
    assert tidied.line_starts == tuple(3 if n % 2 else 2 for n in range(12))
    assert tidied.notes == ("18 running heads, feet and page numbers left out",)


def test_roman_numbers() -> None:
    pages = [f"{body(n)}\n{roman}" for n, roman in enumerate(["v", "vi", "vii", "viii", "ix"])]
    assert tidy(pages).pages == tuple(body(n) for n in range(5))


def test_headings_with_numbers_of_their_own_stay() -> None:
    pages = [f"Chapter {n // 3 + 1}\n{body(n)}" if n % 3 == 0 else body(n) for n in range(12)]
    assert tidy(pages).pages == tuple(pages)
    assert tidy(["7\n" + body(0), "3\n" + body(1), "9\n" + body(2)]).pages[0] == "7\n" + body(0)


def test_a_refrain_far_between_stays() -> None:
    pages = ["Nevermore, it said.\n" + body(n) if n % 6 == 0 else body(n) for n in range(30)]
    assert tidy(pages).pages == tuple(pages)


def test_broken_words_are_joined_on_the_line_they_began() -> None:
    page = "The exam-\nple, taken from well-\nknown books, is a soft\u00ad\nened co-\noperation of so-\ncalled people."
    page += "\nNo ex-\nX."
    more = "The co-operation of well and known folk. The so called example."
    tidied = tidy([page, more])
    assert tidied.pages[0] == (
        "The example,\ntaken from well-known\nbooks, is a softened\nco-operation\nof so-called\npeople.\nNo ex-\nX."
    )
    assert tidied.notes == ("5 words broken at a line's end joined",)


def test_ligatures_are_letters() -> None:
    assert tidy(["ﬁrst eﬃcient"]).pages == ("first efficient",)


@given(st.lists(st.text("ab-\n 1ﬁ", max_size=60), min_size=1, max_size=8))
def test_no_letter_is_lost_but_in_whole_lines_at_the_edges(pages: list[str]) -> None:
    def letters(text: str) -> str:
        return "".join(text.replace("ﬁ", "fi").replace("-", "").split())

    tidied = tidy(pages)
    for page, text, first in zip(pages, tidied.pages, tidied.line_starts, strict=True):
        lines = page.split("\n")
        kept = lines[first - 1 : first + text.count("\n")]
        assert letters(text) == letters("\n".join(kept))


def test_hostile_pages_take_no_time() -> None:
    tidy(["a" * 500_000 + "-\n", "a-" * 300_000, "-\n" * 300_000, "a-\n" * 100_000, " \n" * 300_000])
    tidy(["ivxlc" * 100_000 + "\n" + "1 " * 500_000] * 5)
