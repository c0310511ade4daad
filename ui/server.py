"""Serving the page: sign-in where it is needed, the gate before everything, and an end that loses nothing."""

import logging
import signal
import threading
from pathlib import Path

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from app import people
from app.errors import OncereadError
from app.home import Home
from app.people import Doors
from app.speed import speed
from app.worker import Worker
from ui import downloads, signin
from ui.gate import LARGEST_UPLOAD, LOOPBACK, Gate, person_of
from ui.main import build
from ui.shared import Site

STYLE = Path(__file__).parent / "style.css"
SYSTEM_FONT = ["ui-sans-serif", "system-ui", "sans-serif"]
MONO_FONT = ["ui-monospace", "Consolas", "monospace"]
MOST_THREADS = 200
"""Each answer that is looked at holds one while it has nothing new to show."""


def serve(home: Home, host: str, port: int, sign_in: bool = False) -> None:
    """Serve the page until Ctrl-C or SIGTERM. Call it from the main thread.

    People must sign in where others can reach the page (any host but loopback), or where `sign_in` asks for it.
    Reading goes on in the background meanwhile; at the end it stops at a safe point and is taken up by the next
    start. Raises OncereadError if the address cannot be used or nobody could sign in, ModelError if the model cannot
    be loaded.
    """
    doors = Doors(home) if sign_in or host not in LOOPBACK else None
    if doors is not None and not people.may_sign_in(home):
        raise OncereadError("nobody could sign in to this page: add a person first with `onceread user add NAME`")
    print(f"Loading {home.settings.model_name}; the first start also measures how fast it reads here.", flush=True)
    site = Site(home, Worker(home), doors)
    page = build(site)
    speed(home)  # before anything else uses the processor, or every estimate would be too long
    home.engine.warm()
    site.start()
    try:
        launch(page, site, host, port)
        print(f"Onceread is open at http://{host}:{port}/ (Ctrl-C ends it)", flush=True)
        if doors is not None and host not in LOOPBACK:
            print("Passwords cross the network in the open: put a proxy with TLS before it.", flush=True)
        _wait_for_signal()
        print("\nEnding; what has been read is saved.", flush=True)
    finally:
        page.close(verbose=False)
        site.end()


def launch(page: gr.Blocks, site: Site, host: str, port: int) -> None:
    """Serve a page from a thread until `page.close()`. Raises OncereadError if the address cannot be used."""
    routes = downloads.routes(site) + (signin.routes(site.doors) if site.doors else [])
    gate = Middleware(Gate, doors=site.doors, only_local=host in LOOPBACK)
    logging.getLogger("uvicorn.error").addFilter(is_worth_a_line)
    try:
        page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            max_file_size=LARGEST_UPLOAD,
            max_threads=MOST_THREADS,
            allowed_paths=[],
            auth_dependency=person_of if site.doors else None,
            app_kwargs={"middleware": [gate], "routes": routes, "docs_url": None, "redoc_url": None},
            theme=_theme(),
            css_paths=STYLE,
        )
    except OSError as error:
        raise OncereadError(f"the address {host}:{port} cannot be used ({error}): choose another --port") from error


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether the web server's log keeps a record. Gradio ends what it was sending to a tab that was closed or reloaded
    by raising 404 in the middle of it, and a server can only log that as a fault of the program, with a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, RuntimeError) and isinstance(error.__cause__, HTTPException))


def _theme() -> gr.themes.Base:
    """Fonts of the system (none is fetched), and a green dark enough for white letters."""
    theme = gr.themes.Base(neutral_hue="stone", primary_hue="emerald", font=SYSTEM_FONT, font_mono=MONO_FONT)
    shades = {"button_primary_background_fill": "*primary_700", "button_primary_background_fill_hover": "*primary_800"}
    shades |= {f"{name}_dark": shade for name, shade in shades.items()}
    placeholder = {"input_placeholder_color": "*neutral_500", "input_placeholder_color_dark": "*neutral_400"}
    return theme.set(**shades, **placeholder)


def _wait_for_signal() -> None:
    """Return at the first SIGINT or SIGTERM; a second one ends the program at once."""
    finished = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.signal(number, lambda *_: finished.set()) for number in signals]
    try:
        finished.wait()
    finally:
        for number, handler in zip(signals, earlier, strict=True):
            signal.signal(number, handler)
