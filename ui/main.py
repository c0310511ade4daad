"""The page: its parts, and what leads to what."""

from collections.abc import Callable, Iterator
from functools import partial, wraps
from inspect import isgeneratorfunction
from typing import Any

import gradio as gr

from ui import library, source
from ui.address import READ_ADDRESS, WRITE_ADDRESS
from ui.events import Events
from ui.markup import ATTACH
from ui.shared import Site
from ui.view import Changes

AFTER_ASKING = """() => {
  const box = document.querySelector('#question textarea');
  if (!box) return;
  sessionStorage.setItem('draft', box.value);
  if (!matchMedia('(max-width: 900px)').matches) box.focus({ preventScroll: true });
}"""
PARTS_WITH_BUTTONS = (
    "top", "adding", "notice", "library", "document", "reading", "talks", "thread", "source", "other", "results",
)  # fmt: skip


def build(site: Site) -> gr.Blocks:
    """The page over an open library and its background reader. Loads the model (its name and size are on the page)."""
    assert site.home.engine
    with gr.Blocks(title="Onceread", analytics_enabled=False, fill_width=True, delete_cache=(3600, 3600)) as page:
        _wire(page, Events(site), _layout())
    page.queue(default_concurrency_limit=16, api_open=False)
    return page


def _layout() -> dict[str, Any]:
    """The page's parts by name, in the order they are seen."""
    part = partial(gr.HTML, apply_default_css=False, js_on_load=ATTACH)
    parts: dict[str, Any] = {"address": gr.Textbox(visible="hidden", elem_id="address", label="Address")}
    parts["top"] = part(elem_id="top")
    parts["notice"] = part(elem_id="notice")
    with gr.Row(elem_classes="or-columns", elem_id="body"):
        with gr.Column(scale=1, min_width=280, elem_classes="or-side", elem_id="side"):
            gr.HTML('<h2 class="or-side-title">Add files, or a zip of a folder</h2>', apply_default_css=False)
            parts["upload"] = gr.File(
                show_label=False, label="Files", file_count="multiple", height=96, elem_id="upload"
            )
            parts["adding"] = part(library.adding(), elem_id="adding")
            parts["library"] = part(elem_id="library")
        with gr.Column(scale=4, min_width=320, elem_classes="or-main"):
            parts["document"] = part(elem_id="document")
            parts["reading"] = part(elem_id="reading")
            parts["other"] = part(elem_id="other")
            parts["results"] = part(elem_id="results")
            with gr.Row(elem_classes="or-columns or-talk", visible=False) as parts["talk"]:
                with gr.Column(scale=3, min_width=320, elem_classes="or-thread"):
                    parts["talks"] = part(elem_id="talks")
                    parts["thread"] = part(elem_id="thread")
                    parts["live"] = gr.HTML(apply_default_css=False, autoscroll=True, elem_id="live")
                    with gr.Row(elem_classes="or-ask", equal_height=True):
                        parts["question"] = gr.Textbox(
                            show_label=False, label="Question", max_lines=8, scale=8,
                            placeholder="Ask about this document", container=False, elem_id="question",
                        )  # fmt: skip
                        parts["send"] = gr.Button("Ask", variant="primary", scale=1, min_width=84, elem_id="send")
                        parts["stop"] = gr.Button("Stop", visible=False, scale=1, min_width=84, elem_id="stop")
                with gr.Column(scale=2, min_width=280, elem_classes="or-beside"):
                    parts["source"] = part(js_on_load=ATTACH + source.SCROLL, elem_id="source")
    parts["timer"] = gr.Timer(1.0, active=False)
    return parts


def _wire(page: gr.Blocks, events: Events, parts: dict[str, Any]) -> None:
    """What leads to what. Every event may change every part."""
    outputs = list(parts.values())
    common: dict[str, Any] = {"outputs": outputs, "show_progress": "hidden", "api_visibility": "private"}
    # One event may follow an answer for minutes: it neither holds others up nor has Gradio drop what comes meanwhile.
    lasting: dict[str, Any] = common | {"concurrency_limit": None, "trigger_mode": "multiple"}
    shown = partial(_shown, parts)
    address, question = parts["address"], parts["question"]
    page.load(shown(events.load), [address], js=READ_ADDRESS, **lasting)
    address.change(None, [address], js=WRITE_ADDRESS, api_visibility="private")
    for name in PARTS_WITH_BUTTONS:
        parts[name].click(shown(events.click), [address], **lasting)
    parts["upload"].upload(shown(events.add_files), [address, parts["upload"]], **lasting)
    parts["timer"].tick(shown(events.tick), [address], trigger_mode="once", **common)
    answered = gr.on([question.submit, parts["send"].click], shown(events.ask), [address, question], **lasting)
    answered.then(None, js=AFTER_ASKING, api_visibility="private")
    parts["stop"].click(events.stop, [address], concurrency_limit=None, api_visibility="private")


def _shown(parts: dict[str, Any], handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler that names parts, as one that gives Gradio their components."""

    def named(changes: Changes) -> dict[Any, Any]:
        return {parts[name]: value for name, value in changes.items()} or gr.skip()

    @wraps(handler)
    def once(*args: Any) -> dict[Any, Any]:
        return named(handler(*args))

    @wraps(handler)
    def many(*args: Any) -> Iterator[dict[Any, Any]]:
        for changes in handler(*args):
            yield named(changes)
        # Gradio sends an event's last word again when it ends, perhaps long after and over another page, and empties
        # every part where there was none.
        yield gr.skip()

    return many if isgeneratorfunction(handler) else once
