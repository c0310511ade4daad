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
