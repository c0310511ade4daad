"""Text to HTML, and numbers to words. Whatever comes from a document, a file name or the model passes `safe`."""

from collections.abc import Iterable
from html import escape

BYTES_UNITS = ("B", "kB", "MB", "GB", "TB")

CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (!button || button.disabled) return;
  if (button.dataset.confirm && !window.confirm(button.dataset.confirm)) return;
  trigger('click', { action: button.dataset.do, item: button.dataset.item || '' });
});
"""
"""Script of a gr.HTML: its buttons made by `button` become click events with `action` and `item`."""


def safe(text: object) -> str:
    """Text as HTML that shows exactly that text."""
    return escape(str(text), quote=True)


def button(action: str, label: str, item: object = "", *, style: str = "", confirm: str = "", hint: str = "") -> str:
    """A button that `CLICKS` reports as `action` on `item`. All arguments are plain text."""
    extra = f' data-confirm="{safe(confirm)}"' if confirm else ""
    extra += f' title="{safe(hint)}" aria-label="{safe(hint)}"' if hint else ""
    return (
        f'<button type="button" class="or-button {safe(style)}" data-do="{safe(action)}" '
        f'data-item="{safe(item)}"{extra}>{safe(label)}</button>'
    )


def notice(line: str, kind: str = "error") -> str:
    """One line that says what happened; `kind` is error, busy or done. Empty for an empty line."""
    role = "alert" if kind == "error" else "status"
    return f'<p class="or-notice or-{safe(kind)}" role="{role}">{safe(line)}</p>' if line else ""


def dotted(parts: Iterable[str]) -> str:
    """The parts that are not empty, in one line."""
    return " · ".join(part for part in parts if part)


def count(number: int, noun: str) -> str:
    """`1 page`, `12,388 tokens`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: float) -> str:
    """Bytes in decimal units: `820 kB`, `1.1 GB`."""
    unit = 0
    while number >= 999.5 and unit < len(BYTES_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f} {BYTES_UNITS[unit]}" if unit and number < 99.95 else f"{number:.0f} {BYTES_UNITS[unit]}"


def duration(seconds: float) -> str:
    """`0.6 s`, `45 s`, `2 min 5 s`, `12 min`, `3 h 20 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 180 and whole % 60 else f"{round(whole / 60)} min"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
