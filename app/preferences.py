"""What a person chose in the settings: how answers are made. Kept in the database, by person."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from app.errors import OncereadError
from app.home import Home
from model.sampling import Sampling

MOST_TOKENS = 4096
"""The longest answer that can be chosen."""
MOST_EVIDENCE = 20
"""Most passages that can be chosen to be shown."""


@dataclass(frozen=True)
class Preferences:
    """How tokens are chosen (as in `Sampling`), the longest answer, and how many passages of the text are shown to the
    model beside its memory (-1: as suits the model)."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_tokens: int = 256
    evidence: int = -1

    @property
    def sampling(self) -> Sampling:
        """For `session.ask`."""
        return Sampling(self.temperature, self.top_p, self.seed, self.max_tokens)

    @staticmethod
    def of(home: Home, person: str) -> "Preferences":
        """A person's preferences; what was never chosen, or no longer holds, is as it is for everybody."""
        known = home.people.get(person)
        try:
            return Preferences.parse(known.preferences if known else {})
        except OncereadError:
            return Preferences()

    @staticmethod
    def parse(given: Mapping[str, Any]) -> "Preferences":
        """From words or numbers by name; other names are left out. Raises OncereadError naming what will not do."""
        chosen: dict[str, Any] = {}
        for field in fields(Preferences):
            if field.name in given:
                chosen[field.name] = _number(field.name, given[field.name], whole=field.type in (int, "int"))
        if not 1 <= chosen.get("max_tokens", 1) <= MOST_TOKENS:
            raise OncereadError(f"an answer has 1 to {MOST_TOKENS:,} tokens at most: choose a number between")
        if not 0 <= chosen.get("temperature", 0.0) <= 2:
            raise OncereadError("the temperature is a number from 0 to 2 (0: always the likeliest word)")
        if not 0 < chosen.get("top_p", 1.0) <= 1:
            raise OncereadError("top-p is a number above 0 and up to 1 (1: any word may be chosen)")
        if not -1 <= chosen.get("evidence", -1) <= MOST_EVIDENCE:
            raise OncereadError(
                f"evidence is a whole number of passages up to {MOST_EVIDENCE} (-1: as suits the model, 0: none)"
            )
        if not 0 <= chosen.get("seed", 0) < 2**31:
            raise OncereadError("the seed is a whole number from 0 to 2,147,483,647")
        return Preferences(**chosen)

    def keep(self, home: Home, person: str) -> None:
        """Keep these as the person's."""
        home.people.prefer(person, asdict(self))


def _number(name: str, value: Any, whole: bool) -> float:
    try:
        return int(value) if whole else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise OncereadError(f"{name.replace('_', ' ')} is a number, not {str(value)[:40]!r}") from error
