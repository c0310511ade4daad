"""What happens when something is clicked, dropped, asked, or a second has passed."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

import gradio as gr

from app.errors import EXPLAINED
from app.session import Answer
from ui import ask, reading, talk
from ui import library as shelf
from ui.address import Address
from ui.markup import notice
from ui.view import Changes, Pages


@dataclass
class Events:
    """The page's handlers: each takes plain values and gives new values of parts of the page."""

    pages: Pages
    stops: ask.Stops = field(default_factory=ask.Stops)

    def load(self, query: str) -> Changes:
        """The browser opens or reloads the page."""
        return _told(lambda: self._page(query))

    def tick(self, query: str) -> Changes:
        """A second has passed while something is being read."""
        return _told(lambda: self._progress(query))

    def click(self, query: str, event: gr.EventData) -> Changes:
        """A button inside one of the page's HTML parts: `action` and `item` as `markup.button` wrote them."""
        return _told(lambda: self._act(query, str(event.action), str(event.item)))

    def add_files(self, uploaded: Sequence[str] | None) -> Iterator[Changes]:
        """Files were dropped: take them in and show what reading them will take."""
        if uploaded:
            yield {"notice": notice("Taking in the text and counting tokens…", "busy")}
            yield {"upload": None} | _told(
                lambda: self._page(Address(shelf.take_in(self.pages.home, uploaded)).query)
            )

    def add_sample(self) -> Changes:
        """The sample book: into the library, and read at once."""
        return _told(self._sample)

    def ask(self, query: str, question: str, request: gr.Request) -> Iterator[Changes]:
        """A question: stream its answer. On an error the question is back in its box."""
        tab = str(request.session_hash)
        with self.stops.asking(tab) as stopped:
            try:
                yield {
                    "question": gr.update(value="", interactive=False),
                    "live": talk.live(question, ""),
                    "notice": "",
                    "send": gr.update(visible=False),
                    "stop": gr.update(visible=True),
                }
                address = yield from self._answer(Address.parse(query), question, stopped)
                last = self._page(address.query) | {"question": gr.update(interactive=True)}
            except EXPLAINED as error:
                last = self._given_back(query, question, str(error))
            except Exception:  # a fault of ours: the question goes back to its box, and Gradio is told all the same
                fault = "Something went wrong here; the terminal that runs Onceread says what. Your question is kept."
                yield self._given_back(query, question, fault) | self._idle_buttons()
                raise
            yield last | self._idle_buttons()

    def stop(self, request: gr.Request) -> None:
        """End the answer under way; what has come so far is kept."""
        self.stops.stop(str(request.session_hash))

    def _act(self, query: str, action: str, item: str) -> Changes:
        address = Address.parse(query)
        if action == "quote":
            return {"source": self.pages.quote(query, item)}
        if action == "open":
            return self._page(Address(item).query)
        if action == "talk":
            number = int(item) if item.isascii() and item.isdigit() else None
            return self._page(Address(address.document, number).query)
        reading.act(self.pages.home, self.pages.worker, address.document, action)
        return self._page("") if action == "remove" else self._progress(query) | {"notice": ""}

    def _sample(self) -> Changes:
        document_id = shelf.take_sample(self.pages.home)
        info = self.pages.info(document_id)
        if info is not None and not info.complete:
            self.pages.worker.submit(document_id)
        return self._page(Address(document_id).query)

    def _answer(self, address: Address, question: str, stopped: threading.Event) -> Generator[Changes, None, Address]:
        """Yields the answer as it grows; returns the address of the conversation it is in."""
        for item in ask.stream(self.pages.home, address.document, question, address.conversation, stopped):
            if isinstance(item, Answer):
                return Address(address.document, item.conversation)
            yield {"live": talk.live(question, item)}
        return address

    def _given_back(self, query: str, question: str, line: str) -> Changes:
        """The page as it was, with the question in its box and a line about what happened."""
        question_box = gr.update(value=question, interactive=True)
        return self._page(query) | {"question": question_box, "notice": notice(line)}

    def _idle_buttons(self) -> Changes:
        return {"send": gr.update(visible=True), "stop": gr.update(visible=False)}

    def _page(self, query: str) -> Changes:
        """Everything an address shows."""
        changes = self.pages.everything(query)
        return changes | self._controls(changes["address"])

    def _progress(self, query: str) -> Changes:
        """What changes while something is being read."""
        return self.pages.progress(query) | self._controls(query)

    def _controls(self, query: str) -> Changes:
        """Questions can be asked once the document is read; time is looked at while anything is being read."""
        ready = self.pages.can_ask(query)
        return {"timer": gr.Timer(active=self.pages.any_busy()), "talk": gr.update(visible=ready)}


def _told(make: Callable[[], Changes]) -> Changes:
    """What `make` gives, or the one line of its error."""
    try:
        return make()
    except EXPLAINED as error:
        return {"notice": notice(str(error))}
