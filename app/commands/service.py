"""`onceread serve` and `check`."""

import argparse
from dataclasses import asdict

from app import library
from app.commands.outcome import Command, Outcome, Stop
from app.errors import OncereadError
from app.home import Home


def register(command: Command) -> None:
    """Add the commands."""
    parser = command("serve", serve, "open the page")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port, default=7860)
    parser.add_argument("--sign-in", action="store_true", help="people sign in, as always beyond loopback")
    command("check", check, "verify every saved state")


def port(words: str) -> int:
    """A number that a port can have. Raises ArgumentTypeError."""
    if not words.isascii() or not words.isdigit() or not 0 < int(words[:6]) < 65_536:
        raise argparse.ArgumentTypeError(f"{words!r} is no port: give a number from 1 to 65535")
    return int(words)


def serve(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread serve`: the page, until Ctrl-C."""
    if options.page is None:
        raise OncereadError("this entry has no page: start it with `onceread serve`")
    options.page(home, options.host, options.port, options.sign_in)
    return {"host": options.host, "port": options.port}, "", 0


def check(home: Home, _options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread check`: verify the file, every text, every row of saved state."""
    result = library.check(home)
    facts = {
        "snapshots": result.snapshots,
        "damaged": [asdict(verdict) for verdict in result.damaged],
        "orphaned": [asdict(verdict) for verdict in result.orphaned],
        "texts": list(result.texts),
        "facts": list(result.facts),
        "file": list(result.file),
    }
    lines = [
        f"{result.snapshots} saved states, {len(result.damaged)} damaged, {len(result.orphaned)} with orphaned rows; "
        f"{len(result.texts)} damaged texts, {len(result.facts)} other damaged rows; "
        f"the file is {'damaged' if result.file else 'sound'}"
    ]
    for verdict in result.damaged:
        owners = ", ".join(verdict.documents) or "no document"
        lines.append(f"  {owners}, at token {verdict.tokens:,}: {'; '.join(verdict.damaged)}")
    if result.damaged:
        lines.append("  Read or ask about a document, and what is damaged of its state is read again.")
    for verdict in result.orphaned:
        lines.append(f"  rows of block {verdict.snapshot} belong to nothing: {', '.join(verdict.orphaned)}")
    lines += [f"  the text of {id} is damaged: remove the document and add its file again" for id in result.texts]
    lines += [f"  {each} is damaged" for each in result.facts]
    lines += [f"  {problem}" for problem in result.file]
    return facts, "\n".join(lines), 0 if result.sound else 1
