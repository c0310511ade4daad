"""`onceread several`: answers about several documents together, which `ask --also` and the page keep."""

import argparse
from pathlib import Path

from app import together
from app.commands.outcome import Command, Outcome, Stop, write
from app.home import Home
from app.words import ago

ACTIONS = ("list", "show", "export", "remove")


def register(command: Command) -> None:
    """Add the command."""
    parser = command("several", several, f"answers about several documents: {', '.join(ACTIONS)}")
    parser.set_defaults(usage_error=parser.error)
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION")
    parser.add_argument("number", nargs="?", type=int, metavar="NUMBER")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="export: a file ending in .md or .json")


def several(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread several ACTION [NUMBER]`."""
    number = options.number
    if options.action == "list":
        kept = together.listed(home)
        lines = [f"{one.number:>4}  {one.question}  ({_of(one)}; {ago(one.created_at)})" for one in kept]
        facts = [
            {"number": one.number, "question": one.question, "answer": one.answer, "created_at": one.created_at,
             "documents": [talk.document for talk in one.talks]}
            for one in kept
        ]  # fmt: skip
        return {"answers": facts}, "\n".join(lines) or "None yet: `onceread ask --also DOCUMENT` asks several.", 0
    if number is None:
        options.usage_error(f"{options.action} wants a NUMBER; `onceread several list` shows them")
    if options.action == "remove":
        home.composed.remove(number)
        return {"number": number}, f"answer {number} is removed; each document's own stays in its conversations", 0
    if options.action == "export" and options.output:
        write(options.output, {".md": together.markdown, ".json": together.as_json}, home, number)
        return {"number": number, "file": str(options.output)}, f"answer {number} is in {options.output}", 0
    return together.facts(home, number), together.markdown(home, number), 0


def _of(one: together.Together) -> str:
    return ", ".join(talk.title for talk in one.talks)
