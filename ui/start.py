"""Where the `onceread` command starts: the command line, handed the page. Gradio is imported only to serve it."""

from __future__ import annotations

import gc
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.home import Home


def main() -> int:
    """The console script."""
    return _command_line().main(page=_serve)


def _command_line() -> ModuleType:
    """`app.cli`, imported without looking for garbage in between: PyTorch makes hundreds of thousands of objects that
    stay, and going through them again and again took half a second."""
    gc.disable()
    from app import cli

    gc.freeze()
    gc.enable()
    return cli


def _serve(home: Home, host: str, port: int, sign_in: bool) -> None:
    from ui.server import serve  # seconds of imports that no other command needs

    serve(home, host, port, sign_in)


if __name__ == "__main__":
    sys.exit(main())
