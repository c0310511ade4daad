"""What the page shows for an address: the value of every part, made afresh from the database each time."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app import library, originals, overview
from app.expected import count_tokens
from app.home import Home
from app.library import Document, DocumentInfo
from app.memory import memory
from app.naming import names
from app.session import Conversation
from app.words import count, duration, kind, size
from ui import coverage, reading, reports, settings, several, source, talk, top
from ui import library as shelf
from ui import memory as drawn
from ui.address import Address
from ui.markup import button, dotted, link, local, notice, safe
from ui.shared import Site

Changes = dict[str, Any]
"""New values of parts of the page, by the part's name in `main`."""

STEPS = """<ol>
<li><strong>Add</strong> a book, a PDF, notes, or a zip of files. You see first what reading it takes.</li>
<li><strong>Read</strong> it once. The model's memory of the whole document is saved on this computer.</li>
<li><strong>Ask</strong>, today or next month. Every answer starts from that memory, and every quote is looked up in the
document and shown in its place.</li></ol>"""


@dataclass(frozen=True)
class Pages:
    """Makes what one person sees. `home` is the library as that person sees it."""

    site: Site
    home: Home
    person: str

    def everything(self, query: str | None) -> Changes:
        """The whole page for an address; one that leads nowhere shows the library and says so."""
        address, line = self._existing(Address.parse(query))
        number = address.conversation
        conversation = self.home.conversations.get(number) if number is not None else None
        asking = not address.view
        return {
            "address": address.query,
            "top": top.bar(self.home, address, self.person),
            **self.progress(address.query),
            "talks": talk.tabs(self.home, address.document, number) if address.document and asking else "",
            "thread": self.thread(address.document, conversation) if asking else "",
            "live": "",
            "source": self.quote(address.query, talk.latest_quote(conversation)) if asking else "",
            "other": self.other(address.view),
            "results": self.results(address.view),
            "notice": notice(line),
        }

    def other(self, view: str) -> str:
        """What stands in the middle instead of a document: a form, which nothing changes while it is filled in."""
        if view == "reports":
            return reports.panel(self.home)
        if view == "several":
            return several.panel(self.home, self.site.several.latest(self.person))
        return settings.panel(self.home, self.person) if view == "settings" else ""

    def results(self, view: str) -> str:
        """What comes of the form, as it comes."""
        if view == "reports":
            return reports.listing(self.home)
        return several.result(self.home, self.site.several.latest(self.person)) if view == "several" else ""

    def progress(self, query: str | None) -> Changes:
        """The parts that change while documents are being read."""
        address = Address.parse(query)
        info = self.info(address.document)
        if info is not None and info.document.tokens is None:
            count_tokens(self.home, info)  # for the heading and the list
            info = self.info(address.document)
        asking = not address.view
        return {
            "library": shelf.listing(self.home, self.site.worker, address.document),
            "document": (self.heading(info) if info else self.welcome()) if asking else "",
            "reading": reading.panel(self.home, self.site.worker, info) if info and asking else "",
        }

    def can_ask(self, query: str | None) -> bool:
        """Whether the address's document is read, and asking is what the page shows."""
        address = Address.parse(query)
        info = self.info(address.document)
        return info is not None and info.complete and not address.view

    def any_busy(self) -> bool:
        """Whether any document is being read, any report made, any asked with others, or waits to be."""
        read = any(job.state in reading.UNFINISHED for job in self.home.jobs.list())
        return read or reports.any_busy(self.home) or self.site.several.is_busy(self.person)

    def thread(self, document_id: str, conversation: Conversation | None) -> str:
        """The conversation's questions and answers, or what could be asked first."""
        if conversation is None:
            info = self.info(document_id) if document_id else None
            return talk.suggested(first_questions(self.home, document_id)) if info and info.complete else ""
        document = self.home.documents.get(document_id)
        return talk.thread(conversation, document.tokens or 0, self.home.engine.fingerprint, several_files(document))

    def quote(self, query: str | None, item: str) -> str:
        """The source panel for a quote of the address's conversation."""
        address = Address.parse(query)
        if address.conversation is None:
            return source.EMPTY
        conversation = self.home.conversations.get(address.conversation)
        citation = talk.citation(conversation, item)
        if citation is None or conversation.document_id != address.document:
            return source.EMPTY
        document = self.home.documents.get(address.document)
        text = self.home.documents.text(address.document)
        place = citation["place"]
        has_pages = bool(place) and originals.has_pages(self.home, document.id, place["path"])
        return source.panel(document, text, citation, several_files(document), has_pages)

    def welcome(self) -> str:
        """What is seen before a document is chosen: what this is, which model runs, what to expect of it."""
        what, expect = safe(top.what_it_is(self.home)), safe(top.what_to_expect(self.home))
        return (
            '<section class="or-welcome"><h2>Read a document once. Ask it any time after.</h2>'
            f'{STEPS}<p class="or-actions">{local("upload", "Choose files", style="or-primary")}'
            f'{button("sample", "Try the sample book")}</p>'
            f'<div class="or-panel"><h3>{what}</h3><p class="or-quiet">{expect}</p></div></section>'
        )

    def heading(self, info: DocumentInfo) -> str:
        """The document's title, what can be done with it, its facts, coverage and memory."""
        document = info.document
        rename = {"title": "Rename the document", "confirm": "Rename",
                  "fields": [{"name": "title", "label": "Title", "value": document.title}]}  # fmt: skip
        remove = {"title": f"Remove “{document.title}”?", "confirm": "Remove", "danger": True,
                  "words": "Its text, its saved state and its conversations are gone then."}  # fmt: skip
        resumes = f"resumes in {duration(document.resume_seconds)}" if document.resume_seconds else ""
        line = dotted(
            [
                kind(document.kind),
                count(document.pages, "page") if document.pages else "",
                count(document.tokens, "token") if document.tokens else "",
                f"{size(info.state_bytes)} of state" if info.complete else "",
                resumes if info.complete else "",
            ]
        )
        title = names(self.home).get(document.id, document.title)
        return (
            f'<header class="or-heading"><h2>{safe(title)}</h2><p class="or-quiet">{safe(line)} '
            f"{button('rename', 'Rename', document.id, style='or-link', ask=rename)}"
            f"{link(f'/download/document/{document.id}', 'Export', style='or-link')}"
            f"{button('remove', 'Remove', document.id, style='or-link', ask=remove)}</p>"
            f"{reading.earlier_version(library.earlier_version(self.home, document))}"
            f'<div class="or-folds">{coverage.panel(self.home, info)}'
            f"{self._memory(info) if info.complete else ''}</div></header>"
        )

    def _memory(self, info: DocumentInfo) -> str:
        job = self.home.jobs.get(info.document.id)
        body = drawn.panel(memory(self.home), info.document.tokens or 1, job.pace if job else ())
        return f"<details><summary>Memory</summary>{body}</details>"

    def info(self, document_id: str) -> DocumentInfo | None:
        """A document of the library, or None."""
        documents = [document for document in self.home.documents.list() if document.id == document_id]
        return library.info(self.home, documents[0]) if documents else None

    def _existing(self, address: Address) -> tuple[Address, str]:
        """The address without what is not there, and a line about that."""
        if not address.document:
            return Address(view=address.view), ""
        if self.info(address.document) is None:
            return Address(view=address.view), "That document is not in the library (any more)."
        if address.conversation is None:
            return address, ""
        if address.conversation in {talk.id for talk in self.home.conversations.list(address.document)}:
            return address, ""
        gone = "That conversation is not there (any more); ask to start a new one."
        return Address(address.document, view=address.view), gone


@lru_cache(maxsize=64)
def first_questions(home: Home, document_id: str) -> tuple[str, ...]:
    """Questions to begin with, in the document's own words; found once, for a text never changes under its id."""
    return tuple(overview.questions(home, document_id))


def several_files(document: Document) -> bool:
    """Whether a place in the document needs its file's name."""
    return len({segment.path for segment in document.segments}) > 1

