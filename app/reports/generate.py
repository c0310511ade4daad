"""Many prepared questions over one state: each gets its reply as soon as it is whole."""

import time
from collections.abc import Callable, Iterator, Sequence

from app.answers import Generation, Prepared
from app.home import Home
from model.state import ModelState
from model.tokenizer import TokenStream

ROWS = 32
"""Questions written side by side. A row costs its KDA state (3.1 MB for mini, 43 MB for the 48B) and its own tokens."""


def generate(
    home: Home, state: ModelState, prepared: Sequence[Prepared], should_stop: Callable[[], bool]
) -> Iterator[tuple[int, Generation]]:
    """Write the replies to at most `ROWS` questions side by side; yields (number, reply) as they end.

    People asking go first, between any two tokens. A reply's seconds are its share of the time: what a step took goes
    in equal parts to the questions it was for. Ends early at `should_stop`, without what was not whole.
    Raises ModelError.
    """
    streams = [TokenStream(home.engine.tokenizer) for _ in prepared]
    texts, tokens, spent = [""] * len(prepared), [0] * len(prepared), [0.0] * len(prepared)
    first: list[float | None] = [None] * len(prepared)
    living = {number for number, each in enumerate(prepared) if not each.whole}
    for number in sorted(set(range(len(prepared))) - living):
        yield number, Generation("", 0, 0.0, 0.0)
    numbers = sorted(living)
    steps = home.engine.generate_many(
        state, [prepared[n].ids for n in numbers], [prepared[n].sampling for n in numbers], should_stop
    )
    begun = time.perf_counter()
    while True:
        with home.turns.reading():
            started = time.perf_counter()
            brought = next(steps, None)
            now = time.perf_counter()
        if brought is None:
            return
        for number in living:
            spent[number] += (now - started) / len(living)
        for row, token in brought:
            number = numbers[row]
            if token is not None:
                first[number] = first[number] or now - begun
                tokens[number] += 1
                texts[number] += streams[number].push(token)
                continue
            living.discard(number)
            text = texts[number] + streams[number].finish()
            yield number, Generation(text, tokens[number], first[number] or now - begun, spent[number])
