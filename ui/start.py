"""Where the `onceread` command starts: the command line, handed the page. Gradio is imported only to serve it."""

import sys

from app import cli
from app.home import Home


def main() -> int:
    """The console script."""
    return cli.main(page=_serve)


def _serve(home: Home, host: str, port: int, sign_in: bool) -> None:
    from ui.server import serve  # seconds of imports that no other command needs

    serve(home, host, port, sign_in)


if __name__ == "__main__":
    sys.exit(main())
