"""Text to HTML. Whatever comes from a document, a file name or a person passes `safe`; what a
model wrote passes `safe` or `markdown`."""

import json
import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt

ATTACH = """
const early = [], keep = (event) => event.detail < 2 && early.push(event.target);
element.addEventListener('click', keep);
import('/onceread.js').then((page) => {
  element.removeEventListener('click', keep);
  page.attach(element, trigger);
  early.forEach((target) => target.click());
});
"""
"""Script of a gr.HTML: its buttons and forms become click events with `action`, `item` and `fields`. What is clicked
while the module is on its way is clicked again when it is there."""

ALLOWED = {
    "p", "br", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "h3", "h4", "h5", "h6", "table", "thead",
    "tbody", "tr", "th", "td", "hr", "del",
}  # fmt: skip
"""What a model's words may become. No links and no images: nothing it writes can lead or load anything anywhere."""

_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table").disable(
    ["image", "link", "autolink", "reference", "html_block", "html_inline", "entity"]
)


def safe(text: object) -> str:
    """Text as HTML that shows exactly that text."""
    return escape(str(text), quote=True)


def markdown(text: str) -> str:
    """A model's Markdown as harmless HTML: lists, tables, emphasis and code, nothing else."""
    return nh3.clean(_MARKDOWN.render(text), tags=ALLOWED, attributes={"ol": {"start"}}, link_rel=None)


def button(
    action: str, label: str, item: object = "", *, style: str = "", ask: Mapping[str, Any] | None = None,
    hint: str = "", current: bool = False,
) -> str:
    """A button that sends `action` on `item`. ask: a dialog to answer first (see `page.js`). All plain text."""
    extra = f' data-ask="{safe(json.dumps(ask))}"' if ask else ""
    extra += f' title="{safe(hint)}" aria-label="{safe(hint)}"' if hint else ""
    extra += ' aria-current="true"' if current else ""
    return (
        f'<button type="button" class="or-button {safe(style)}" data-do="{safe(action)}" '
        f'data-item="{safe(item)}"{extra}>{safe(label)}</button>'
    )


def local(action: str, label: str, *, style: str = "", hint: str = "") -> str:
    """A button that the browser itself acts on (`here` in `page.js`)."""
    extra = f' title="{safe(hint)}" aria-label="{safe(hint)}"' if hint else ""
    start = f'<button type="button" class="or-button {safe(style)}" data-here="{safe(action)}"'
    return f"{start}{extra}>{safe(label)}</button>"


def link(path: str, label: str, *, style: str = "") -> str:
    """A link to a download of ours."""
    return f'<a class="or-button {safe(style)}" href="{safe(path)}" download>{safe(label)}</a>'


def notice(line: str, kind: str = "error", action: str = "") -> str:
    """One line that says what happened; `kind` is error, busy or done. Empty for an empty line.

    action: HTML of a button for what can be done about it.
    """
    role = "alert" if kind == "error" else "status"
    close = local("dismiss", "×", style="or-close", hint="Close this message") if kind != "busy" else ""
    if not line:
        return ""
    said = safe(_sentence(line))
    return f'<p class="or-notice or-{safe(kind)}" role="{role}"><span>{said}</span>{action}{close}</p>'


def _sentence(line: str) -> str:
    """An error's line, which in a terminal stands behind the command's name, as a sentence. File names stay."""
    words = re.match(r"[a-z]+(-[a-z]+)? (?![^:]*\.\w+: )", line)
    line = line[:1].upper() + line[1:] if words else line
    return line if line.endswith((".", "!", "?", "…")) else f"{line}."


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values side by side; pairs without a value are left out."""
    cells = (f"<div><dt>{safe(name)}</dt><dd>{safe(value)}</dd></div>" for name, value in pairs if value)
    return f'<dl class="or-facts">{"".join(cells)}</dl>'


def dotted(parts: Iterable[str]) -> str:
    """The parts that are not empty, in one line."""
    return " · ".join(part for part in parts if part)
