"""Signing in: right, wrong, too often, on another machine, after a change of password."""

import time

import pytest

from app import people
from app.errors import OncereadError
from app.home import Home
from app.people import Doors, TooManyTries, WrongPassword

GOOD = "correct horse battery"


def test_the_right_password_opens_and_a_wrong_one_does_not(home: Home) -> None:
    assert not people.may_sign_in(home)
    people.add(home, "ann", GOOD)
    assert people.may_sign_in(home)
    kept = home.people.get("ann")
    assert kept is not None
    assert kept.password.startswith("$argon2id$")
    assert GOOD not in kept.password
    doors = Doors(home)
    token = doors.sign_in("ann", GOOD, "10.0.0.1")
    assert doors.person(token) == "ann"
    assert Doors(home).person(token) == "ann"  # a restart keeps people signed in
    for name, password in (("ann", "wrong horse battery"), ("bob", GOOD), ("", ""), ("ann", "")):
        with pytest.raises(WrongPassword):
            doors.sign_in(name, password, f"10.0.0.{len(name + password)}")
    for nothing in (None, "", "made up"):
        assert doors.person(nothing) is None
    doors.sign_out(token)
    assert doors.person(token) is None


def test_guessing_has_to_wait(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    people.add(home, "ann", GOOD)
    doors = Doors(home)
    for n in range(people.FAILURES):
        with pytest.raises(WrongPassword):
            doors.sign_in("ann", f"guess number {n}", f"10.0.0.{n}")
    with pytest.raises(TooManyTries, match="try again in"):  # by name, from wherever
        doors.sign_in("ann", GOOD, "10.0.1.1")
    for n in range(people.FAILURES):
        with pytest.raises(WrongPassword):
            doors.sign_in(f"nobody{n}", GOOD, "10.0.2.2")
    with pytest.raises(TooManyTries):  # by address, whatever the name
        doors.sign_in("another", GOOD, "10.0.2.2")
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + people.WINDOW + 1)
    assert doors.person(doors.sign_in("ann", GOOD, "10.0.1.1")) == "ann"


@pytest.mark.parametrize(("name", "password"), [("", GOOD), ("a b", GOOD), ("ann/../bob", GOOD), ("ann", "short")])
def test_what_will_not_do_is_said(home: Home, name: str, password: str) -> None:
    with pytest.raises(OncereadError, match=r"cannot be a name|characters"):
        people.add(home, name, password)
    assert home.people.list() == []
