"""What happens when something is clicked, dropped, asked, or a second has passed."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import gradio as gr

from app.errors import EXPLAINED
from app.preferences import Preferences
from ui import intake, reading, reports, talk
from ui.address import Address
from ui.ask import Asked
from ui.intake import Taking
from ui.markup import count, notice
from ui.shared import Site
from ui.view import Changes, Pages

MOST_TABS = 2000


@dataclass
class Events:
    """The page's handlers: each takes plain values and gives new values of parts of the page."""

    site: Site
    _where: OrderedDict[str, str] = field(default_factory=OrderedDict)

    def load(self, query: str, request: gr.Request) -> Iterator[Changes]:
        """The browser opens or reloads the page; an answer under way goes on being shown."""
        yield from self._told(lambda: self._shown(self._pages(request), query, request))

    def tick(self, query: str, request: gr.Request) -> Changes:
        """A second has passed while something is being read."""
        try:
            return self._progress(self._pages(request), query)
        except EXPLAINED as error:
            return {"notice": notice(str(error))}

    def click(self, query: str, event: gr.EventData, request: gr.Request) -> Iterator[Changes]:
        """A button or form in one of the page's HTML parts: `action`, `item` and `fields` as `page.js` sent them."""
        data = event._data or {}
        fields = data.get("fields")
        words = {str(k): str(v) for k, v in fields.items()} if isinstance(fields, dict) else {}
        action, item = str(data.get("action", "")), str(data.get("item", ""))
        yield from self._told(lambda: self._act(query, action, item, words, request))

    def add_files(self, query: str, uploaded: Sequence[str] | None, request: gr.Request) -> Iterator[Changes]:
        """Files were dropped: take them in and show what reading them will take."""
        if uploaded:
            yield {"upload": None}
            yield from self._told(
                lambda: self._take(self._pages(request), query, lambda pages: intake.files(pages.home, uploaded))
            )

    def ask(self, query: str, question: str, request: gr.Request) -> Iterator[Changes]:
        """A question: stream its answer. On an error the question is back in its box."""
        try:
            pages = self._pages(request)
            address = Address.parse(query)
            if pages.site.asking.under_way(pages.person, address):
                yield {"notice": notice("One answer at a time here: wait for it, or stop it first.", "done")}
                return
            chosen = Preferences.of(pages.home, pages.person)
            asked = pages.site.asking.ask(pages.home, pages.person, address, question, chosen)
        except EXPLAINED as error:
            yield {"notice": notice(str(error)), "question": question}
            return
        self._note(request, query)
        yield {"question": "", "notice": ""}
        yield from self._told(lambda: self._follow(pages, asked, request))

    def stop(self, query: str, request: gr.Request) -> None:
        """End the answer under way; what has come so far is kept."""
        pages = self._pages(request)
        pages.site.asking.stop(pages.person, Address.parse(query))

    def _act(
        self, query: str, action: str, item: str, fields: dict[str, str], request: gr.Request
    ) -> Iterator[Changes]:
        pages, address = self._pages(request), Address.parse(query)
        number = int(item) if item.isascii() and item.isdigit() and len(item) < 16 else None
        if action == "quote":
            yield {"source": pages.quote(query, item)}
        elif action in ("open", "view", "talk"):
            to = {"open": Address(item).query, "view": item, "talk": Address(address.document, number).query}[action]
            yield from self._shown(pages, to, request)
        elif action == "sample":
            document = intake.sample(pages.home)
            reading.act(pages.home, self.site.worker, document.id, "read")
            yield from self._shown(pages, Address(document.id).query, request)
        elif action == "paste":
            text, title = fields.get("text", ""), fields.get("title", "")
            yield from self._take(pages, query, lambda pages: intake.pasted(pages.home, title, text))
        elif action == "path":
            yield from self._take(pages, query, lambda pages: intake.from_path(pages.home, fields.get("path", "")))
        elif action == "report-start":
            chosen = [name.removeprefix("document:") for name in fields if name.startswith("document:")]
            reports.start(pages.home, self.site.reports, fields.get("template", ""), chosen)
            yield self._page(pages, query)
        elif action.startswith("report-"):
            reports.act(pages.home, self.site.reports, item, action)
            yield self._page(pages, query)
        elif action == "prefer":
            Preferences.parse(fields).keep(pages.home, pages.person)
            yield {"notice": notice("Saved.", "done")}
        elif action in ("rename", "rename-talk", "remove-talk"):
            self._change(pages, action, item, number, fields.get("title", ""))
            gone = action == "remove-talk" and number == address.conversation
            yield from self._shown(pages, Address(address.document).query if gone else query, request)
        else:
            reading.act(pages.home, self.site.worker, item or address.document, action)
            yield self._page(pages, "" if action == "remove" else query)

    def _change(self, pages: Pages, action: str, item: str, number: int | None, title: str) -> None:
        title = " ".join(title.split())[:200]
        if action == "rename" and title:
            pages.home.documents.rename(item, title)
        elif action == "rename-talk" and title and number is not None:
            pages.home.conversations.rename(number, title)
        elif action == "remove-talk" and number is not None:
            pages.home.conversations.remove(number)

    def _take(self, pages: Pages, query: str, begin: Callable[[Pages], Taking]) -> Iterator[Changes]:
        """Take documents in, saying how far it is; then show the (last) new one."""
        yield {"notice": notice("Taking in the text and counting tokens…", "busy")}
        taking = begin(pages)
        for words in taking.follow():
            yield {"notice": notice(words, "busy")}
        to = Address(taking.documents[-1].id).query if taking.documents else query
        line = notice(" ".join(taking.errors))
        if not line and len(taking.documents) > 1:
            line = notice(f"{count(len(taking.documents), 'document')} added.", "done")
        yield self._page(pages, to) | {"notice": line}

    def _shown(self, pages: Pages, query: str, request: gr.Request) -> Iterator[Changes]:
        """The page of an address, and the answer under way there as it grows."""
        changes = self._page(pages, query)
        self._note(request, changes["address"])
        asked = pages.site.asking.under_way(pages.person, Address.parse(changes["address"]))
        if asked is None:
            yield changes
        else:
            yield changes | {"live": _live(asked)}
            yield from self._follow(pages, asked, request)

    def _follow(self, pages: Pages, asked: Asked, request: gr.Request) -> Iterator[Changes]:
        """An answer as it grows and the page with it at the end, for as long as the tab stays there."""
        here = asked.address.query
        for _ in asked.follow():
            if self._where.get(str(request.session_hash), here) != here:
                return  # the person looks at something else; the answer will be in its conversation
            yield {"live": _live(asked), "send": gr.update(visible=False), "stop": gr.update(visible=True)}
        if asked.answer is not None:
            to = Address(asked.address.document, asked.answer.conversation).query
            self._note(request, to)
            yield self._page(pages, to)
        else:
            line = asked.error or "The answer was stopped before it began."
            yield self._page(pages, here) | {"question": asked.question, "notice": notice(line)}

    def _page(self, pages: Pages, query: str) -> Changes:
        """Everything an address shows."""
        changes = pages.everything(query)
        return changes | self._controls(pages, changes["address"])

    def _progress(self, pages: Pages, query: str) -> Changes:
        """What changes while something is being read."""
        changes = pages.progress(query) | self._controls(pages, query, timed=True)
        if Address.parse(query).view == "reports" and reports.any_busy(pages.home):
            changes["other"] = pages.other("reports")
        return changes

    def _controls(self, pages: Pages, query: str, timed: bool = False) -> Changes:
        """Questions can be asked once the document is read; time is looked at while anything is being read."""
        under_way = pages.site.asking.under_way(pages.person, Address.parse(query)) is not None
        buttons = {"send": gr.update(visible=not under_way), "stop": gr.update(visible=under_way)}
        shown = {"timer": gr.Timer(active=pages.any_busy()), "talk": gr.update(visible=pages.can_ask(query))}
        return shown if timed else shown | buttons

    def _pages(self, request: gr.Request) -> Pages:
        """What the person who asks may see. Raises OncereadError for nobody where people must sign in."""
        return Pages(self.site, self.site.home_of(request.username), request.username or "")

    def _note(self, request: gr.Request, query: str) -> None:
        """Which address a tab shows now."""
        tab = str(request.session_hash)
        self._where[tab] = query
        self._where.move_to_end(tab)
        if len(self._where) > MOST_TABS:
            self._where.popitem(last=False)

    def _told(self, make: Callable[[], Iterator[Changes]]) -> Iterator[Changes]:
        """What `make` gives, or the one line of its error."""
        try:
            yield from make()
        except EXPLAINED as error:
            yield {"notice": notice(str(error))}


def _live(asked: Asked) -> str:
    return talk.live(asked.question, asked.raw, talk.waiting_words(asked.ahead, asked.reading))
