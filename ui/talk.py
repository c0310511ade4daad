"""A conversation as HTML: questions, answers, what each answer took, and its numbered quotes."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.citations import parse_so_far
from app.home import Home
from app.session import Conversation
from app.words import count, duration, offered
from ui.markup import button, dotted, link, markdown, safe

Facts = Mapping[str, Any]
"""What is saved with an answer: the fields of `app.session.Answer` as plain values, and the model's fingerprint."""


def tabs(home: Home, document_id: str, chosen: int | None) -> str:
    """The document's conversations as buttons, one that starts another, and what can be done with the chosen one."""
    talks = home.conversations.list(document_id)
    if not talks:
        return ""
    fresh = button("talk", "New conversation", "", style="or-tab" + (" or-chosen" if chosen is None else ""))
    others = [
        button("talk", talk.title, talk.id, style="or-tab" + (" or-chosen" if talk.id == chosen else ""))
        for talk in talks
    ]
    of_this = "".join(_actions(talk) for talk in talks if talk.id == chosen)
    return f'<nav class="or-tabs" aria-label="Conversations">{fresh}{"".join(others)}</nav>{of_this}'


def _actions(talk: Conversation) -> str:
    rename = {"title": "Rename the conversation", "fields": [{"name": "title", "label": "Title", "value": talk.title}],
              "confirm": "Rename"}  # fmt: skip
    remove = {"title": f"Remove “{talk.title}”?", "words": "Its questions and answers are gone then.",
              "confirm": "Remove", "danger": True}  # fmt: skip
    return (
        f'<p class="or-small" role="group" aria-label="This conversation">'
        f'{button("rename-talk", "Rename", talk.id, style="or-link", ask=rename)}'
        f'{link(f"/download/conversation/{talk.id}.md", "Export", style="or-link")}'
        f'{link(f"/download/conversation/{talk.id}.json", "as JSON", style="or-link")}'
        f'{button("remove-talk", "Remove", talk.id, style="or-link", ask=remove)}</p>'
    )


