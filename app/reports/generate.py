"""Many prepared questions over one state: each gets its reply as soon as it is whole."""

import time
from collections.abc import Callable, Iterator, Sequence

from app.answers import Generation, Prepared
from app.deciding import Begun, begin, choose, has_a_say, ids_to_decide, look
from app.home import Home
from app.turns import OnWait
from model.engine import Brought
from model.state import ModelState
from model.tokenizer import TokenStream

ROWS = 32
"""Questions written side by side. A row costs its KDA state (3.1 MB for mini, 43 MB for the 48B) and its own tokens."""


def generate(
    home: Home, state: ModelState, prepared: Sequence[Prepared], should_stop: Callable[[], bool],
    on_wait: OnWait | None = None,
) -> Iterator[tuple[int, Prepared, Generation]]:
    """Write the replies to at most `ROWS` questions side by side.

    Yields the number of each as it ends, what was decided about how its reply begins, and the reply. People asking go
    first, between any two tokens. A reply's seconds are its share of the time: what a step took goes in equal parts to
    the questions it was for. on_wait: see `Turns.reading`. Ends early at `should_stop`, without what was not
    whole. Raises ModelError.
    """
    decided = list(prepared)
    streams = [TokenStream(home.engine.tokenizer) for _ in prepared]
    texts, tokens, spent = [""] * len(prepared), [0] * len(prepared), [0.0] * len(prepared)
    first: list[float | None] = [None] * len(prepared)
    living = {number for number, each in enumerate(prepared) if not each.whole}
    for number in sorted(set(range(len(prepared))) - living):
        yield number, prepared[number], Generation("", 0, 0.0, 0.0)
    steps = _steps(home, state, decided, sorted(living), should_stop)
    begun = time.perf_counter()
    while True:
        with home.turns.reading(on_wait):
            started = time.perf_counter()
            brought = next(steps, None)
            now = time.perf_counter()
        if brought is None:
            return
        for number in living:
            spent[number] += (now - started) / len(living)
        for number, token in brought:
            if token is not None:
                first[number] = first[number] or now - begun
                tokens[number] += 1
                texts[number] += streams[number].push(token)
                continue
            living.discard(number)
            text = texts[number] + streams[number].finish()
            reply = Generation(text, tokens[number], first[number] or now - begun, spent[number])
            yield number, decided[number], reply


def _steps(
    home: Home, state: ModelState, decided: list[Prepared], numbers: Sequence[int], should_stop: Callable[[], bool]
) -> Iterator[Brought]:
    """Decide how the replies of these numbers begin, in place, and write them: what each step brought."""
    engine, bases = home.engine, {}
    for n in numbers:
        decided[n] = look(home, decided[n])
        yield [(n, None)] if decided[n].whole else []
    numbers = [n for n in numbers if not decided[n].whole]
    rest = {n: decided[n].ids for n in numbers}
    open_ones = [n for n in numbers if has_a_say(home, decided[n])]
    ids = [ids_to_decide(home, decided[n]) for n in open_ones]
    places = [[decided[n].asked, len(each)] for n, each in zip(open_ones, ids, strict=True)]
    read = yield from engine.read_many(state, [state] * len(ids), ids, should_stop, places)
    begun = {}
    for n, (after, (asked, shared)) in zip(open_ones, read, strict=False):
        decided[n] = begin(home, asked, decided[n])
        begun[n] = Begun(after, shared, decided[n])
    yield [(n, None) for n in begun if decided[n].whole]
    if len(read) < len(open_ones):
        return
    begun = {n: each for n, each in begun.items() if not decided[n].whole}
    for (n, each), chosen in zip(begun.items(), choose(home, state, list(begun.values())), strict=True):
        decided[n], bases[n] = chosen, each.state
        rest[n] = chosen.ids[each.state.tokens - state.tokens :]
    yield [(n, None) for n in begun if decided[n].whole]
    going = [n for n in numbers if not decided[n].whole]
    steps = engine.generate_many(
        state, [rest[n] for n in going], [decided[n].sampling for n in going], should_stop,
        [bases.get(n, state) for n in going],
    )
    for brought in steps:
        yield [(going[row], token) for row, token in brought]
