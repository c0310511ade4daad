"""The command line: `onceread read`, `ask`, `list` and the rest. Each command is a thin layer over an app function.

With --json a command prints exactly one JSON object on stdout; progress and errors go to stderr. Exit codes: 0 done,
1 an error a person can act on (one line), 2 wrong usage.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app import commands
from app.errors import EXPLAINED
from app.home import Home, open_home
from app.settings import Settings, model_folder

Page = Callable[[Home, str, int], None]


def main(argv: Sequence[str] | None = None, page: Page | None = None) -> int:
    """Run one command; returns its exit code. `page` opens the page: it lies above the app, so it is handed down."""
    options = _parser().parse_args(argv)
    options.page = page
    try:
        settings = Settings.from_environment(options.device)
        if getattr(options, "path", None) is not None and options.command == "model":
            settings = Settings(settings.home, model_folder(options.path), settings.device)
        home = open_home(settings)
        try:
            result, text, code = options.run(home, options, _stop_on_ctrl_c())
        finally:
            home.close()
    except EXPLAINED as error:
        print(f"onceread: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("onceread: interrupted; what was saved is kept", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(result, ensure_ascii=False))
    elif text:
        print(text)
    return code


def _stop_on_ctrl_c() -> Callable[[], bool]:
    """A flag that the first Ctrl-C raises, so that work stops at a clean point; the second one interrupts."""
    stopped = False

    def stop(_signal: int, _frame: Any) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nstopping at the next safe point (Ctrl-C again to stop at once)", file=sys.stderr)

    try:
        signal.signal(signal.SIGINT, stop)
    except ValueError:  # not the main thread: nothing sends us Ctrl-C
        return lambda: False
    return lambda: stopped


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    common.add_argument("--device", help="where the model runs: cpu, cuda, cuda:1 (default: cpu)")
    parser = argparse.ArgumentParser(
        prog="onceread", description="Read a book or a codebase once; ask it anything, any time after.",
        epilog="Data lives in $ONCEREAD_HOME; the model is $ONCEREAD_MODEL (mini, or a checkpoint folder).",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., commands.Outcome], help: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=help, description=help, parents=[common])
        sub.set_defaults(run=run)
        return sub

    read = command("read", commands.read, "read files, folders or zip archives into saved state")
    read.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    read.add_argument("--title", help="what to call the document")
    estimate = command("estimate", commands.estimate, "tokens, state size and reading time, without reading")
    estimate.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    ask = command("ask", commands.ask, "answer a question from saved state, with citations")
    ask.add_argument("document", metavar="DOCUMENT", help="an id, a unique id prefix, or an exact title")
    ask.add_argument("question", metavar="QUESTION")
    ask.add_argument("--conversation", type=int, metavar="ID", help="go on with an earlier conversation")
    ask.add_argument("--temperature", type=float, default=0.0, help="0 (the default) takes the likeliest words")
    ask.add_argument("--top-p", type=float, default=1.0, help="sample from the likeliest tokens of this total mass")
    ask.add_argument("--seed", type=int, default=0, help="makes sampling repeatable")
    ask.add_argument("--max-tokens", type=int, default=256, help="longest answer, in tokens")
    command("list", commands.list_documents, "the library")
    show = command("show", commands.show, "a document and its coverage report")
    show.add_argument("document", metavar="DOCUMENT")
    remove = command("remove", commands.remove, "forget a document, its state and conversations")
    remove.add_argument("document", metavar="DOCUMENT")
    report = command("report", commands.report, "ask every question of a template of every document")
    report.add_argument("template", type=Path, metavar="TEMPLATE")
    report.add_argument("documents", nargs="+", metavar="DOCUMENT")
    report.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    serve = command("serve", commands.serve, "open the page")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=7860)
    command("check", commands.check, "verify every saved state")
    model = command("model", commands.model, "what the model is and what it needs")
    model.add_argument("path", nargs="?", metavar="PATH", help="a checkpoint folder (default: the model in use)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
