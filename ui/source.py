"""The source of a quote, beside the answer: its page as printed, its code with line numbers, or the text around it."""

from urllib.parse import quote as encoded
from urllib.parse import urlencode

from app.library import Document
from ui.listing import lexer_of, listing
from ui.markup import local, safe
from ui.talk import Facts, place_words

AROUND = 900
"""Characters shown before and after a quote, more or less: the cut is made at a line or a space."""

SCROLL = """
const show = () => {
  const page = element.querySelector('.or-page'), mark = element.querySelector('.or-page mark');
  if (page && mark) page.scrollTop = mark.getBoundingClientRect().top - page.getBoundingClientRect().top
    + page.scrollTop - page.clientHeight / 3;
};
watch('value', show);
show();
"""
"""Script of the panel's gr.HTML: brings the highlighted quote into the panel's view, without moving the page."""

EMPTY = (
    '<aside class="or-source or-empty" aria-label="Source"><p class="or-quiet">Quotes open here, highlighted in the '
    "text around them.</p></aside>"
)


def panel(
    document: Document, text: str, citation: Facts, several_files: bool = False, has_pages: bool = False
) -> str:
    """The quote of a citation in its document. A quote that was not found is said to be so.

    has_pages: whether its page can be drawn.
    """
    place = citation["place"]
    if not citation["verified"] or place is None:
        body = f'<p class="or-unverified"><q>{safe(citation["quote"])}</q></p>'
        return _aside(document.title, "not found in the document", f'<div class="or-page">{body}</div>')
    where = place_words(place, several_files)
    if place.get("page") and has_pages:
        return _aside(document.title, where, _printed(document, text, place))
    if body := _code(document, text, place):
        return _aside(document.title, where, f'<div class="or-page or-listing" tabindex="0">{body}</div>')
    return _aside(document.title, where, f'<div class="or-page" tabindex="0">{_prose(text, place)}</div>')


def _aside(title: str, where: str, body: str) -> str:
    close = local("close-source", "×", style="or-close or-narrow", hint="Close the source")
    return (
        f'<aside class="or-source" aria-label="Source"><header><strong>{safe(title)}</strong>'
        f"<span>{safe(where)}</span>{close}</header>{body}</aside>"
    )


def _printed(document: Document, text: str, place: Facts) -> str:
    """The page as it was printed, the quote marked, with its text for those who read or copy that."""
    query = urlencode({"path": place["path"], "from": place["char_start"], "to": place["char_end"]})
    address = f"/page/{encoded(document.id)}/{int(place['page'])}.png?{query}"
    words = f"Page {place['page']} with the quote marked: {text[place['char_start'] : place['char_end']]}"
    return (
        f'<div class="or-page or-printed" tabindex="0"><img src="{safe(address)}" alt="{safe(words)}" loading="lazy">'
        f"<details><summary>As text</summary>{_prose(text, place)}</details></div>"
    )


def _code(document: Document, text: str, place: Facts) -> str:
    """The file around the quote with colours and line numbers; empty if it is no code."""
    lexer = lexer_of(place["path"])
    inside = [s for s in document.segments if s.char_start <= place["char_start"] < s.char_end]
    if lexer is None or not inside:
        return ""
    part = inside[-1]
    end = min(place["char_end"], part.char_end)
    whole = text[part.char_start : part.char_end]
    return listing(whole, place["char_start"] - part.char_start, end - part.char_start, lexer, part.line_start)


def _prose(text: str, place: Facts) -> str:
    start, end = place["char_start"], place["char_end"]
    before, after = _cut_before(text, start), _cut_after(text, end)
    return (
        f'<div class="or-prose">{"… " if before else ""}{safe(text[before:start])}<mark>{safe(text[start:end])}</mark>'
        f'{safe(text[end:after])}{" …" if after < len(text) else ""}</div>'
    )


def _cut_before(text: str, start: int) -> int:
    """Where to begin: after a line's end, else a space, in the first half of what may be shown."""
    far = max(0, start - AROUND)
    if far == 0:
        return 0
    for sign in ("\n", " "):
        found = text.find(sign, far, start - AROUND // 2)
        if found >= 0:
            return found + 1
    return far


def _cut_after(text: str, end: int) -> int:
    """Where to end: at a line's end, else a space, in the last half of what may be shown."""
    far = min(len(text), end + AROUND)
    if far == len(text):
        return far
    for sign in ("\n", " "):
        found = text.rfind(sign, end + AROUND // 2, far)
        if found >= 0:
            return found
    return far
