"""`onceread ask`."""

import argparse
from dataclasses import asdict

from app import session, several
from app.citations import parse_so_far
from app.commands.outcome import Command, Outcome, Stop
from app.commands.reading import ReadingBar
from app.commands.words import citation_facts, place
from app.errors import OncereadError
from app.home import Home
from app.words import offered
from model.sampling import Sampling


def register(command: Command) -> None:
    """Add the command."""
    parser = command("ask", ask, "answer a question from saved state, with citations")
    parser.add_argument("document", metavar="DOCUMENT", help="an id, a unique id prefix, or an exact title")
    parser.add_argument("question", metavar="QUESTION")
    parser.add_argument(
        "--also", action="append", default=[], metavar="DOCUMENT", help="ask this document too (may be repeated)"
    )
    parser.add_argument("--conversation", type=int, metavar="ID", help="go on with an earlier conversation")
    parser.add_argument(
        "--evidence", type=evidence_count, metavar="none|auto|N", default=None,
        help="passages shown to the model with the question: none, a number, or what suits the model (the default)",
    )
    parser.add_argument("--temperature", type=float, default=0.0, help="0 (the default) takes the likeliest words")
    parser.add_argument("--top-p", type=float, default=1.0, help="sample from the likeliest tokens of this total mass")
    parser.add_argument("--seed", type=int, default=0, help="makes sampling repeatable")
    parser.add_argument("--max-tokens", type=int, default=256, help="longest answer, in tokens")


def evidence_count(words: str) -> int | None:
    """How many passages `none`, `auto` (None: what suits the model) or a number means. Raises ArgumentTypeError."""
    if words in ("none", "auto"):
        return 0 if words == "none" else None
    if not words.isdigit():
        raise argparse.ArgumentTypeError(f"{words!r} is not none, auto or a number")
    return int(words)


def ask(home: Home, options: argparse.Namespace, stop: Stop) -> Outcome:
    """`onceread ask`: stream an answer, then its citations."""
    document = home.documents.find(options.document)
    try:
        sampling = Sampling(options.temperature, options.top_p, options.seed, options.max_tokens)
    except ValueError as error:
        raise OncereadError(str(error)) from error
    if options.also:
        if options.conversation is not None:
            raise OncereadError("a conversation is about one document: leave out --conversation or --also")
        ids = [document.id, *(home.documents.find(name).id for name in options.also)]
        return _ask_several(home, ids, options, sampling, stop)
    answer: session.Answer | None = None
    raw = shown = ""
    with ReadingBar() as bar:
        for piece in session.ask(
            home, document.id, options.question, options.conversation, sampling, stop, bar, evidence=options.evidence
        ):
            if isinstance(piece, session.Answer):
                answer = piece
                continue
            raw += piece
            said = parse_so_far(raw).answer
            if not options.json and said.startswith(shown):
                print(said[len(shown) :], end="", flush=True)
                shown = said
    assert answer is not None  # ask's last item is the answer
    facts = asdict(answer) | {
        "citations": [citation_facts(citation) for citation in answer.citations],
        "nearest": [citation_facts(citation) for citation in answer.nearest],
    }
    lines = ["" if answer.answer == shown else answer.answer]
    if len(answer.sentences) > 1:
        lines += [f"{claim.text} {''.join(f'[{n}]' for n in claim.citations)}".rstrip() for claim in answer.sentences]
    for number, citation in enumerate(answer.citations, 1):
        lines.append(f"[{number}] {place(citation)}")
    if answer.nearest:
        lines += [f"{offered(answer.found)}:", *(f"- {place(citation)}" for citation in answer.nearest)]
    lines.append(
        f"{answer.tokens_reused:,} document tokens from saved state, {answer.tokens_read:,} tokens read "
        f"({answer.reason}); first token {answer.seconds_to_first_token:.2f} s; conversation {answer.conversation}"
    )
    return facts, "\n".join(lines), 0


def _ask_several(home: Home, ids: list[str], options: argparse.Namespace, sampling: Sampling, stop: Stop) -> Outcome:
    with ReadingBar() as bar:
        *_, made = several.ask(home, ids, options.question, sampling, options.evidence, stop, bar)
    assert isinstance(made, several.Composed)  # ask's last item
    citations = [
        {"document": cited.document, "title": cited.title, **citation_facts(cited.citation)} for cited in made.citations
    ]
    facts = {
        "answer": made.answer,
        "found": made.found,
        "written": made.written,
        "number": made.number,
        "citations": citations,
        "documents": [{"document": a.document, "answer": a.answer, "found": a.found, "conversation": a.conversation}
                      for a in made.answers],
        "tokens_reused": sum(answer.tokens_reused for answer in made.answers),
        "tokens_read": sum(answer.tokens_read for answer in made.answers),
        "seconds_to_first_token": made.answers[0].seconds_to_first_token,
    }
    quotes = [f"[{n}] {cited.title}: {place(cited.citation)}" for n, cited in enumerate(made.citations, 1)]
    gone = "not kept, for one of the documents was removed meanwhile"
    kept = f"kept: `onceread several show {made.number}`" if made.number else gone
    return facts, "\n".join([made.answer, "", *quotes, f"({kept})"]), 0
