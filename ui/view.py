"""What the page shows for an address: the value of every part, made afresh from the database each time."""

from dataclasses import dataclass
from typing import Any

from app import library
from app.home import Home
from app.library import Document, DocumentInfo
from app.session import Conversation
from app.worker import Worker
from ui import library as shelf
from ui import reading, source, talk
from ui.address import Address
from ui.markup import button, count, dotted, notice, safe, size

Changes = dict[str, Any]
"""New values of parts of the page, by the part's name in `main.PARTS`."""


WELCOME = """<section class="or-welcome"><h2>Read a document once. Ask it any time after.</h2>
<ol><li><strong>Add</strong> a book, a PDF, notes, or a zip of files. You see first what reading it will take.</li>
<li><strong>Read</strong> it once. The model's memory of the whole document is saved on this computer.</li>
<li><strong>Ask</strong>, today or next month. Every answer starts from that memory, and every quote is looked up in the
document and shown in its place.</li></ol></section>"""


@dataclass(frozen=True)
class Pages:
    """Makes what is shown; shared by all browser tabs."""

    home: Home
    worker: Worker
    paces: reading.Paces

    def everything(self, query: str | None) -> Changes:
        """The whole page for an address; one that leads nowhere shows the library and says so."""
        address, line = self._existing(Address.parse(query))
        number = address.conversation
        conversation = self.home.conversations.get(number) if number is not None else None
        return {
            "address": address.query,
            **self.progress(address.query),
            "talks": talk.tabs(self.home, address.document, address.conversation) if address.document else "",
            "thread": self.thread(address.document, conversation),
            "live": "",
            "source": self.quote(address.query, talk.latest_quote(conversation)),
            "notice": notice(line),
        }

    def progress(self, query: str | None) -> Changes:
        """The parts that change while documents are being read."""
        address = Address.parse(query)
        info = self.info(address.document)
        if info is not None and info.document.tokens is None:
            reading.expected(self.home, info)  # counts and keeps the tokens, for the heading and the list
            info = self.info(address.document)
        return {
            "library": shelf.listing(self.home, self.worker, address.document),
            "document": self.heading(info) if info else WELCOME,
            "reading": reading.panel(self.home, self.worker, info, self.paces) if info else "",
        }

    def can_ask(self, query: str | None) -> bool:
        """Whether the address's document is read."""
        info = self.info(Address.parse(query).document)
        return info is not None and info.complete

    def any_busy(self) -> bool:
        """Whether any document is being read or waits to be."""
        return any(job.state in reading.UNFINISHED for job in self.home.jobs.list())

    def thread(self, document_id: str, conversation: Conversation | None) -> str:
        """The conversation's questions and answers."""
        if conversation is None:
            return ""
        document = self.home.documents.get(document_id)
        return talk.thread(conversation, document.tokens or 0, self.home.engine.fingerprint, _several_files(document))

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
        return source.panel(text, document.title, citation, _several_files(document))

    def heading(self, info: DocumentInfo) -> str:
        """The document's title, facts and coverage."""
        document = info.document
        facts = dotted(
            [
                document.kind,
                count(document.pages, "page") if document.pages else "",
                count(document.tokens, "token") if document.tokens else "",
                f"{size(info.state_bytes)} of saved state" if info.complete else "",
            ]
        )
        ask_first = f"Remove “{document.title}” with its saved state and conversations?"
        return (
            f'<header class="or-heading"><h2>{safe(document.title)}</h2><p class="or-quiet">{safe(facts)} '
            f"{button('remove', 'Remove', document.id, style='or-link', confirm=ask_first)}</p>"
            f"{_coverage(info)}</header>"
        )

    def model_line(self) -> str:
        """Which model runs, and what to expect of it."""
        settings, engine = self.home.settings, self.home.engine
        mini = settings.model_name == "mini"
        millions = sum(parameter.numel() for parameter in engine.model.parameters()) / 1e6
        parameters = f"{millions / 1000:.1f} billion" if millions >= 1000 else f"{millions:.0f} million"
        expect = "It is small: ask for facts that stand in the text, and check the quotes." if mini else ""
        words = f"Model: {settings.model_name}, {parameters} parameters, on {engine.device.type}. {expect}"
        return f'<header class="or-top"><h1>Onceread</h1><p class="or-quiet">{safe(words.strip())}</p></header>'

    def info(self, document_id: str) -> DocumentInfo | None:
        """A document of the library, or None."""
        documents = [document for document in self.home.documents.list() if document.id == document_id]
        return library.info(self.home, documents[0]) if documents else None

    def _existing(self, address: Address) -> tuple[Address, str]:
        """The address without what is not there, and a line about that."""
        if not address.document:
            return Address(), ""
        if self.info(address.document) is None:
            return Address(), "That document is not in the library (any more)."
        if address.conversation is None:
            return address, ""
        if address.conversation in {talk.id for talk in self.home.conversations.list(address.document)}:
            return address, ""
        return Address(address.document), "That conversation is not there (any more); ask to start a new one."


def _several_files(document: Document) -> bool:
    return len({segment.path for segment in document.segments}) > 1


def _coverage(info: DocumentInfo) -> str:
    """What was left out of a document, and what was noticed, with the reasons."""
    skipped = info.document.skipped
    if not skipped:
        return ""
    left_out = sum(not part.reason.startswith("note: ") for part in skipped)
    words = dotted(
        [
            f"{count(left_out, 'part')} left out" if left_out else "",
            count(len(skipped) - left_out, "note") if left_out < len(skipped) else "",
        ]
    )
    rows = "".join(f"<li><code>{safe(part.path)}</code> {safe(part.reason)}</li>" for part in skipped)
    return (
        f'<details class="or-coverage"><summary>{safe(words)}</summary>'
        f"<ul>{rows}</ul></details>"
    )
