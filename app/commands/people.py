"""`onceread user`: who may sign in to the page."""

import argparse
import getpass
import sys

from app import people
from app.commands.outcome import Command, Outcome, Stop
from app.errors import OncereadError
from app.home import Home


def register(command: Command) -> None:
    """Add the command."""
    parser = command("user", user, "who may sign in to the page: add, password, remove, list")
    parser.add_argument("action", choices=("add", "password", "remove", "list"), metavar="ACTION")
    parser.add_argument("name", nargs="?", metavar="NAME", help="not needed for list")
    parser.add_argument("--take", action="store_true", help="add: make the documents without an owner theirs")


def user(home: Home, options: argparse.Namespace, _stop: Stop) -> Outcome:
    """`onceread user ACTION`; a password is asked for, or read from standard input."""
    if options.action == "list":
        names = [person.name for person in home.people.list() if person.password]
        return {"people": names}, "\n".join(names) or "nobody; `onceread user add NAME` adds a person", 0
    if not options.name:
        raise OncereadError(f"whom? `onceread user {options.action} NAME`")
    known = home.people.get(options.name)
    if options.action == "remove":
        home.people.remove(options.name)
        return {"name": options.name}, f"{options.name} can no longer sign in", 0
    if options.action == "add" and known is not None and known.password:
        raise OncereadError(f"{options.name} is there already: `onceread user password {options.name}` changes it")
    if options.action == "password" and (known is None or not known.password):
        raise OncereadError(f"there is no {options.name!r}: `onceread user add {options.name}` adds them")
    people.add(home, options.name, _password())
    taken = [document.id for document in home.documents.list() if not document.owner] if options.take else []
    for id in taken:
        home.documents.give(id, options.name)
    given = f"; {len(taken)} documents are theirs now" if taken else ""
    return {"name": options.name, "documents": len(taken)}, f"{options.name} can sign in{given}", 0


def _password() -> str:
    """Asked twice of a person, else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise OncereadError("the two differ: nothing was changed")
    return password