def thread(
    conversation: Conversation | None, document_tokens: int, fingerprint: str, several_files: bool = False
) -> str:
    """Every question and answer so far. `fingerprint`: of the model in use, which counted `document_tokens`."""
    if conversation is None:
        return ""
    shown = []
    for number, message in enumerate(conversation.messages):
        if message.role == "user":
            shown.append(_question(message.text))
        else:
            tokens = document_tokens if message.facts.get("model") == fingerprint else None
            shown.append(_saved_answer(number, message.facts, tokens, several_files))
            shown.append(_onward(number // 2 + 1, number == len(conversation.messages) - 1))
    return "".join(shown)


def suggested(questions: Sequence[str]) -> str:
    """Questions to begin with, as buttons that ask them."""
    if not questions:
        return ""
    buttons = "".join(button("suggest", question, question, style="or-suggestion") for question in questions)
    return (
        '<section class="or-suggested" aria-label="Questions to begin with"><p class="or-quiet">To begin with</p>'
        f"{buttons}</section>"
    )


def live(question: str, raw: str, waiting: str) -> str:
    """The question just asked and as much of the reply as there is, in the shape the finished answer will have.

    waiting: what is going on while there is no reply yet.
    """
    reply = parse_so_far(raw)
    quotes = "".join(f'<li class="or-quote"><q>{safe(quote)}</q></li>' for quote in reply.quotes)
    return _question(question) + _answer(
        f'{markdown(reply.answer)}<span class="or-cursor" aria-hidden="true"></span>',
        f'<ol class="or-quotes">{quotes}</ol>' if quotes else "",
        "Answering" if raw else waiting,
    )


def waiting_words(ahead: int, reading: str) -> str:
    """What a question waits for."""
    if ahead:
        return f"Waiting: {count(ahead, 'question')} before yours"
    return f"The document's memory was not saved any more: {reading}" if reading else "Reading the question"


def citation(conversation: Conversation, item: str) -> Facts | None:
    """The quote, or the place offered, that a button of `thread` names, `message.quote`; None if there is none such."""
    message, _, quote = item.partition(".")
    if not (message.isascii() and message.isdigit() and quote.isascii() and quote.isdigit()):
        return None
    if int(message) >= len(conversation.messages):
        return None
    shown = _quotes(conversation.messages[int(message)].facts)
    return shown[int(quote)] if int(quote) < len(shown) else None


def latest_quote(conversation: Conversation | None) -> str:
    """What names the first quote found in the document of the latest answer; empty if it has none."""
    if conversation is None or not conversation.messages:
        return ""
    citations = conversation.messages[-1].facts.get("citations", ())
    found = (n for n, item in enumerate(citations) if item["verified"])
    return next((f"{len(conversation.messages) - 1}.{n}" for n in found), "")


def place_words(place: Facts, several_files: bool = False) -> str:
    """`page 12`, `line 57`, `src/a.py, lines 3 to 9`."""
    first, last = place.get("line_start"), place.get("line_end")
    if place.get("page"):
        spot = f"page {place['page']}"
    else:
        spot = f"line {first}" if first == last or not last else f"lines {first} to {last}"
    return ", ".join(part for part in (str(place["path"]) if several_files and place.get("path") else "", spot) if part)


def _onward(turns: int, last: bool) -> str:
    """What can be done behind an answer, the turns-th of its conversation."""
    branch = button("branch", "Branch from here", turns, style="or-link")
    again = button("again", "Answer again", style="or-link") if last else ""
    return f'<p class="or-small or-onward">{branch}{again}</p>'


def _question(text: str) -> str:
    return f'<div class="or-question">{safe(text)}</div>'


def _answer(body: str, quotes: str, facts: str) -> str:
    return (
        f'<article class="or-answer"><div class="or-words">{body}</div>{quotes}'
        f'<p class="or-took">{safe(facts)}</p></article>'
    )


def _saved_answer(number: int, facts: Facts, document_tokens: int | None, several_files: bool) -> str:
    citations = facts.get("citations", ())
    items = [_citation(number, n, item, several_files) for n, item in enumerate(_quotes(facts))]
    words = markdown(str(facts.get("answer") or facts.get("raw") or "No answer came."))
    marks = "".join(_mark(number, n) for n, item in enumerate(citations) if item["verified"])
    given, others = items[: len(citations)], items[len(citations) :]
    quotes = f'<ol class="or-quotes">{"".join(given)}</ol>' if given else ""
    if others:
        quotes += f'<p class="or-quiet">{offered(bool(facts.get("found")))}</p>'
        quotes += f'<ul class="or-quotes or-others">{"".join(others)}</ul>'
    return _answer(words + marks, quotes, took(facts, document_tokens))


def _quotes(facts: Facts) -> Sequence[Facts]:
    """What an answer quotes, then the places that are offered beside it."""
    return [*facts.get("citations", ()), *facts.get("nearest", ())]


def _mark(message: int, n: int) -> str:
    return button("quote", str(n + 1), f"{message}.{n}", style="or-mark", hint=f"Open quote {n + 1} in the document")


def _citation(message: int, n: int, item: Facts, several_files: bool) -> str:
    quote = f"<q>{safe(item['quote'])}</q>"
    if not item["verified"] or not item["place"]:
        return f'<li class="or-quote or-unverified">{quote}<span class="or-where">not found in the document</span></li>'
    where = button("quote", place_words(item["place"], several_files), f"{message}.{n}", style="or-where")
    return f'<li class="or-quote">{quote}{where}</li>'


def took(facts: Facts, document_tokens: int | None) -> str:
    """What an answer took. `document_tokens` is None where another model counted them."""
    reused = int(facts["tokens_reused"])
    if document_tokens is None:
        document = f"{count(reused, 'document token')} from saved state"
    else:
        document = f"{max(document_tokens - reused, 0):,} of {count(document_tokens, 'document token')} re-read"
        document += f" ({facts['reason']})" if reused < document_tokens else ""
    generated = int(facts["tokens_generated"])
    return dotted(
        [
            document,
            f"first token {duration(facts['seconds_to_first_token'])}" if generated else "",
            f"{count(generated, 'token')} in {duration(facts['seconds'])}",
            "the model did not have to read the question" if not (generated or facts.get("tokens_read", 1)) else "",
            "stopped" if facts.get("stopped") else "",
        ]
    )
