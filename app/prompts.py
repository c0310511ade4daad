"""Every word of ours that is sent to the model, in one place.

A document is read as the opening of the user's turn, so its saved state ends right after its last character; each
question forks that state and continues the same turn. The embedded model is tuned on exactly these words: change them
and `PROMPT_FORMAT` with them, and every saved state is read again.
"""

PROMPT_FORMAT = "document-question/1"
"""Names the words below; part of every snapshot's key."""

SYSTEM = (
    "Answer the question from the document. First quote the words of the document that hold the answer, "
    "then answer in a few words. If the document does not answer it, say only: The document does not say."
)
"""The system turn."""

NOT_FOUND = "The document does not say."
"""The whole reply when the answer is not in the document."""

QUOTE_PREFIX = 'Quote: "'
QUOTE_SUFFIX = '"'
ANSWER_PREFIX = "Answer: "


def question_turn(question: str) -> str:
    """What follows the document (or an earlier reply) in the user's turn."""
    return f"\n\nQuestion: {question.strip()}"


def evidence(words: str) -> str:
    """Passages shown again behind the document, before the question: text of the document like any other."""
    return f"\n\n{words}" if words else ""


def opening(quote: str) -> str:
    """How a reply begins whose quote was chosen for the model: it goes on with the answer."""
    return f"{QUOTE_PREFIX}{quote}{QUOTE_SUFFIX}\n{ANSWER_PREFIX.rstrip()}"


def reply(quote: str, answer: str) -> str:
    """The reply the model is trained to give: one verbatim quote, then the answer, each on a line of its own."""
    return f"{QUOTE_PREFIX}{quote}{QUOTE_SUFFIX}\n{ANSWER_PREFIX}{answer}"
