"""Conversations' states in memory: the latest few, each for exactly its number of messages."""

from app.kept import MOST, Kept, KeptStates
from model.engine import Engine


def test_a_state_is_found_only_for_as_many_messages_as_it_read(tiny_engine: Engine) -> None:
    states = KeptStates()
    kept = Kept(tiny_engine.empty(), 2, (5,))
    states.keep(7, kept)
    assert states.find(7, 2) is kept
    assert states.find(7, 4) is None
    assert states.find(8, 2) is None
    states.forget(7)
    states.forget(7)
    assert states.find(7, 2) is None


def test_the_longest_unused_state_is_let_go(tiny_engine: Engine) -> None:
    states = KeptStates()
    for conversation in range(MOST):
        states.keep(conversation, Kept(tiny_engine.empty(), 2, ()))
    assert states.find(0, 2)
    states.keep(MOST, Kept(tiny_engine.empty(), 2, ()))
    assert states.find(1, 2) is None
    assert states.find(0, 2)
