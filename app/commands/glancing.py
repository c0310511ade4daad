"""`onceread outline` and `onceread summary`: a document at a glance, in its own words."""

import argparse
from dataclasses import asdict

from app import overview
from app.commands.outcome import Command, Outcome, Stop
from app.commands.words import citation_facts, place
from app.home import Home


def register(command: Command) -> None:
    """Add the commands."""
    parser = command("outline", outline, "a document's parts, key terms, and questions to begin with")
    parser.add_argument("document", metavar="DOCUMENT")
    parser = command("summary", summary, "what each part says, in the document's own sentences, with their places")
    parser.add_argument("document", metavar="DOCUMENT")
    parser.add_argument("--part", metavar="TITLE", help="only parts (chapters, files, a folder) whose title has this")
    parser.add_argument("--sentences", type=int, default=3, metavar="N", help="at most so many of each part")


def outline(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread outline`: parts, key terms and questions."""
    document = home.documents.find(options.document)
    parts = overview.outline(home, document.id)
    terms = overview.key_terms(home, document.id)
    asked = overview.questions(home, document.id)
    lines = [f"{'  ' * (part.level - 1)}{part.title}" for part in parts] or ["No headings were found."]
    if terms:
        lines += ["", "Key terms:", *(f"  {term.term} ({term.count}); first {place(term.first)}" for term in terms)]
    if asked:
        lines += ["", "Questions to begin with:", *(f"  {question}" for question in asked)]
    facts = {
        "document": document.id,
        "parts": [asdict(part) for part in parts],
        "terms": [{"term": t.term, "count": t.count, **citation_facts(t.first)} for t in terms],
        "questions": asked,
    }
    return facts, "\n".join(lines), 0


def summary(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread summary`: the sentences that say most of each part."""
    document = home.documents.find(options.document)
    made = overview.summary(home, document.id, options.part, max(1, options.sentences))
    lines = []
    for one in made:
        lines += [one.title, *(f"  {place(sentence)}" for sentence in one.sentences), ""]
    parts = [{"title": one.title, "sentences": [citation_facts(s) for s in one.sentences]} for one in made]
    return {"document": document.id, "parts": parts}, "\n".join(lines).rstrip(), 0
