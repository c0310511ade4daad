"""The page and its server."""

import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial, wraps
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any

import gradio as gr

from app.errors import OncereadError
from app.home import Home
from app.speed import speed
from app.worker import Worker
from ui import reading, source
from ui.address import READ_ADDRESS, WRITE_ADDRESS
from ui.events import Events
from ui.markup import CLICKS
from ui.view import Changes, Pages

LARGEST_UPLOAD = "256mb"
STYLE = Path(__file__).parent / "style.css"
SYSTEM_FONT = ["ui-sans-serif", "system-ui", "sans-serif"]
FOCUS_QUESTION = "() => document.querySelector('#question textarea')?.focus({ preventScroll: true })"
MONO_FONT = ["ui-monospace", "Consolas", "monospace"]


def build(home: Home, worker: Worker) -> gr.Blocks:
    """The page over an open home and its background reader. Loads the model (its name and size are on the page)."""
    pages = Pages(home, worker, reading.Paces())
    with gr.Blocks(title="Onceread", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as page:
        gr.HTML(pages.model_line(), apply_default_css=False)
        parts = _layout()
        _wire(page, Events(pages), parts)
    page.queue(default_concurrency_limit=8, api_open=False)
    return page


def serve(home: Home, host: str, port: int) -> None:
    """Serve the page until Ctrl-C or SIGTERM. Call it from the main thread.

    Reading goes on in the background meanwhile; at the end it stops at a safe point and is taken up by the next
    start. Raises OncereadError if the address cannot be used, and ModelError if the model cannot be loaded.
    """
    print(f"Loading {home.settings.model_name}; the first start also measures how fast it reads here.", flush=True)
    worker = Worker(home)
    page = build(home, worker)
    speed(home)  # before anything else uses the processor, or every estimate would be too long
    worker.start()
    try:
        launch(page, host, port)
        print(f"Onceread is open at http://{host}:{port}/ (Ctrl-C ends it)", flush=True)
        if host not in ("127.0.0.1", "localhost", "::1"):
            print("There is no sign-in: whoever reaches this address can read everything in the library.", flush=True)
        _wait_for_signal()
        print("\nEnding; what has been read is saved.", flush=True)
    finally:
        page.close(verbose=False)
        worker.stop()


def launch(page: gr.Blocks, host: str, port: int) -> None:
    """Serve a page from a thread until `page.close()`. Raises OncereadError if the address cannot be used."""
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
            theme=_theme(),
            css_paths=STYLE,
        )
    except OSError as error:
        raise OncereadError(f"the address {host}:{port} cannot be used ({error}): choose another --port") from error


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


def _layout() -> dict[str, Any]:
    """The page's parts by name, in the order they are seen."""
    part = partial(gr.HTML, apply_default_css=False, js_on_load=CLICKS)
    parts: dict[str, Any] = {"address": gr.Textbox(visible="hidden", elem_id="address", label="Address")}
    with gr.Row(elem_classes="or-columns"):
        with gr.Column(scale=1, min_width=280, elem_classes="or-side"):
            gr.HTML('<h2 class="or-side-title">Add files, or a zip of a folder</h2>', apply_default_css=False)
            parts["upload"] = gr.File(
                show_label=False, label="Files", file_count="multiple", height=124, elem_id="upload"
            )
            parts["sample"] = gr.Button("Try the sample book", size="sm", elem_id="sample")
            parts["notice"] = part(elem_id="notice")
            parts["library"] = part(elem_id="library")
        with gr.Column(scale=4, min_width=320, elem_classes="or-main"):
            parts["document"] = part(elem_id="document")
            parts["reading"] = part(elem_id="reading")
            parts["talks"] = part(elem_id="talks")
            with gr.Row(elem_classes="or-columns", visible=False) as parts["talk"]:
                with gr.Column(scale=3, min_width=320):
                    parts["thread"] = part(elem_id="thread")
                    parts["live"] = gr.HTML(apply_default_css=False, autoscroll=True, elem_id="live")
                    with gr.Row(elem_classes="or-ask", equal_height=True):
                        parts["question"] = gr.Textbox(
                            show_label=False, label="Question", max_lines=8, scale=8,
                            placeholder="Ask anything about this document", container=False, elem_id="question",
                        )  # fmt: skip
                        parts["send"] = gr.Button("Ask", variant="primary", scale=1, min_width=84, elem_id="send")
                        parts["stop"] = gr.Button("Stop", visible=False, scale=1, min_width=84, elem_id="stop")
                with gr.Column(scale=2, min_width=280, elem_classes="or-beside"):
                    parts["source"] = gr.HTML(apply_default_css=False, js_on_load=source.SCROLL, elem_id="source")
    parts["timer"] = gr.Timer(1.0, active=False)
    return parts


def _wire(page: gr.Blocks, events: Events, parts: dict[str, Any]) -> None:
    """What leads to what. Every event may change every part."""
    outputs = list(parts.values())
    common: dict[str, Any] = {"outputs": outputs, "show_progress": "hidden", "api_visibility": "private"}
    shown = partial(_shown, parts)
    address, question = parts["address"], parts["question"]
    page.load(shown(events.load), [address], js=READ_ADDRESS, **common)
    address.change(None, [address], js=WRITE_ADDRESS, api_visibility="private")
    for name in ("library", "document", "reading", "talks", "thread"):
        parts[name].click(shown(events.click), [address], **common)
    parts["upload"].upload(
        shown(events.add_files), [parts["upload"]], concurrency_id="intake", concurrency_limit=2, **common
    )
    parts["sample"].click(shown(events.add_sample), concurrency_id="intake", **common)
    parts["timer"].tick(shown(events.tick), [address], trigger_mode="once", **common)
    answered = gr.on(
        [question.submit, parts["send"].click], shown(events.ask), [address, question],
        concurrency_id="model", concurrency_limit=1, **common,
    )  # fmt: skip
    answered.then(None, js=FOCUS_QUESTION, api_visibility="private")
    parts["stop"].click(events.stop, queue=False, api_visibility="private")


def _shown(parts: dict[str, Any], handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler that names parts, as one that gives Gradio their components."""

    def named(changes: Changes) -> dict[Any, Any]:
        return {parts[name]: value for name, value in changes.items()}

    @wraps(handler)
    def once(*args: Any) -> dict[Any, Any]:
        return named(handler(*args))

    @wraps(handler)
    def many(*args: Any) -> Iterator[dict[Any, Any]]:
        for changes in handler(*args):
            yield named(changes)

    return many if isgeneratorfunction(handler) else once
