"""The key covers all that a state depends on; only changed pages are written."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import library, reading, states
from app.dialogue import document_ids
from app.home import Home
from model.engine import Engine


@given(st.lists(st.integers(0, 300), max_size=20), st.lists(st.integers(0, 300), max_size=20))
def test_different_tokens_have_different_keys(tiny_engine: Engine, a: list[int], b: list[int]) -> None:
    assert (states.key_of(tiny_engine, a) == states.key_of(tiny_engine, b)) == (a == b)


def test_the_key_names_model_and_tokenizer(tiny_engine: Engine) -> None:
    key = states.key_of(tiny_engine, [1, 2])
    assert key.model == tiny_engine.fingerprint
    assert key.tokenizer == tiny_engine.tokenizer.identity
    assert states.key_of(replace(tiny_engine, fingerprint="other"), [1, 2]) != key


def test_full_pages_are_written_once(home: Home, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "COMMIT_TOKENS", 2048)
    written: list[set[str]] = []
    save = home.snapshots.save

    def spy(document_id, key, tokens, complete, tensors, unchanged):  # type: ignore[no-untyped-def]
        written.append({name for name in tensors if ".latents." in name})
        return save(document_id, key, tokens, complete, tensors, unchanged)

    monkeypatch.setattr(home.snapshots, "save", spy)
    document = library.add(home, [book])
    reading.read(home, document.id)
    pages = {f"layers.{n}.latents" for n in home.engine.config.mla_layers}
    first, second, last = written
    assert first == second == {f"{page}.0" for page in pages}  # 2,048 and 4,096 tokens: still filling page 0
    assert last == {f"{page}.1" for page in pages}  # page 0 was full, and stays as it is


def test_a_state_that_does_not_fit_is_read_again(home: Home, book: Path) -> None:
    document = library.add(home, [book])
    _, state = reading.read_state(home, document.id)
    key = states.key_of(home.engine, document_ids(home.engine, book.read_text("utf-8")))
    tensors = state.to_tensors()
    del tensors["layers.1.recurrent"]
    home.snapshots.save(document.id, key, state.tokens, True, tensors)
    restored = states.restore(home, document.id, key)
    assert restored.state.tokens == 0
    assert "lacks layers.1.recurrent" in restored.reason
