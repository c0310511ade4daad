"""People who sign in: adding them, checking a password without helping those who guess, and browsers signed in.

Whose documents are whose is told by `Home.of`, which every request goes through.
"""

import hashlib
import re
import secrets
import threading
import time
from collections import defaultdict, deque

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import OncereadError
from app.home import Home

SHORTEST, LONGEST = 10, 512
"""Characters of a password."""

DAYS_SIGNED_IN = 30

FAILURES, WINDOW = 5, 60.0
"""Wrong passwords from one address, or for one name, within so many seconds; then it is time to wait."""

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_HASHER = PasswordHasher()


class WrongPassword(OncereadError):
    """The name and the password do not belong together."""


class TooManyTries(OncereadError):
    """Wrong passwords came too fast. seconds: until the next try is looked at."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many wrong passwords: try again in {seconds:.0f} seconds")
        self.seconds = seconds


def add(home: Home, name: str, password: str) -> None:
    """Add a person, or set another password. Raises OncereadError for a name or a password that will not do."""
    if not _NAME.fullmatch(name):
        raise OncereadError(f"{name!r} cannot be a name here: use up to 64 letters, digits and . _ @ -")
    if not SHORTEST <= len(password) <= LONGEST:
        raise OncereadError(f"a password has {SHORTEST} to {LONGEST} characters: choose another")
    home.people.put(name, _HASHER.hash(password))


def may_sign_in(home: Home) -> bool:
    """Whether there is anybody with a password."""
    return any(person.password for person in home.people.list())


class Doors:
    """Checks passwords, slowly for those who guess, and knows browsers by the token in their cookie."""

    def __init__(self, home: Home) -> None:
        self._home = home
        # Checked for a name that is not there, so that it takes as long as one that is.
        self._nobody = _HASHER.hash(secrets.token_hex())
        self._failures: dict[str, deque[float]] = defaultdict(deque)
        self._one_at_a_time = threading.Lock()  # a check takes 64 MB and a core: many at once would be an attack

    def sign_in(self, name: str, password: str, address: str) -> str:
        """A new token for the person's browser. Raises WrongPassword and TooManyTries."""
        with self._one_at_a_time:
            kinds = (f"address {address}", f"name {name}")
            wait = max(self._seconds_to_wait(kind) for kind in kinds)
            if wait > 0:
                raise TooManyTries(wait)
            person = self._home.people.get(name)
            if not _fits(person.password if person else self._nobody, password) or person is None:
                for kind in kinds:
                    self._failures[kind].append(time.monotonic())
                raise WrongPassword("the name or the password is wrong")
            self._failures.pop(kinds[1], None)
        token = secrets.token_urlsafe(32)
        self._home.people.sign_in(_token_hash(token), name, DAYS_SIGNED_IN * 86_400)
        return token

    def person(self, token: str | None) -> str | None:
        """Whose browser has this token; None if nobody's."""
        return self._home.people.signed_in(_token_hash(token)) if token else None

    def sign_out(self, token: str) -> None:
        """Make a token worthless."""
        self._home.people.sign_out(_token_hash(token))

    def _seconds_to_wait(self, kind: str) -> float:
        """Until fewer than FAILURES of a kind lie within WINDOW; kinds without any are forgotten."""
        now = time.monotonic()
        for old in [key for key, times in self._failures.items() if not times or times[-1] < now - WINDOW]:
            del self._failures[old]
        times = self._failures.get(kind, deque())
        while times and times[0] < now - WINDOW:
            times.popleft()
        return times[-FAILURES] + WINDOW - now if len(times) >= FAILURES else 0.0


def _fits(hashed: str, password: str) -> bool:
    try:
        return _HASHER.verify(hashed, password[: LONGEST + 1])
    except (VerificationError, InvalidHashError):
        return False


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
