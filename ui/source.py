"""The text around a quote, beside the answer."""

from ui.markup import safe
from ui.talk import Facts, place_words

AROUND = 900
"""Characters shown before and after a quote, more or less: the cut is made at a line or a space."""

SCROLL = """
const show = () => {
  const page = element.querySelector('.or-page'), mark = element.querySelector('mark');
  if (page && mark) page.scrollTop = mark.offsetTop - page.offsetTop - page.clientHeight / 3;
};
watch('value', show);
show();
"""
"""Script of the panel's gr.HTML: brings the highlighted quote into the panel's view, without moving the page."""

EMPTY = (
    '<aside class="or-source or-empty" aria-label="Source"><p class="or-quiet">Quotes open here, highlighted in the '
    "text around them.</p></aside>"
)


def panel(text: str, title: str, citation: Facts, several_files: bool = False) -> str:
    """The quote of a citation highlighted in its document's text. A quote that was not found is said to be so."""
    place = citation["place"]
    if not citation["verified"] or place is None:
        quote = f'<p class="or-unverified"><q>{safe(citation["quote"])}</q></p>'
        return _aside(title, "not found in the document", quote)
    start, end = place["char_start"], place["char_end"]
    before, after = _cut_before(text, start), _cut_after(text, end)
    body = (
        f'{"… " if before else ""}{safe(text[before:start])}<mark>{safe(text[start:end])}</mark>'
        f'{safe(text[end:after])}{" …" if after < len(text) else ""}'
    )
    return _aside(title, place_words(place, several_files), body)


def _aside(title: str, where: str, body: str) -> str:
    return (
        f'<aside class="or-source" aria-label="Source"><header><strong>{safe(title)}</strong>'
        f'<span>{safe(where)}</span></header><div class="or-page" tabindex="0">{body}</div></aside>'
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
