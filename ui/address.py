"""Where the page is: the view, the document and the conversation, as the query of the URL and nowhere else."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

READ_ADDRESS = "() => [window.location.search]"
"""Script: the browser's query, as the input of an event."""

WRITE_ADDRESS = """(query) => {
  if (window.location.search === query) return;
  window.history.pushState(null, '', window.location.pathname + query);
}"""
"""Script: put a query into the browser's address line, so that Back leads to where one was."""

LONGEST = 2000
"""Characters of a query that are looked at."""

VIEWS = ("reports", "several", "settings")


@dataclass(frozen=True)
class Address:
    """A view other than asking, a document's id, a conversation's number; any of which may be missing."""

    document: str = ""
    conversation: int | None = None
    view: str = ""

    @staticmethod
    def parse(query: str | None) -> "Address":
        """The address in a query such as `?document=0a1b&conversation=3`; whatever is no address is left out."""
        fields = parse_qs((query or "")[:LONGEST].removeprefix("?"))
        number = fields.get("conversation", [""])[0]
        valid = number.isascii() and number.isdigit() and len(number) < 16
        view = fields.get("view", [""])[0]
        document = fields.get("document", [""])[0]
        return Address(document, int(number) if valid and document else None, view if view in VIEWS else "")

    @property
    def query(self) -> str:
        """The query of this address, with its question mark; empty for the library alone."""
        fields = {"view": self.view} if self.view else {}
        if self.document:
            fields["document"] = self.document
        if self.document and self.conversation is not None:
            fields["conversation"] = str(self.conversation)
        return f"?{urlencode(fields)}" if fields else ""
