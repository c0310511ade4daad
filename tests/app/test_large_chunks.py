"""Chunks of several pages, as a GPU reads them, each saved while the next is computed: states are as exact as ever."""

from pathlib import Path

import pytest

from app import reading, states
from app.dialogue import document_ids
from app.errors import ReadingStopped
from app.home import Home
from model import engine
from model import state as layout
from model.state import ModelState
from storage import mxint8
from tests.app.test_latents import rounding  # noqa: F401 - a fixture
from tests.app.test_states import add, bits, damage, fresh, text_of

CHUNK, PAGE = 256, 64


@pytest.fixture(autouse=True)
def _large_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pages in a chunk, and a reader that commits behind what is computed."""
    monkeypatch.setattr(engine, "CHUNK", CHUNK)
    monkeypatch.setattr(layout, "PAGE", PAGE)
    monkeypatch.setattr(reading, "COMMIT_TOKENS", CHUNK)
    monkeypatch.setattr(reading, "computes_beside", lambda _engine: True)


def test_prefixes_name_pages_and_states_go_on_from_chunks(home: Home) -> None:
    ids = list(range(CHUNK + PAGE + 5))
    prefixes = states.prefixes_of(home.engine, ids)
    assert list(prefixes) == [*range(PAGE, CHUNK + PAGE + 1, PAGE), CHUNK + PAGE + 5]
    assert list(states.resumable(home.engine, prefixes)) == [CHUNK, CHUNK + PAGE + 5]
    assert states.checkpoints(home.engine, 3 * CHUNK + 1)[-1] == 3 * CHUNK


def test_what_is_saved_behind_reading_is_what_was_read(home: Home, book: Path) -> None:
    document = add(home, text_of(book, 8))
    told: list[tuple[int, int]] = []
    result, state = reading.read_state(home, document.id, lambda now: told.append((now.done, now.total)))
    total = result.tokens
    assert total > 3 * CHUNK
    assert bits(state) == fresh(home, home.documents.text(document.id))
    done = [each for each, _ in told]
    assert sorted(set(done)) == [0, *range(CHUNK, total, CHUNK), total]  # said when it is saved, not when it is begun
    again, restored = reading.read_state(home, document.id)
    assert (again.tokens_read, bits(restored)) == (0, bits(state))


def test_a_stop_saves_what_was_computed_and_reading_goes_on_from_there(home: Home, book: Path) -> None:
    document = add(home, text_of(book, 8))
    answers = iter([False, True])
    with pytest.raises(ReadingStopped, match=f"{2 * CHUNK:,} of"):
        reading.read(home, document.id, should_stop=lambda: next(answers))
    result, state = reading.read_state(home, document.id)
    assert result.tokens_reused == 2 * CHUNK
    assert bits(state) == fresh(home, home.documents.text(document.id))


def test_a_grown_document_is_read_from_the_last_chunk_they_share(home: Home, book: Path) -> None:
    text = text_of(book, 8)
    first = reading.read(home, add(home, text, "First").id)
    grown = text + " And then a new chapter began." * 20
    result, state = reading.read_state(home, add(home, grown, "Second").id)
    assert result.tokens_reused == (first.tokens - 1) // CHUNK * CHUNK
    assert bits(state) == fresh(home, grown)


@pytest.mark.parametrize("page", [0, 6])
def test_a_damaged_page_is_mended_by_the_chunks_it_was_read_in(home: Home, book: Path, page: int) -> None:
    document = add(home, text_of(book, 8))
    total = reading.read(home, document.id).tokens
    damage(home, f"layers.2.latents.{page}")
    result, state = reading.read_state(home, document.id)
    assert 0 < result.tokens_read < total
    assert bits(state) == fresh(home, home.documents.text(document.id))
    assert not [verdict for verdict in home.snapshots.verify() if verdict.damaged]


def test_every_page_that_a_chunk_fills_is_rounded(rounding: Home, book: Path) -> None:  # noqa: F811
    document = add(rounding, text_of(book, 6))
    result, state = reading.read_state(rounding, document.id)
    config = rounding.engine.config
    full = [name for page in range(result.tokens // PAGE) for name in ModelState.page_names(config, page)]
    tensors = state.to_tensors()
    assert len(full) > 8
    assert all(mxint8.pack(tensors[name]) is not None for name in full)
    assert len(document_ids(rounding.engine, rounding.documents.text(document.id))) == result.tokens
    again, restored = reading.read_state(rounding, document.id)
    assert (again.tokens_read, bits(restored)) == (0, bits(state))
