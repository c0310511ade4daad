"""Latents in 8 bits: half the room, exact in themselves, never taken for those without."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app import latents, library, portable, reading, states
from app.errors import OncereadError
from app.home import Home
from app.settings import Settings
from model import state as layout
from model.state import ModelState
from storage.schema import TensorRow
from tests.app.test_states import PAGE, _small_pages, add, bits, damage, text_of  # noqa: F401 - small pages


@pytest.fixture
def rounding(home: Home) -> Iterator[Home]:
    """The same library, for someone who chose 8 bits."""
    opened = Home(replace(home.settings, round_latents=True))
    yield opened
    opened.close()


def test_full_pages_are_rounded_and_held_in_8_bits(home: Home, rounding: Home, book: Path) -> None:
    document = add(home, text_of(book))
    result, state = reading.read_state(rounding, document.id)
    config, pages = rounding.engine.config, result.tokens // PAGE
    full = {name for page in range(pages) for name in ModelState.page_names(config, page)}
    with rounding.database.reading() as session:
        rows = list(session.query(TensorRow))
        assert {row.encoding for row in rows if row.name in full} == {"mxint8"}
        assert {row.encoding for row in rows if row.name not in full} == {"raw"}
        held = sum(row.length for row in rows if row.name in full)
    kept = len(states.checkpoints(rounding.engine, result.tokens))
    rest = layout.state_bytes(config, result.tokens % PAGE, rounding.engine.dtype)
    expected = latents.saved_bytes(rounding.engine, rounding.settings, result.tokens)
    assert held == expected - rest
    assert rounding.snapshots.bytes() == expected + kept * layout.fixed_bytes(config, rounding.engine.dtype)
    assert held < 0.6 * pages * PAGE * layout.bytes_per_token(config, rounding.engine.dtype)
    exact = bits(reading.read_state(home, document.id)[1])
    assert [name for name, data in bits(state).items() if name in full and data == exact[name]] == []


def test_the_two_kinds_of_state_never_meet_and_it_is_said(home: Home, rounding: Home, book: Path) -> None:
    document = add(home, text_of(book))
    reading.read(home, document.id)
    first = reading.read(rounding, document.id)
    assert first.tokens_reused == 0
    assert first.reason == "the saved state was made with a different precision of latents"
    assert (rounding.fingerprint, home.fingerprint) == (rounding.engine.fingerprint, home.engine.fingerprint)
    for each in (home, rounding):
        assert reading.read(each, document.id).tokens_read == 0
        assert library.info(each, document).complete
    assert library.check(home).sound


def test_a_rounded_page_is_mended_to_the_same_bits(rounding: Home, book: Path) -> None:
    document = add(rounding, text_of(book))
    whole = bits(reading.read_state(rounding, document.id)[1])
    damage(rounding, "layers.2.latents.1")
    result, state = reading.read_state(rounding, document.id)
    assert (result.tokens_read, bits(state)) == (2 * PAGE, whole)
    assert reading.read(rounding, document.id).tokens_read == 0


def test_a_rounded_state_is_taken_along_only_to_where_they_are_rounded(
    home: Home, rounding: Home, book: Path, tmp_path: Path
) -> None:
    document = add(home, text_of(book))
    whole = bits(reading.read_state(rounding, document.id)[1])
    portable.export(rounding, document.id, tmp_path / "file")
    library.remove(home, document.id)
    refused = portable.bring_in(home, tmp_path / "file")
    assert (refused.tokens, "precision of latents" in refused.reason) == (0, True)
    assert portable.bring_in(rounding, tmp_path / "file").tokens
    result, state = reading.read_state(rounding, document.id)
    assert (result.tokens_read, bits(state)) == (0, whole)


def test_more_fits_a_budget(home: Home, book: Path) -> None:
    tokens = 1000 * PAGE
    full = home.engine.state_bytes(tokens) + layout.fixed_bytes(home.engine.config, home.engine.dtype) * len(
        states.checkpoints(home.engine, tokens)
    )
    for rounded in (False, True):
        limited = Home(replace(home.settings, max_state=full - 1, round_latents=rounded))
        if rounded:
            states.check_budget(limited, tokens)
        else:
            with pytest.raises(OncereadError, match="raise --max-state"):
                states.check_budget(limited, tokens)
        limited.close()


def test_without_choosing_it_nothing_is_rounded(home: Home, settings: Settings, book: Path) -> None:
    state = reading.read_state(home, add(home, text_of(book)).id)[1]
    before = bits(state)
    latents.settle(state, settings, 0)
    assert bits(state) == before
    assert latents.exact(latents.named("f", replace(settings, round_latents=True))) == latents.named("f", settings)
