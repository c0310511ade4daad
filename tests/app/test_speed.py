"""Speed is measured once for a model, and estimates grow as attention does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import speed
from app.home import Home


def test_measured_once_and_kept(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first = speed.speed(home)
    assert first.seconds_per_token > 0
    assert first.seconds_per_token_behind >= 0
    monkeypatch.setattr(speed, "measure", lambda _: pytest.fail("measured twice"))
    assert speed.speed(home) == first


def test_a_start_and_what_lies_before_are_told_apart(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_read_seconds", lambda _, state, tokens: tokens * (1e-3 + 1e-6 * state.tokens))
    measured = speed.measure(home.engine)
    assert measured.seconds_per_token == pytest.approx(1e-3)
    assert measured.seconds_per_token_behind == pytest.approx(1e-6)


def test_a_damaged_note_is_measured_again(home: Home) -> None:
    speed.speed(home)
    (note,) = home.settings.home.glob("speed-*.json")
    note.write_text("{", "utf-8")
    assert speed.speed(home).seconds_per_token > 0
    assert note.read_text("utf-8") != "{"


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_reading_in_two_parts_takes_as_long_as_reading_in_one(a: int, b: int) -> None:
    measured = speed.Speed(1e-3, 1e-8)
    parts = measured.seconds(a) + measured.seconds(a + b, reused=a)
    assert parts == pytest.approx(measured.seconds(a + b))
