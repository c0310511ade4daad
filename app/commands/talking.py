"""`onceread conversation`: see, rename, branch, repeat, export and remove conversations."""

import argparse
from pathlib import Path

from app import conversations
from app.commands.outcome import Command, Outcome, Stop, write
from app.errors import OncereadError
from app.home import Home
from app.session import Answer
from model.sampling import Sampling

ACTIONS = ("show", "rename", "branch", "again", "export", "remove")


def register(command: Command) -> None:
    """Add the command."""
    parser = command("conversation", conversation, f"a conversation: {', '.join(ACTIONS)}")
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION")
    parser.add_argument("id", type=int, metavar="ID")
    parser.add_argument("--title", help="rename: what to call it")
    parser.add_argument("--turn", type=int, metavar="N", help="branch: behind which turn (default: the last)")
    parser.add_argument("--seed", type=int, default=1, help="again: another seed gives another answer")
    parser.add_argument("--temperature", type=float, default=0.7, help="again: 0 takes the likeliest words")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="export: a file ending in .md or .json")


def conversation(home: Home, options: argparse.Namespace, stop: Stop) -> Outcome:
    """`onceread conversation ACTION ID`."""
    id = options.id
    talk = home.conversations.get(id)
    if options.action == "rename":
        if not options.title:
            raise OncereadError(f"how? `onceread conversation rename {id} --title TITLE`")
        home.conversations.rename(id, options.title)
        return {"conversation": id, "title": options.title}, f"conversation {id} is called {options.title}", 0
    if options.action == "branch":
        turns = len(talk.messages) // 2 if options.turn is None else options.turn
        made = conversations.branch(home, id, turns)
        return {"conversation": made.id, "turns": turns}, f"conversation {made.id} goes on behind turn {turns}", 0
    if options.action == "remove":
        conversations.remove(home, id)
        return {"conversation": id}, f"conversation {id} is removed", 0
    if options.action == "again":
        try:
            sampling = Sampling(options.temperature, seed=options.seed)
        except ValueError as error:
            raise OncereadError(str(error)) from error
        *_, answer = conversations.again(home, id, sampling, stop)
        assert isinstance(answer, Answer)  # ask's last item
        facts = conversations.facts(home, answer.conversation)
        return facts, f"{answer.answer}\n(conversation {answer.conversation}; {id} is as it was)", 0
    if options.action == "export" and options.output:
        return _export(home, id, options.output)
    return conversations.facts(home, id), conversations.markdown(home, id), 0


def _export(home: Home, id: int, path: Path) -> Outcome:
    write(path, {".md": conversations.markdown, ".json": conversations.as_json}, home, id)
    return {"conversation": id, "file": str(path)}, f"conversation {id} is in {path}", 0
