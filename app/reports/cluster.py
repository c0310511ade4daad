"""A report job over a Ray cluster: an actor for each GPU or CPU worker, cells claimed in the shared database.

A document is one task. It goes to a worker that holds its state in memory, else to whoever is free. A worker that is
lost loses its claims, and its documents go to others; since an answer is written only by who holds the claim, every
cell is answered once. Needs `pip install onceread[ray]`; on several machines the library has to be in PostgreSQL.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

from app.errors import OncereadError
from app.home import Home
from app.reports.job import Job, OnProgress, Progress, Run
from app.reports.run import ReportResult, run
from app.reports.states import WarmStates
from app.reports.workers import claims_of, release
from app.settings import Settings
from storage.reports import Report

LOOK_SECONDS = 0.5
"""Between looks at how far the workers are."""

TRIES = 3
"""How many workers a document may cost before it is left to the driver, whose report says what happened."""

NAMESPACE = "onceread"


class Worker:
    """What runs in an actor: the open cells of one document at a time."""

    def __init__(self, settings: Settings) -> None:
        self._home = Home(settings)
        self._states = WarmStates()

    def hello(self) -> tuple[str, list[str]]:
        """How the claims of this process begin, and the documents whose states it holds."""
        return claims_of(os.getpid()), self._states.held()

    def answer(self, report_id: str, document_id: str) -> int:
        """Answer what is open of a document; how many cells that were."""
        work = Run(Job(self._home, self._home.reports.get(report_id)), states=self._states)
        work.some([document_id])
        return len(work.new)


def run_on_cluster(
    home: Home,
    report: Report,
    workers: int,
    address: str | None = None,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> ReportResult:
    """Run a job with so many workers of a Ray cluster (address None: one of this machine, ended with the job).

    On a cluster that outlives the job the workers stay, with their states. Raises OncereadError where Ray is missing
    or cannot be reached, and what `run` raises.
    """
    try:
        import ray
    except ImportError as error:
        raise OncereadError("Ray is not installed: pip install 'onceread[ray]'") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": 80_000_000}
    try:
        ray.init(address or "local", namespace=NAMESPACE, log_to_driver=False, **({} if address else local))
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise OncereadError(f"the Ray cluster {address or ''} cannot be used ({error})") from error
    try:
        home.reports.set_state(report.id, "running")
        stop = should_stop or (lambda: False)
        crew = _Crew(ray, home, workers, detached=address is not None)
        _Driver(ray, Job(home, report), crew, on_progress, stop).go()
        state = home.reports.get(report.id).state
    finally:
        ray.shutdown()
    # Everything is answered by now but what is across documents, or what failed too often to be tried by a worker.
    result = run(home, report, on_progress, should_stop if state == "running" else lambda: True)
    if state == "cancelled":
        home.reports.set_state(report.id, state)
    return result


class _Crew:
    """The workers there are; one that is lost is replaced."""

    def __init__(self, ray: Any, home: Home, count: int, detached: bool) -> None:
        self._ray, self._home, self._detached = ray, home, detached
        self.held: dict[Any, list[str]] = {}
        self._claims: dict[Any, str] = {}
        for number in range(count):
            self._hire(number)

    def _hire(self, number: int) -> None:
        settings = self._home.settings
        needs: dict[str, Any] = {"num_gpus": 1} if settings.device.startswith("cuda") else {"num_cpus": 1}
        if self._detached:
            made_of = f"{number}-{self._home.fingerprint}-{settings.database or settings.home}"
            needs |= {"name": f"worker-{made_of}", "lifetime": "detached", "get_if_exists": True}
        actor = self._ray.remote(Worker).options(**needs).remote(settings)
        self._claims[actor], self.held[actor] = self._ray.get(actor.hello.remote())

    def lost(self, actor: Any) -> None:
        """Give back what a lost worker had claimed, and put another in its place."""
        release(self._home.cells, self._claims.pop(actor))
        number = list(self.held).index(actor)
        del self.held[actor]
        self._hire(number)


class _Driver:
    """Hands documents to workers until each was handed out and came back."""

    def __init__(
        self, ray: Any, job: Job, crew: _Crew, on_progress: OnProgress | None, should_stop: Callable[[], bool]
    ) -> None:
        self._ray, self._job, self._crew = ray, job, crew
        self._on_progress, self._should_stop = on_progress, should_stop
        self._waiting = list(job.documents)
        self._tries = dict.fromkeys(self._waiting, 0)
        self._at_work: dict[Any, tuple[Any, str]] = {}

    def go(self) -> None:
        """Until all is done; at a request to stop the workers end between two tokens, and it returns."""
        while self._waiting or self._at_work:
            stopping = self._note()
            if stopping:
                self._waiting.clear()
            for actor in list(self._crew.held):
                if self._waiting and all(actor is not busy for busy, _ in self._at_work.values()):
                    self._hand_out(actor)
            if not self._at_work:
                return
            done, _ = self._ray.wait(list(self._at_work), timeout=LOOK_SECONDS)
            for task in done:
                self._take_back(task)

    def _hand_out(self, actor: Any) -> None:
        document = choose(self._waiting, self._crew.held[actor], self._crew.held.values())
        self._waiting.remove(document)
        self._at_work[actor.answer.remote(self._job.report.id, document)] = (actor, document)

    def _take_back(self, task: Any) -> None:
        actor, document = self._at_work.pop(task)
        try:
            self._ray.get(task)
            _, self._crew.held[actor] = self._ray.get(actor.hello.remote())
        except self._ray.exceptions.RayActorError:
            self._crew.lost(actor)
            self._tries[document] += 1
            if self._tries[document] < TRIES:
                self._waiting.append(document)
        except self._ray.exceptions.RayTaskError:
            return  # the driver's own run meets the same fault and names it

    def _note(self) -> bool:
        """Say how far the job is; whether it is to stop, here or because somebody cancelled it."""
        home, keys = self._job.home, [cell.key for cell in self._job.blanks.values()]
        answered = home.cells.get(keys)
        done = sum(key in answered for key in keys)
        failed = sum(cell.state == "failed" for cell in answered.values())
        titles = ", ".join(self._job.title(document) for _, document in self._at_work.values())
        if self._on_progress:
            self._on_progress(Progress(done, self._job.total, titles))
        state = home.reports.progress(self._job.report.id, done, failed, self._job.total, titles)
        if self._should_stop() and state == "running":
            home.reports.set_state(self._job.report.id, "stopped")
            return True
        return state in (None, "cancelled", "stopped")


def choose(waiting: Sequence[str], held: Sequence[str], by_all: Any) -> str:
    """The document for a worker that is free: one whose state it holds, else one that no worker holds, else the next.
    """
    warm = {document for documents in by_all for document in documents}
    mine = [document for document in waiting if document in held]
    cold = [document for document in waiting if document not in warm]
    return (mine or cold or list(waiting))[0]
