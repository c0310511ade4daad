"""What all tabs share: the library, the background reader, the questions under way, and who is who."""

import threading
from dataclasses import dataclass, field

from app.errors import OncereadError
from app.home import Home
from app.people import Doors
from app.reports.background import Background
from app.worker import Worker
from ui.ask import Asking
from ui.scans import Scans
from ui.several import Several


@dataclass
class Site:
    """The served page. Without `doors` nobody signs in, and everybody is the one person of this computer."""

    home: Home
    worker: Worker
    doors: Doors | None = None
    reports: Background = field(init=False)
    asking: Asking = field(default_factory=Asking)
    several: Several = field(init=False)
    scans: Scans = field(default_factory=Scans)
    _homes: dict[str, Home] = field(default_factory=dict)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.reports = Background(self.home)
        self.several = Several(self.asking.line)

    def start(self) -> None:
        """Take up reading and reports that were left unfinished."""
        self.worker.start()
        self.reports.start()

    def end(self) -> None:
        """Stop all work at a safe point; the next start takes it up."""
        self.asking.end()
        self.several.end()
        self.reports.stop()
        self.worker.stop()
        self.scans.end()

    def home_of(self, person: str | None) -> Home:
        """The library as a person sees it. Raises OncereadError for nobody where people must sign in."""
        if self.doors is None:
            return self.home
        if not person:
            raise OncereadError("you are signed out: reload the page to sign in again")
        with self._changing:
            if person not in self._homes:
                self._homes[person] = self.home.of(person)
            return self._homes[person]
