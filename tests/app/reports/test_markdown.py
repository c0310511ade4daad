"""Markdown for people: what needs them first, then answers with quotes and places; marks in them are harmless."""

from dataclasses import replace

from app.reports import markdown
from tests.app.reports.finished import FINISHED

TEXT = markdown.write(FINISHED)


def test_what_needs_a_person_comes_first() -> None:
    assert TEXT.index("For a person to look at") < TEXT.index("## Story")
    assert "- Gone / Chapters: out of memory" in TEXT
    assert "- across documents / Gist: no quote" in TEXT


def test_answers_with_their_quotes_and_places() -> None:
    assert "> the 'words'\n> — book.txt, page 3, line 7" in TEXT
    assert "> never \\<said\\>\n> — not found in the document" in TEXT
    assert "Put together from: A \\<b\\>book\\</b\\> (Setting)." in TEXT
    assert "*failed: out of memory*" in TEXT


def test_marks_are_harmless() -> None:
    assert TEXT.startswith("# Brief \\| \\*one\\*\n\nAbout \\<it\\>\n")
    assert markdown.plain("a\n# b &lt; ![x](y)") == "a \\# b \\&lt; \\!\\[x\\](y)"


def test_it_says_what_it_was_made_from() -> None:
    assert "- A \\<b\\>book\\</b\\> (d1): 1,234 characters, 300 tokens, 5 pages; x.bin: binary" in TEXT
    assert "- Gone: removed from the library" in TEXT
    assert "Answered by mini (f00), 2026-01-01 00:00 UTC, job j1; seed 0, who =reader." in TEXT


def test_trouble_is_said() -> None:
    assert "**the disk is full**" in markdown.write(replace(FINISHED, trouble="the disk is full"))
