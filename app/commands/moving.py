"""`onceread export` and `onceread import`: a document in one file."""

import argparse
from dataclasses import asdict
from pathlib import Path

from app import portable
from app.commands.outcome import Command, Outcome, Stop
from app.home import Home
from app.words import size


def register(command: Command) -> None:
    """Add the commands."""
    parser = command("export", export, "write a document, its state and conversations to one file")
    parser.add_argument("document", metavar="DOCUMENT", help="an id, a unique id prefix, or an exact title")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser = command("import", bring_in, "take in a file that export wrote")
    parser.add_argument("file", type=Path, metavar="FILE")


def export(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread export`: one file with all of a document."""
    result = portable.export(home, home.documents.find(options.document).id, options.file)
    state = f"the state of {result.tokens:,} tokens" if result.tokens else "no state (it is not read yet)"
    text = f"{result.file}: {result.title}, {state}, {result.conversations} conversations, {size(result.bytes)}"
    return asdict(result), text, 0


def bring_in(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread import`: what export wrote, here or elsewhere."""
    result = portable.bring_in(home, options.file)
    text = (
        f"{result.title}  [{result.document}]\n"
        f"{result.conversations} conversations came in; {result.tokens:,} tokens in state ({result.reason})"
    )
    return asdict(result), text, 0
