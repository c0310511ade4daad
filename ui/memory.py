"""What the model's memory of a document is, drawn: what stays constant, what grows, what attention would have kept."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from app.memory import Memory
from app.words import count, size
from ui.markup import safe

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 520, 200, 62, 28, 14, 14


def panel(memory: Memory, tokens: int, pace: Sequence[tuple[int, float]]) -> str:
    """The memory after `tokens` tokens, and how fast they were read."""
    state, attention = memory.bytes(tokens), memory.attention_bytes(tokens)
    latents = tokens * memory.per_token
    times = attention / state
    compared = f"{times:.1f} times as much" if times >= 1.05 else "about as much" if times > 0.95 else "less"
    saying = (
        f"The memory of these {count(tokens, 'token')} takes {size(state)}: {size(memory.fixed)} in the "
        f"{memory.kda_layers} KDA layers, the same at any length, and {size(latents)} of latents in the "
        f"{memory.mla_layers} MLA layers, {size(memory.per_token)} for each token. Ordinary attention with the same "
        f"heads in every layer would have kept {size(attention)}, {compared}."
    )
    key = (
        '<ul class="or-key"><li class="or-fixed">KDA, constant</li><li class="or-latents">MLA latents, linear</li>'
        '<li class="or-attention">ordinary attention</li></ul>'
    )
    return (
        f'<p class="or-quiet">{safe(saying)}</p><figure class="or-figure"><figcaption>Memory kept, by tokens read'
        f"</figcaption>{_memory_plot(memory, tokens)}{key}</figure>{_pace(pace)}"
    )


def _memory_plot(memory: Memory, tokens: int) -> str:
    state, fixed, attention = memory.bytes(tokens), memory.fixed, memory.attention_bytes(tokens)
    top = max(attention, state) * 1.08 or 1
    y = partial(_height, top)
    x0, x1, ground = LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM
    shapes = (
        f'<polygon class="or-latents" points="{x0},{y(fixed):.1f} {x1},{y(state):.1f} {x1},{y(fixed):.1f}"/>'
        f'<polygon class="or-fixed" points="{x0},{y(fixed):.1f} {x1},{y(fixed):.1f} {x1},{ground} {x0},{ground}"/>'
        f'<line class="or-attention" x1="{x0}" y1="{ground}" x2="{x1}" y2="{y(attention):.1f}"/>'
    )
    label = f"Ordinary attention: from nothing to {size(attention)}. This model: from {size(fixed)} to {size(state)}"
    return _plot(shapes, tokens, [(size(value), y(value)) for value in (top / 1.08, top / 2.16)], label)


def _pace(pace: Sequence[tuple[int, float]]) -> str:
    """Reading speed by tokens read; nothing where it was not seen."""
    if len(pace) < 2:
        return ""
    last = pace[-1][0]
    top = max(speed for _, speed in pace) * 1.12
    y, across = partial(_height, top), (WIDTH - RIGHT - LEFT) / last
    points = " ".join(f"{LEFT + tokens * across:.1f},{y(speed):.1f}" for tokens, speed in pace)
    shapes = f'<polyline class="or-pace" points="{points}"/>'
    label = f"Between {min(s for _, s in pace):,.0f} and {max(s for _, s in pace):,.0f} tokens a second"
    marks = [(f"{value:,.0f}", y(value)) for value in (top / 1.12, top / 2.24)]
    words = f"Reading speed, tokens a second, by tokens read: {_mean(pace):,.0f} on the whole"
    plot = _plot(shapes, last, marks, label)
    return f'<figure class="or-figure"><figcaption>{safe(words)}</figcaption>{plot}</figure>'


def _mean(pace: Sequence[tuple[int, float]]) -> float:
    """Tokens a second over the whole: each stretch counts for the time it took."""
    stretches = [(b[0] - a[0], b[1]) for a, b in pairwise(pace) if b[0] > a[0]]
    seconds = sum(tokens / speed for tokens, speed in stretches)
    return sum(tokens for tokens, _ in stretches) / seconds if seconds else pace[-1][1]


def _height(top: float, value: float) -> float:
    """Where a value is drawn when the axis ends at `top`."""
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top


def _plot(shapes: str, tokens: int, marks: Sequence[tuple[str, float]], label: str) -> str:
    """Axes around shapes. marks: words at heights."""
    grid = "".join(
        f'<line class="or-grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{safe(words)}</text>'
        for words, y in marks
    )
    ground = HEIGHT - BOTTOM
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{safe(label)}">{grid}{shapes}'
        f'<line class="or-axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{ground}" y2="{ground}"/>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">0</text>'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{safe(count(tokens, "token"))}</text></svg>'
    )
