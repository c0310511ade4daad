"""Where the page is: the document and the conversation in view, as the query of the URL and nowhere else."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

READ_ADDRESS = "() => [window.location.search]"
"""Script: the browser's query, as the input of an event."""

WRITE_ADDRESS = """(query) => {
  window.history.replaceState(null, '', window.location.pathname + query);
}"""
"""Script: put a query into the browser's address line."""

LONGEST = 2000
"""Characters of a query that are looked at."""


@dataclass(frozen=True)
class Address:
    """A document's id and a conversation's number, either of which may be missing."""

    document: str = ""
    conversation: int | None = None

    @staticmethod
    def parse(query: str | None) -> "Address":
        """The address in a query such as `?document=0a1b&conversation=3`; whatever is no address is left out."""
        fields = parse_qs((query or "")[:LONGEST].removeprefix("?"))
        number = fields.get("conversation", [""])[0]
        valid = number.isascii() and number.isdigit() and len(number) < 16
        return Address(fields.get("document", [""])[0], int(number) if valid else None)

    @property
    def query(self) -> str:
        """The query of this address, with its question mark; empty for the library alone."""
        fields = {"document": self.document} if self.document else {}
        if self.document and self.conversation is not None:
            fields["conversation"] = str(self.conversation)
        return f"?{urlencode(fields)}" if fields else ""
