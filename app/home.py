"""The open data folder: its database, and the model, opened when first needed."""

import copy
import threading
from dataclasses import replace
from functools import cached_property

from app import latents
from app.aids import Aids
from app.errors import OncereadError
from app.kept import KeptStates
from app.loading import open_engine
from app.settings import Settings
from app.turns import Turns
from model import heap
from model.devices import choose_device, choose_dtype
from model.engine import Engine
from model.errors import ModelError
from model.fingerprint import fingerprint
from model.reader import Reader
from storage.composed import ComposedAnswers
from storage.conversations import Conversations
from storage.database import Database
from storage.documents import Documents
from storage.evidence import PassageIndex
from storage.jobs import Jobs
from storage.leases import Leases
from storage.people import People
from storage.reports import Cells, Reports
from storage.snapshots import Snapshots


class Home:
    """Everything the application's functions work on. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        heap.share_one_heap()
        self.settings = settings
        self.turns = Turns(settings.home)
        try:
            settings.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OncereadError(f"the data folder {settings.home} cannot be made ({error.strerror})") from error
        self.database = Database(settings.database or settings.home / "onceread.sqlite")
        self.people = People(self.database)
        self.cells = Cells(self.database)
        self.leases = Leases(self.database)
        self.evidence = PassageIndex(self.database)
        self.kept = KeptStates()
        self._own(None)
        self._engine: Engine | None = None
        self._opening = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The model, opened on first use; its weights are loaded when they are needed. Raises ModelError."""
        with self._opening:
            if self._engine is None:
                opened = open_engine(self.settings)
                self._engine = replace(opened, fingerprint=latents.named(opened.fingerprint, self.settings))
            return self._engine

    @cached_property
    def fingerprint(self) -> str | None:
        """The fingerprint of the model in use, without loading it; None if there is no such model."""
        try:
            device = choose_device(self.settings.device)
            taken = fingerprint(self.settings.model, choose_dtype(device), device, self.settings.weights)
        except (ModelError, OSError):
            return None  # whoever needs the model itself is told why it cannot be loaded
        return latents.named(taken, self.settings)

    @cached_property
    def aids(self) -> Aids:
        """What helps the model in use to answer. Raises ModelError."""
        return Aids.of(self.settings.model)

    @cached_property
    def reader(self) -> Reader | None:
        """The reader beside the model, if it has one. Raises ModelError."""
        return Reader.beside(self.settings.model, self.engine.dtype, self.engine.device)

    def of(self, person: str) -> "Home":
        """The same home as one person sees it: others' documents, conversations and jobs are not there.

        Opens the model and loads its reader, so that there is one of each.
        """
        self._engine, _ = self.engine, self.reader
        theirs = copy.copy(self)
        theirs._own(person)
        return theirs

    def _own(self, owner: str | None) -> None:
        self.documents = Documents(self.database, owner)
        self.conversations = Conversations(self.database, owner)
        self.composed = ComposedAnswers(self.database, owner)
        self.jobs = Jobs(self.database, owner)
        self.snapshots = Snapshots(self.database, owner)
        self.reports = Reports(self.database, owner)

    def rest(self) -> None:
        """Give memory that is free back to the system, where nothing is under way."""
        heap.give_back()

    def close(self) -> None:
        """Close the database."""
        self.database.close()


def open_home(settings: Settings | None = None) -> Home:
    """Open the data folder of `settings` (default: the environment's)."""
    return Home(settings or Settings.from_environment())
