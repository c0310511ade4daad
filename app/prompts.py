"""Every word of ours that is sent to the model, in one place.

A document is read as the opening of the user's turn, so its saved state ends right after its last character; each
question forks that state and continues the same turn. The embedded model is tuned on exactly these words: change them
and `PROMPT_FORMAT` with them, and every saved state is read again.
"""

from collections.abc import Sequence

PROMPT_FORMAT = "document-question/1"
"""Names the words that a document is read with; part of every snapshot's key. What stands behind a document, questions
and evidence, is in no snapshot, and may change without it."""

SYSTEM = (
    "Answer the question from the document. First quote the words of the document that hold the answer, "
    "then answer in a few words. If the document does not answer it, say only: The document does not say."
)
"""The system turn."""

NOT_FOUND = "The document does not say."
"""The whole reply when the answer is not in the document."""

EVIDENCE = "From the document:"
"""Stands above passages that are shown again."""

QUOTE_PREFIX = 'Quote: "'
QUOTE_SUFFIX = '"'
ANSWER_PREFIX = "Answer: "


def question_turn(question: str, evidence: str = "") -> str:
    """What follows the document (or an earlier reply) in the user's turn.

    evidence: passages shown again, text of the document like any other. The question stands before them and behind
    them: what a recurrent state keeps of a text depends on what it has been asked before (Arora et al., 2024).
    """
    asked = f"\n\nQuestion: {question.strip()}"
    return f"{asked}\n\n{EVIDENCE}\n{evidence}{asked}" if evidence else asked


def opening(quote: str) -> str:
    """How a reply begins whose quote was chosen for the model: it goes on with the answer."""
    return f"{QUOTE_PREFIX}{quote}{QUOTE_SUFFIX}\n{ANSWER_PREFIX.rstrip()}"


def reply(quote: str, answer: str) -> str:
    """The reply the model is trained to give: one verbatim quote, then the answer, each on a line of its own."""
    return f"{QUOTE_PREFIX}{quote}{QUOTE_SUFFIX}\n{ANSWER_PREFIX}{answer}"


def report_question(ask: str, kind: str, options: Sequence[str] = (), length: int | None = None) -> str:
    """A report's question with the form its answer is to have; one of free text and any length is asked as it is."""
    form = {
        "one of": f"Answer with one of these: {'; '.join(options)}.",
        "list": "Answer with a list, its items separated by semicolons.",
        "number": "Answer with a number.",
        "date": "Answer with a date.",
        "yes/no": "Answer yes or no.",
    }.get(kind, "")
    at_most = f"Use at most {length} words." if length else ""
    return " ".join(part for part in (ask.strip(), form, at_most) if part)


def report_entry(title: str, column: str, answer: str) -> str:
    """One answer of a report, as a question across documents reads it."""
    return f"{title}. {column}: {answer}"
