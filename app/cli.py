"""The command line: `onceread read`, `ask`, `list` and the rest. Each command is a thin layer over an app function.

With --json a command prints exactly one JSON object on stdout; progress and errors go to stderr. Exit codes: 0 done,
1 an error a person can act on (one line), 2 wrong usage.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from app.commands import (
    asking,
    documents,
    glancing,
    model,
    moving,
    people,
    reading,
    reporting,
    service,
    several,
    talking,
)  # fmt: skip
from app.commands.outcome import Run
from app.errors import EXPLAINED, OncereadError
from app.home import Home, open_home
from app.settings import FORMS, Settings, model_folder

Page = Callable[[Home, str, int, bool], None]


def main(argv: Sequence[str] | None = None, page: Page | None = None) -> int:
    """Run one command; returns its exit code. `page` opens the page: it lies above the app, so it is handed down."""
    options = _parser().parse_args(argv)
    options.page = page
    try:
        settings = Settings.from_environment(options.device, options.max_state, options.weights)
        if getattr(options, "path", None) is not None and options.command == "model":
            settings = replace(settings, model=model_folder(options.path))
        home = open_home(settings)
        try:
            result, text, code = options.run(home, options, _stop_on_ctrl_c())
        finally:
            home.close()
        _say(json.dumps(result, ensure_ascii=False) if options.json else text)
    except EXPLAINED as error:
        print(f"onceread: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("onceread: interrupted; what was saved is kept", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who reads our output has seen enough, as `head` does: nothing is wrong
        _silence()
        return 1
    return code


def _say(words: str) -> None:
    """Print what a command gives. Raises OncereadError where that cannot be written, and BrokenPipeError."""
    try:
        if words:
            print(words, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _silence()
        raise OncereadError(f"the output cannot be written ({error.strerror})") from error


def _silence() -> None:
    """Let Python's last words to a standard output that takes none go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    common.add_argument("--max-state", metavar="SIZE", help="all saved states together, like 20GB (default: any)")
    common.add_argument("--device", help="where the model runs: cpu, cuda, cuda:1 (default: cpu)")
    common.add_argument("--weights", choices=FORMS, help="how the model's experts are held in memory (default: bf16)")
    parser = argparse.ArgumentParser(
        prog="onceread", description="Read a book or a codebase once; ask it anything, any time after.",
        epilog="Data lives in $ONCEREAD_HOME; the model is $ONCEREAD_MODEL (mini, or a checkpoint folder).",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Run, help: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(name, help=help, description=help, parents=[common])
        sub.set_defaults(run=run)
        return sub

    for module in (reading, asking, talking, several, documents, glancing, moving, reporting, service, model, people):
        module.register(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
