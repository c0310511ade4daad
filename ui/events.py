"""What happens when something is clicked, dropped, asked, or a second has passed."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import gradio as gr

from app import conversations
from app.errors import EXPLAINED
from app.extract.ocr import languages
from app.home import Home
from app.preferences import Preferences
from app.words import count
from ui import intake, reading, reports, talk
from ui.address import Address
from ui.ask import Asked
from ui.coverage import NO_OCR, ask_ocr
from ui.intake import Taking
from ui.markup import button, notice
from ui.shared import Site
from ui.view import Changes, Pages

MOST_TABS = 2000
VARIED = 0.7
"""The temperature of another answer to the same question, where the chosen one would give the same again."""


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
            changes = self._progress(self._pages(request), query)
            return changes if self._at(request, query) == query else {}
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
            taken = partial(intake.files, uploaded=uploaded)
            yield from self._told(lambda: self._take(self._pages(request), query, taken, request))

    def ask(self, query: str, question: str, request: gr.Request) -> Iterator[Changes]:
        """A question: stream its answer. On an error the question is back in its box."""
        try:
            pages = self._pages(request)
            address = Address.parse(query)
            chosen = Preferences.of(pages.home, pages.person)
            asked = pages.site.asking.ask(pages.home, pages.person, address, question, chosen)
        except EXPLAINED as error:
            yield {"notice": notice(str(error)), "question": question}
            return
        self._note(request, query)
        yield {"question": "", "notice": ""}
        yield from self._told(lambda: self._follow(pages, asked, request))

    def stop(self, query: str, request: gr.Request) -> None:
        """End the answer under way; what has come so far is kept.

        The button may be there, and clicked, an instant before the tab has the address of the page that it is on."""
        pages, here = self._pages(request), Address.parse(query)
        if not pages.site.asking.under_way(pages.person, here):
            here = Address.parse(self._at(request, query))
        pages.site.asking.stop(pages.person, here)

    def _act(
        self, query: str, action: str, item: str, fields: dict[str, str], request: gr.Request
    ) -> Iterator[Changes]:
        pages, address = self._pages(request), Address.parse(query)
        if action == "quote":
            yield {"source": pages.quote(query, item)}
        elif action in ("open", "view", "talk"):
            talk = Address(address.document, _number(item))
            to = {"open": Address(item).query, "view": item, "talk": talk.query}[action]
            yield from self._shown(pages, to, request)
        elif action in ("branch", "again", "suggest", "rename-talk", "remove-talk"):
            yield from self._converse(pages, address, action, item, fields.get("title", ""), request)
        elif action == "sample":
            document = intake.sample(pages.home)
            reading.act(pages.home, self.site.worker, document.id, "read")
            yield from self._shown(pages, Address(document.id).query, request)
        elif action in ("paste", "path", "ocr"):
            begin = partial(self._begin, person=pages.person, action=action, item=item, fields=fields)
            yield from self._take(pages, query, begin, request)
        elif action == "several":
            ids, chosen = _documents(fields), Preferences.of(pages.home, pages.person)
            self.site.several.ask(pages.home, pages.person, fields.get("question", ""), ids, chosen)
            yield self._anew(pages, query, request)
        elif action == "several-stop":
            if asked := self.site.several.latest(pages.person):
                asked.stopped.set()
        elif action == "several-remove":
            pages.home.composed.remove(_number(item) or 0)
            yield {"results": pages.results("several")}
        elif action == "report-start":
            reports.start(pages.home, self.site.reports, fields.get("template", ""), _documents(fields))
            yield self._anew(pages, query, request)
        elif action.startswith("report-"):
            reports.act(pages.home, self.site.reports, item, action)
            yield self._anew(pages, query, request)
        elif action == "prefer":
            Preferences.parse(fields).keep(pages.home, pages.person)
            yield {"notice": notice("Saved.", "done")}
        elif action == "rename":
            if title := _title(fields.get("title", "")):
                pages.home.documents.rename(item, title)
            yield self._anew(pages, query, request)
        else:
            reading.act(pages.home, self.site.worker, item or address.document, action)
            gone = action == "remove" and item in ("", address.document)
            if gone:
                yield from self._shown(pages, "", request)
            else:
                yield self._anew(pages, query, request)

    def _converse(
        self, pages: Pages, address: Address, action: str, item: str, title: str, request: gr.Request
    ) -> Iterator[Changes]:
        """What is done with conversations: of the address, or of the item where it names one."""
        home, here = pages.home, address.conversation
        chosen = Preferences.of(home, pages.person)
        if action == "suggest":
            self._note(request, Address(address.document).query)
            asked = self.site.asking.ask(home, pages.person, Address(address.document), item, chosen)
            yield from self._follow(pages, asked, request)
        elif action == "branch" and here is not None:
            made = conversations.branch(home, here, _number(item) or 0)
            yield from self._shown(pages, Address(address.document, made.id).query, request)
        elif action == "again" and here is not None:
            made, question = conversations.before_last(home, here)
            to = Address(address.document, made.id)
            yield from self._shown(pages, to.query, request)
            varied = replace(chosen, temperature=chosen.temperature or VARIED, seed=made.id)
            asked = self.site.asking.ask(home, pages.person, to, question, varied)
            yield from self._follow(pages, asked, request)
        elif (number := _number(item)) is not None:
            if action == "rename-talk" and _title(title):
                home.conversations.rename(number, _title(title))
            elif action == "remove-talk":
                conversations.remove(home, number)
            gone = action == "remove-talk" and number == here
            yield from self._shown(pages, Address(address.document, None if gone else here).query, request)

    def _begin(self, home: Home, person: str, action: str, item: str, fields: dict[str, str]) -> Taking:
        """Start taking in what a dialog named."""
        if action == "paste":
            return intake.pasted(home, fields.get("title", ""), fields.get("text", ""))
        if action == "path":
            return intake.from_path(home, fields.get("where", ""))  # Gradio takes "path" for an upload
        held = self.site.scans.take(person, item)
        return intake.by_ocr(home, held, item, fields.get("language", ""))

    def _take(
        self, pages: Pages, query: str, begin: Callable[[Home], Taking], request: gr.Request
    ) -> Iterator[Changes]:
        """Take documents in, saying how far it is; then show the (last) new one, to a person who has waited for it."""
        yield {"notice": notice("Taking in the text and counting tokens…", "busy")}
        taking = begin(pages.home)
        for words in taking.follow():
            yield {"notice": notice(words, "busy")}
        told = {"notice": self._taken(pages, taking)}
        here = self._at(request, query)
        if here != query:
            yield self._progress(pages, here) | told
            return
        to = Address(taking.documents[-1].id).query if taking.documents else query
        changes = self._page(pages, to)
        self._note(request, to)
        yield changes | told

    def _taken(self, pages: Pages, taking: Taking) -> str:
        """What is said when documents were taken in; scans are offered to be read by OCR."""
        told = [*taking.errors, *taking.told]
        if not told and len(taking.documents) > 1:
            told = [f"{count(len(taking.documents), 'document')} added."]
        offer = ""
        if taking.scans and languages():
            files = count(len(taking.scans.paths), "file")
            words = f"Every page of {files} is read from its picture, a few seconds each. Expect wrong letters."
            token = pages.site.scans.keep(pages.person, taking.scans)
            offer = button("ocr", "Read by OCR", token, ask=ask_ocr(words))
        elif taking.scans:
            told.append(NO_OCR)
        return notice(". ".join(line.removesuffix(".") for line in told), "error" if taking.errors else "done", offer)

    def _shown(self, pages: Pages, query: str, request: gr.Request) -> Iterator[Changes]:
        """The page of an address, and the answer under way there as it grows."""
        before, under_way = self._at(request, query), partial(pages.site.asking.under_way, pages.person)
        self._note(request, query)
        asked = under_way(Address.parse(query))  # first: it may end while the page is made
        try:
            changes = self._page(pages, query)
        except EXPLAINED:
            self._note(request, before)
            raise
        if self._at(request, query) != query:
            return  # something else was clicked meanwhile
        self._note(request, changes["address"])
        asked = asked or under_way(Address.parse(changes["address"]))
        if asked is None:
            yield changes
        else:
            yield changes | {"live": _live(asked)}
            yield from self._follow(pages, asked, request)

    def _follow(self, pages: Pages, asked: Asked, request: gr.Request) -> Iterator[Changes]:
        """An answer as it grows and the page with it at the end, for as long as the tab stays there."""
        here = asked.address.query
        for _ in asked.follow():
            if self._at(request, here) != here:
                return  # the person looks at something else; the answer will be in its conversation
            first = {"thread": ""} if asked.address.conversation is None else {}  # no more questions to begin with
            yield first | {"live": _live(asked), "send": gr.update(visible=False), "stop": gr.update(visible=True)}
        if asked.answer is not None:
            to = Address(asked.address.document, asked.answer.conversation).query
            self._note(request, to)
            yield self._page(pages, to)
        else:
            line = asked.error or "The answer was stopped before it began."
            yield self._page(pages, here) | {"question": asked.question, "notice": notice(line)}

    def _anew(self, pages: Pages, query: str, request: gr.Request) -> Changes:
        """The page that something was done on; nothing if the tab has left it meanwhile."""
        changes = self._page(pages, query)
        return changes if self._at(request, query) == query else {}

    def _page(self, pages: Pages, query: str) -> Changes:
        """Everything an address shows."""
        changes = pages.everything(query)
        return changes | self._controls(pages, changes["address"])

    def _progress(self, pages: Pages, query: str) -> Changes:
        """What changes while something is being read."""
        changes = pages.progress(query) | self._controls(pages, query, timed=True)
        address = Address.parse(query)
        if address.view:
            return changes | {"results": pages.results(address.view)}
        if address.conversation is None and not pages.site.asking.under_way(pages.person, address):
            changes["thread"] = pages.thread(address.document, None)  # once it is read: what could be asked first
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

    def _at(self, request: gr.Request, query: str) -> str:
        """The address that a tab shows now; `query` for a tab of before a restart, which nothing is known of."""
        return self._where.get(str(request.session_hash), query)

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


def _number(item: str) -> int | None:
    """A number from a browser; None for anything else."""
    return int(item) if item.isascii() and item.isdigit() and len(item) < 16 else None


def _title(words: str) -> str:
    return " ".join(words.split())[:200]


def _documents(fields: dict[str, str]) -> list[str]:
    """The ids of the documents whose boxes are checked in a form."""
    return [name.removeprefix("document:") for name in fields if name.startswith("document:")]


def _live(asked: Asked) -> str:
    return talk.live(asked.question, asked.raw, talk.waiting_words(asked.ahead, asked.reading))
